"""The promises of the server, each shown over real sockets: one file per promise."""
