"""The server as a process: sockets, signals, exit statuses, logs, memory."""
