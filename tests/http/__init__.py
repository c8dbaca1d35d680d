"""HTTP/1.1 exchanges: events in and out, framing, limits, failures."""
