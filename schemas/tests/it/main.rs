//! Tests of what crosses a wire, from outside.

mod plan;
