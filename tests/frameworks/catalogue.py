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


@dataclass(frozen=True)
class Framework:
    """One application of the contract. `target` is what the server's command line gets."""

    name: str
    target: str
    lacks: Mapping[Feature, str] = field(default_factory=dict)

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
}
_LITESTAR_LACKS = {Feature.LIFESPAN_STATE: _NO_SCOPE_AT_STARTUP}
_FALCON_LACKS = {
    Feature.QUIET_DISCONNECT: "it looks for the disconnect only after it has sent an event",
    Feature.HANDLER_DISCONNECT: "responders do not get at `receive`",
}
_RESPONDER_LACKS = {
    Feature.LIFESPAN_STATE: _NO_SCOPE_AT_STARTUP,
    Feature.QUIET_DISCONNECT: "streams through Starlette, which from spec_version 2.4 on relies on `send` to raise",
    Feature.HANDLER_DISCONNECT: "views do not get at `receive`",
}

_FRAMEWORKS = (
    Framework("starlette", "apps.starlette_app:app"),
    Framework("fastapi", "apps.fastapi_app:app"),
    Framework("quart", "apps.quart_app:app", _QUART_LACKS),
    Framework("django", "apps.django_app:app", _DJANGO_LACKS),
    Framework("channels", "apps.django_channels_app:app", _DJANGO_LACKS),
    Framework("litestar", "apps.litestar_app:app", _LITESTAR_LACKS),
    Framework("falcon", "apps.falcon_app:app", _FALCON_LACKS),
    Framework("responder", "apps.responder_app:app", _RESPONDER_LACKS),
)

CATALOGUE: Mapping[str, Framework] = {framework.name: framework for framework in _FRAMEWORKS}
