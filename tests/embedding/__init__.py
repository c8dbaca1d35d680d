"""The server inside of a program: its sockets, subclasses, event loops, threads."""
