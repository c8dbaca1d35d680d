//! The codes with which the server itself closes a WebSocket, whatever carries it.

/// The application ended what it had to say (RFC 6455 section 7.4.1).
pub(crate) const NORMAL: u16 = 1000;

/// The application failed, or a client answers no ping (RFC 6455 section 7.4.1).
pub(crate) const INTERNAL_ERROR: u16 = 1011;

/// The server restarts (registered by IANA; a client is to come again).
pub(crate) const SERVICE_RESTART: u16 = 1012;
