//! local-engines
