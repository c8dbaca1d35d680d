"""HTTP/2 conformance: what RFC 9113 and RFC 7541 ask of a server, case by case, over real sockets."""
