"""WebSockets over real sockets: the rows WS and EXT-01 to EXT-03 of the checklist, and what RFC 6455 and 7692 add."""
