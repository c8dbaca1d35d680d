"""TLS: certificates, handshakes, what applications see of it."""
