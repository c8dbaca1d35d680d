"""What the tests share: a client of raw bytes, a server to talk to, and words for applications."""
