"""What the scope of a request says."""
