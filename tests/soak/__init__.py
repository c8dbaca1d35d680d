"""What takes too long for every test run."""
