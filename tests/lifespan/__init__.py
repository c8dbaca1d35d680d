"""The lifespan protocol."""
