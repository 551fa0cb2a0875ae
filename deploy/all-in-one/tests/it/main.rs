//! Tests of the house itself: what may depend on what, and what a file of this project may look like.

mod arrows;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod native;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod start;
#[cfg(test)]
mod students;
mod tidy;
#[cfg(test)]
mod traces;
