"""The shapes of an ASGI application, for annotations (the ASGI specification, "Applications")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Asgi3: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[Any]]
Asgi2: TypeAlias = Callable[[Scope], Callable[[Receive, Send], Awaitable[Any]]]
