"""The Autobahn test suite as a client of a running server: `python -m conformance.autobahn`. See ../README.md."""
