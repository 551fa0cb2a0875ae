//! Ports for servers that bind by themselves.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// First of the ports given out. The kernel serves outgoing connections from 32768 on: a port from there, free when it
/// was asked for, may be some client's by the time a server binds it.
const FIRST: u16 = 15_000;
/// How many there are; the engines' own test ports lie above.
const COUNT: u16 = 12_000;

/// A loopback port nobody listens on, which this process has not given out before.
///
/// # Panics
/// When not one of the range is free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let start = u16::try_from(start).unwrap_or_default();
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no loopback port from {FIRST} on is free");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_lie_below_those_of_outgoing_connections() {
        let ports: std::collections::BTreeSet<_> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
    }
}
