"""The frameworks, where their applications are, and what a framework itself cannot do, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Feature(Enum):
    """A part of the contract that not every framework has. The server has to support each."""

    LIFESPAN = "the application runs code at startup and at shutdown"
    LIFESPAN_STATE = "what startup puts into the lifespan state is seen by the requests"
    QUIET_DISCONNECT = "a stream that has nothing to send learns that the client is gone"
    HANDLER_DISCONNECT = "a handler that has not answered yet learns that the client is gone"
    UPLOAD_DISCONNECT = "a handler that reads a body learns that the client is gone"
    FILES_IN_PIECES = "a file is never in memory as a whole"
    UPLOAD_BACKPRESSURE = "a body that the handler does not read stays with the client"

    EMPTY_BINARY = "an empty binary message is received"
    DENIAL_RESPONSE = "a WebSocket can be denied with a response other than 403"
    RETURN = "a handler ends before its WebSocket does"
    DISCONNECT_CODE = "a handler is told the code that its WebSocket was closed with"
    DISCONNECT_REASON = "a handler is told the reason that its WebSocket was closed for"
    SENDING_TASK = "a task can send while its WebSocket receives"
    SIDE_BY_SIDE = "the handler of one WebSocket can wait while that of another one works"
    MESSAGE_BACKPRESSURE = "messages that the handler does not receive stay with the client"


@dataclass(frozen=True)
class Framework:
    """One application of the contract. `target` is what the server's command line gets."""

    name: str
    target: str
    lacks: Mapping[Feature, str] = field(default_factory=dict)
    failed_handshake: int = 500
    """The status of a WebSocket whose handler raised before it was accepted."""
    unknown_websocket: int = 403
    """The status of a WebSocket that the application does not have."""
    error_code: int = 1011
    """The close code of a WebSocket whose handler raised after it was accepted."""

    def has(self, feature: Feature) -> bool:
        return feature not in self.lacks


_NO_SCOPE_AT_STARTUP = "startup code gets the application, not the scope"

_DJANGO_LACKS = {
    Feature.LIFESPAN: "get_asgi_application raises ValueError for the lifespan scope",
    Feature.LIFESPAN_STATE: "no lifespan, see above",
    Feature.UPLOAD_DISCONNECT: "the handler spools the whole body before it calls the view",
    Feature.UPLOAD_BACKPRESSURE: "the handler spools the whole body before it calls the view",
    Feature.FILES_IN_PIECES: "under ASGI a synchronous stream, FileResponse included, is made a list before it is sent",
}
_QUART_LACKS = {
    Feature.LIFESPAN_STATE: _NO_SCOPE_AT_STARTUP,
    Feature.UPLOAD_BACKPRESSURE: "the framework moves the body into a buffer of its own, read or not",
    Feature.EMPTY_BINARY: "it takes empty bytes for none, and looks for text",
    Feature.DISCONNECT_CODE: "the handler is cancelled",
    Feature.DISCONNECT_REASON: "the handler is cancelled",
    Feature.MESSAGE_BACKPRESSURE: "the framework moves messages into a queue of its own, received or not",
}
_LITESTAR_LACKS = {
    Feature.LIFESPAN_STATE: _NO_SCOPE_AT_STARTUP,
    Feature.DENIAL_RESPONSE: "an exception before the handshake becomes a close, whatever its status",
    Feature.DISCONNECT_REASON: "WebSocketDisconnect has the code alone",
}
_FALCON_LACKS = {
    Feature.QUIET_DISCONNECT: "it looks for the disconnect only after it has sent an event",
    Feature.HANDLER_DISCONNECT: "responders do not get at `receive`",
    Feature.DENIAL_RESPONSE: "an exception before the handshake becomes a close, whatever its status",
    Feature.DISCONNECT_REASON: "WebSocketDisconnected has the code alone",
}
_RESPONDER_LACKS = {
    Feature.LIFESPAN_STATE: _NO_SCOPE_AT_STARTUP,
    Feature.QUIET_DISCONNECT: "streams through Starlette, which from spec_version 2.4 on relies on `send` to raise",
    Feature.HANDLER_DISCONNECT: "views do not get at `receive`",
}

_CONSUMERS_LACK = {
    Feature.DENIAL_RESPONSE: "a consumer can only close",
    Feature.RETURN: "a consumer lives until it closes or is left",
    Feature.DISCONNECT_REASON: "`disconnect` gets the code alone",
}
_SYNC_CONSUMERS_LACK = {
    Feature.SENDING_TASK: "a synchronous consumer has no tasks",
    Feature.SIDE_BY_SIDE: "all synchronous consumers share one thread",
}

_FRAMEWORKS = (
    Framework("starlette", "apps.starlette_app:app"),
    Framework("fastapi", "apps.fastapi_app:app"),
    Framework("quart", "apps.quart_app:app", _QUART_LACKS, unknown_websocket=404, error_code=1000),
    Framework("django", "apps.django_app:app", _DJANGO_LACKS),
    Framework("channels", "apps.django_channels_app:app", _DJANGO_LACKS | _CONSUMERS_LACK, unknown_websocket=500),
    Framework(
        "channels-sync",
        "apps.django_channels_app:sync_app",
        _DJANGO_LACKS | _CONSUMERS_LACK | _SYNC_CONSUMERS_LACK,
        unknown_websocket=500,
    ),
    Framework("litestar", "apps.litestar_app:app", _LITESTAR_LACKS, failed_handshake=403, error_code=4500),
    Framework("falcon", "apps.falcon_app:app", _FALCON_LACKS, failed_handshake=403),
    Framework("responder", "apps.responder_app:app", _RESPONDER_LACKS, failed_handshake=403),
    Framework("socketio", "apps.socketio_app:app"),
    Framework("graphql", "apps.graphql_app:app"),
)

CATALOGUE: Mapping[str, Framework] = {framework.name: framework for framework in _FRAMEWORKS}
HTTP = ("starlette", "fastapi", "quart", "django", "channels", "litestar", "falcon", "responder")
"""The frameworks of the contract's requests."""
WEBSOCKETS = ("starlette", "fastapi", "quart", "channels", "channels-sync", "litestar", "falcon", "responder")
"""The frameworks of the contract's WebSockets."""
