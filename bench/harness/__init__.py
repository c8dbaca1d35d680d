"""Measures ASGI servers side by side: `run.py` and `instructions.py` are the commands, this is what they do it with."""
