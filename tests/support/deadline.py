"""How long a test waits for what should happen at once."""

DEADLINE = 15.0
"""Seconds. A failsafe and nothing else: no test passes by waiting for it."""

SETTLED = 0.2
"""Seconds in which nothing may happen, where a test has to show that something does not happen."""
