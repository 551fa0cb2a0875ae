//! The plan against the reference implementation, for generated schemas and values.

mod generate;
mod properties;
mod syntax;
