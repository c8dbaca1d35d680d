"""Clients that are programs of their own: curl, nghttp, Chromium. `make interop` runs these, and needs all of them."""
