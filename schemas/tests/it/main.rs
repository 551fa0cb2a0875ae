//! Tests of the crate from outside: the catalog's sentences, generated records against the reference, the registry.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

mod catalog;
mod records;
mod registry;
