//! The engine on real Kafka with a real registry.

mod deployment;
mod once;
mod poison;
