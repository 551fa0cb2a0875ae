//! What arrives: commands of callers, and what subjects of this stream say to each other.

use schemas::datum::{DecodeError, Union};
use schemas::entities::Input;

use crate::Command;

/// An input of the stream.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A command to a resource.
    Command(Box<Command>),
    /// A claim, an answer to one, or a change of a list.
    Internal(Input),
}

impl Union for Arrival {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        match Input::decode(name, datum) {
            Err(DecodeError::UnknownType(_)) => Command::decode(name, datum).map(Box::new).map(Self::Command),
            internal => internal.map(Self::Internal),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Command(command) => command.name(),
            Self::Internal(input) => input.name(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Command(command) => command.encode(out),
            Self::Internal(input) => input.encode(out),
        }
    }
}
