//! The rules of the protocols.
