"""Foreign test suites against a running server. A suite is a package of its own: its runner and what it has to say."""
