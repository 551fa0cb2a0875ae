//! The chassis against a real broker and real sockets.

mod kit;
mod listener;
mod produce;
mod tail;
mod topics;
