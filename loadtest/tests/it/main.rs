//! The harness against a stand-in that speaks a little of the protocol: it must notice what makes a run worthless.

// Clippy takes helper functions for test code only below a `cfg(test)` module.
#[cfg(test)]
mod live;
