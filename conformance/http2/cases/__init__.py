"""The cases. Importing this package declares all of them.

`generic`, `http2` and `hpack` are numbered as in h2spec 2.6, whose sections are those of RFC 7540, the former edition;
`rfc9113` and `rfc7541` are what that suite does not ask.
"""

from . import generic, messages, streams, wire  # isort: skip
from . import hpack, rfc7541, rfc9113_frames, rfc9113_messages, rfc9113_streams  # isort: skip

__all__ = [
    "generic",
    "hpack",
    "messages",
    "rfc7541",
    "rfc9113_frames",
    "rfc9113_messages",
    "rfc9113_streams",
    "streams",
    "wire",
]
