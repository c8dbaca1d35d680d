"""HTTP/2: whether it is spoken, and its limits.

Declarations alone: config.py says how they come together.
"""

from __future__ import annotations

from dataclasses import dataclass

from ferricorn.config_groups import HTTP2, MOST
from ferricorn.config_tls import TlsOptions
from ferricorn.options import Flag, Number, Seconds, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Options(TlsOptions):
    """What a connection of HTTP/2 may have, and how it is kept."""

    http2: bool = option(
        Flag(),
        True,
        HTTP2,
        "Speak HTTP/2 with clients that want it: over TLS as they choose (ALPN), without TLS where they begin with it.",
        native=True,
    )
    http2_max_concurrent_streams: int = option(
        Number("NUMBER", 1, MOST, unit="streams"),
        128,
        HTTP2,
        "Requests that a client may have open at the same time on one connection.",
        native=True,
        uvicorn="",
    )
    http2_initial_stream_window_size: int = option(
        Number("BYTES", 1, MOST, unit="bytes"),
        1024 * 1024,
        HTTP2,
        "How much of one request's body a client may send ahead of the application.",
        native=True,
        uvicorn="",
        aliases={"--http2-initial-window-size": "gunicorn"},
    )
    http2_initial_connection_window_size: int = option(
        Number("BYTES", 65_535, MOST, unit="bytes"),
        2 * 1024 * 1024,
        HTTP2,
        "How much of all bodies on a connection together a client may send ahead of the application.",
        native=True,
        uvicorn="",
    )
    http2_max_frame_size: int = option(
        Number("BYTES", 16_384, 2**24 - 1, unit="bytes"),
        16_384,
        HTTP2,
        "Size of a frame's payload, received and sent.",
        native=True,
        uvicorn="",
    )
    http2_max_header_list_size: int = option(
        Number("BYTES", 128, MOST, unit="bytes"),
        65_536,
        HTTP2,
        "Size of a request's header fields, each counted with 32 bytes more; larger ones are answered 431.",
        native=True,
        uvicorn="",
        aliases={"--http2-max-headers-size": "granian"},
    )
    http2_keep_alive_interval: float = option(
        Seconds(),
        0.0,
        HTTP2,
        "How often a connection on which nothing comes is sent a ping. 0 is never.",
        native=True,
        uvicorn="",
    )
    http2_keep_alive_timeout: float = option(
        Seconds(),
        20.0,
        HTTP2,
        "How long a client may take to answer a ping; then its connection is closed. 0 is no limit.",
        native=True,
        uvicorn="",
    )
