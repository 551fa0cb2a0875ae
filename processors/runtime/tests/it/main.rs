//! The engine on real Kafka with a real registry.

#[cfg(test)]
mod deployment;
#[cfg(test)]
mod once;
#[cfg(test)]
mod poison;
