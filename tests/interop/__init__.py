"""HTTP/2 and TLS against clients that others wrote."""
