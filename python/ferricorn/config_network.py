"""Where the server listens, and what is on its connections.

Declarations alone: config.py says how they come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferricorn.config_application import ApplicationOptions
from ferricorn.config_groups import LARGEST, LIMITS, LISTENING, MOST, PROXIES, TIMEOUTS, WEBSOCKET
from ferricorn.kinds import Address, Listed, Trusted
from ferricorn.options import Choice, Flag, Number, Permissions, Repeated, Seconds, Text, option


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions(ApplicationOptions):
    """Addresses, proxies, WebSockets, limits and timeouts."""

    host: str = option(
        Text("HOST"),
        "127.0.0.1",
        LISTENING,
        "Address or host name to listen on; 0.0.0.0 or :: for every interface.",
        positional=True,
    )
    port: int = option(
        Number("PORT", 0, 65535), 8000, LISTENING, "TCP port to listen on; 0 picks a free one.", positional=True
    )
    bind: Sequence[str] = option(
        Repeated("ADDRESS", Address(), ","),
        (),
        LISTENING,
        "Listen on HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER instead of host and port; may be repeated.",
        uvicorn="",
        aliases={"-b": "gunicorn, hypercorn"},
    )
    uds: str | None = option(Text("PATH"), None, LISTENING, "Listen on a unix domain socket.", positional=True)
    uds_mode: int = option(
        Permissions(),
        0o666,
        LISTENING,
        "File permissions of unix domain sockets.",
        uvicorn="",
        aliases={"--uds-permissions": "granian"},
    )
    fd: int | None = option(
        Number("NUMBER", 0, MOST), None, LISTENING, "Listen on an inherited file descriptor.", positional=True
    )
    backlog: int = option(
        Number("NUMBER", 1, MOST), 2048, LISTENING, "Connections that the kernel may hold before they are accepted."
    )
    metrics_bind: str | None = option(
        Address(),
        None,
        LISTENING,
        "Answer GET /metrics in the text format of Prometheus on HOST:PORT or unix:PATH, by default nowhere; "
        "not an address of the application.",
        native=True,
        uvicorn="",
    )

    proxy_headers: bool = option(
        Flag(),
        True,
        PROXIES,
        "Believe X-Forwarded-For and the other fields of --forwarded-fields where a trusted proxy sends them.",
        native=True,
    )
    forwarded_allow_ips: Sequence[str] | str = option(
        Listed("ADDRESSES", Trusted()),
        ("127.0.0.1", "::1"),
        PROXIES,
        "Proxies that are trusted: addresses, networks like 10.0.0.0/8, unix for the peers of unix sockets, * for all.",
        native=True,
        fallbacks=("FORWARDED_ALLOW_IPS",),
    )
    forwarded_fields: Sequence[str] | str = option(
        Listed("FIELDS", Choice("FIELD", ("for", "proto", "host", "port", "prefix", "forwarded"))),
        ("for", "proto"),
        PROXIES,
        "Which X-Forwarded-* fields count: for, proto, host, port, prefix, and forwarded for that of RFC 7239. "
        "Name those alone that the proxy sets itself: others it passes on as clients send them.",
        native=True,
        uvicorn="",
    )
    proxy_protocol: bool = option(
        Flag(),
        False,
        PROXIES,
        "Every connection begins with a PROXY protocol header (version 1 or 2), and comes from a trusted proxy.",
        native=True,
        uvicorn="",
    )

    ws: str = option(
        Choice(
            "NAME",
            ("auto", "none"),
            synonyms=(("websockets", "auto"), ("websockets-sansio", "auto"), ("wsproto", "auto")),
        ),
        "auto",
        WEBSOCKET,
        "Serve WebSockets; none leaves their handshakes to the application as plain requests.",
        native=True,
    )
    ws_max_size: int = option(
        Number("BYTES", 1, LARGEST, unit="bytes"),
        16 * 1024 * 1024,
        WEBSOCKET,
        "Size of a received message, decompressed; a larger one closes its connection with 1009.",
        native=True,
        aliases={"--websocket-max-message-size": "gunicorn"},
    )
    ws_max_queue: int = option(
        Number("NUMBER", 1, MOST, unit="messages"),
        32,
        WEBSOCKET,
        "Messages read ahead while the application does not receive; then the client has to wait.",
        native=True,
    )
    ws_ping_interval: float = option(
        Seconds(),
        20.0,
        WEBSOCKET,
        "How often every client is sent a ping. 0 is never.",
        native=True,
        none=0.0,
        aliases={"--websocket-ping-interval": "hypercorn"},
    )
    ws_ping_timeout: float = option(
        Seconds(),
        20.0,
        WEBSOCKET,
        "How long a client may take to answer a ping; then its connection is closed with 1011. 0 is no limit.",
        native=True,
        none=0.0,
    )
    ws_per_message_deflate: bool = option(
        Flag(), True, WEBSOCKET, "Compress messages where the client offers it (permessage-deflate).", native=True
    )

    limit_concurrency: int = option(
        Number("NUMBER", 0, MOST, unit="requests"),
        0,
        LIMITS,
        "Requests served at the same time; those above are answered 503. 0 is no limit.",
        native=True,
    )
    limit_request_head: int = option(
        Number("BYTES", 128, MOST, unit="bytes"),
        65536,
        LIMITS,
        "Size of a request line with all header fields; larger ones are answered 431, or 414.",
        native=True,
        uvicorn="h11_max_incomplete_event_size",
        aliases={"--h11-max-incomplete-event-size": "uvicorn"},
    )
    limit_request_body: int = option(
        Number("BYTES", 0, LARGEST, unit="bytes"),
        0,
        LIMITS,
        "Size of a request body; larger ones are answered 413. 0 is no limit.",
        native=True,
        uvicorn="",
    )

    limit_max_requests: int = option(
        Number("NUMBER", 0, MOST, unit="requests"),
        0,
        LIMITS,
        "Requests after which a worker process is replaced; a server without worker processes stops. 0 is no limit.",
        native=True,
        aliases={"--max-requests": "gunicorn, hypercorn"},
    )
    limit_max_requests_jitter: int = option(
        Number("NUMBER", 0, MOST, unit="requests"),
        0,
        LIMITS,
        "Up to so many requests are added to limit_max_requests, at random, so that not all workers end at once.",
        aliases={"--max-requests-jitter": "gunicorn, hypercorn"},
    )

    timeout_keep_alive: float = option(
        Seconds(),
        5.0,
        TIMEOUTS,
        "How long a connection may wait for its next request. 0 is no limit.",
        native=True,
        aliases={"--keep-alive": "gunicorn, hypercorn"},
    )
    timeout_request_head: float = option(
        Seconds(),
        10.0,
        TIMEOUTS,
        "How long a client may take to send a request's line and header fields. 0 is no limit.",
        native=True,
        uvicorn="",
    )
    timeout_request_body: float = option(
        Seconds(),
        60.0,
        TIMEOUTS,
        "How long a client may pause while it sends a request body. 0 is no limit.",
        native=True,
        uvicorn="",
    )
    timeout_graceful_shutdown: float = option(
        Seconds(),
        30.0,
        TIMEOUTS,
        "How long running requests may take to finish when the server stops; then they are cancelled.",
        aliases={"--graceful-timeout": "gunicorn, hypercorn", "--workers-kill-timeout": "granian"},
    )
    timeout_websocket_drain: float = option(
        Seconds(),
        0.0,
        TIMEOUTS,
        "How long open WebSockets go on when the server stops, or a worker process is replaced; then they are closed "
        "with 1012. It may be longer than timeout_graceful_shutdown.",
        native=True,
        uvicorn="",
    )
    timeout_lifespan_shutdown: float = option(
        Seconds(),
        60.0,
        TIMEOUTS,
        "How long the application may take to shut down when all requests have finished. 0 is no limit.",
        uvicorn="",
    )
    drain_delay: float = option(
        Seconds(),
        0.0,
        TIMEOUTS,
        "How long the server still accepts and serves after SIGTERM, with health_path answered 503, before it stops: "
        "for load balancers that have to notice first.",
        uvicorn="",
    )
