"""What HTTP/2 alone has."""
