"""The applications that every server is measured with: the same files for all, nothing that knows a server."""
