"""Nothing of a scope reaches the next one (SCP-02, SCP-17, SCP-24).

The server uses again what comes back untouched: nobody may be able to tell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.client import GET, request
from tests.support.server import Serve

PATHSEND = "http.response.pathsend"


def renames_a_version(scope: Scope) -> None:
    scope["asgi"]["spoilt"] = scope["asgi"].pop("spec_version")


def renames_an_extension(scope: Scope) -> None:
    last = list(scope["extensions"])[-1]
    scope["extensions"]["spoilt"] = scope["extensions"].pop(last)


def swaps_extensions(scope: Scope) -> None:
    first, second, *_ = scope["extensions"]
    extensions = scope["extensions"]
    extensions[first], extensions[second] = extensions[second], extensions[first]


def replaces_the_scope(scope: Scope) -> None:
    for key in list(scope):
        scope[key] = "spoilt"
    scope["more"] = "spoilt"


SPOILERS: dict[str, Callable[[Scope], Any]] = {
    "asgi gets a key": lambda scope: scope["asgi"].update(spoilt=1),
    "asgi gets a value": lambda scope: scope["asgi"].update(version="spoilt"),
    "asgi loses all": lambda scope: scope["asgi"].clear(),
    "asgi gets another name": renames_a_version,
    "extensions get one": lambda scope: scope["extensions"].update(spoilt={}),
    "extensions get a payload": lambda scope: scope["extensions"][PATHSEND].update(spoilt=1),
    "extensions get another payload": lambda scope: scope["extensions"].update({PATHSEND: {}}),
    "extensions lose one": lambda scope: scope["extensions"].pop(PATHSEND),
    "extensions get another name": renames_an_extension,
    "extensions swap": swaps_extensions,
    "headers get one": lambda scope: scope["headers"].append((b"spoilt", b"1")),
    "headers lose one": lambda scope: scope["headers"].pop(),
    "headers turn round": lambda scope: scope["headers"].reverse(),
    "headers get a value": lambda scope: scope["headers"].__setitem__(0, (b"spoilt", b"1")),
    "state gets a key": lambda scope: scope["state"].update(spoilt=1),
    "everything": replaces_the_scope,
}


@pytest.mark.parametrize("keeps", [False, True], ids=["drops", "keeps"])
@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_scp_24_what_an_application_does_to_a_scope_stays_with_it(
    serve: Serve, spoil: Callable[[Scope], Any], keeps: bool
) -> None:
    seen: list[Scope] = []
    kept: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(copy.deepcopy(scope))
        if keeps:
            kept.append(scope)
        spoil(scope)
        await respond(send)

    server = serve(app, lifespan="off")
    with server.connect() as client:
        for _ in range(4):
            client.send(request(headers=[(b"x-one", b"1"), (b"x-two", b"2")]))
            assert client.response().status == 200
    assert seen[1:] == seen[:1] * 3
    assert len({id(part) for scope in kept for part in scope.values() if isinstance(part, dict | list)}) == sum(
        isinstance(part, dict | list) for scope in kept for part in scope.values()
    )


def test_scp_24_parts_that_are_kept_do_not_change(serve: Serve) -> None:
    """An application that keeps only a part of a scope has that part to itself."""
    kept: list[tuple[Any, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        part = [scope["headers"], scope["asgi"], scope["state"], scope["extensions"], scope["extensions"][PATHSEND]]
        mine = part[len(kept) % len(part)]
        kept.append((mine, copy.deepcopy(mine)))
        scope["state"]["seen"] = True
        await respond(send)

    server = serve(app, lifespan="off")
    with server.connect() as client:
        for number in range(20):
            client.send(request(headers=[(b"x-number", str(number // 7).encode())]))
            assert client.response().status == 200
    for mine, before in kept:
        if mine != before:
            assert mine == {"seen": True}
    assert len({id(mine) for mine, _ in kept}) == len(kept)


def test_scp_24_pipelined_requests_have_scopes_of_their_own(serve: Serve) -> None:
    paths: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"] + "?" + scope["query_string"].decode())
        await respond(send)

    targets = [b"/a", b"/a?x", b"/a?x", b"/b?x", b"/b", b"/a", b"/a"]
    with serve(app, lifespan="off").connect() as client:
        client.send(b"".join(request(target=target) for target in targets) + GET)
        for _ in range(len(targets) + 1):
            assert client.response().status == 200
    assert paths == ["/a?", "/a?x", "/a?x", "/b?x", "/b?", "/a?", "/a?", "/?"]


def test_scp_24_a_request_that_the_application_does_not_see_leaves_nothing(serve: Serve) -> None:
    """What a scope has in common with the last one is what the application saw, not what came last."""
    seen: list[tuple[Any, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((dict(scope["headers"])[b"x-forwarded-for"], scope["client"][0]))
        await respond(send)

    def ask(target: bytes, user: bytes) -> bytes:
        return request(target=target, headers=[(b"x-forwarded-for", user)])

    server = serve(app, lifespan="off", health_path="/health", forwarded_allow_ips="*")
    with server.connect() as client:
        for target, user in [(b"/", b"10.0.0.1")] * 3 + [(b"/health", b"10.0.0.2"), (b"/", b"10.0.0.2")]:
            client.send(ask(target, user))
            assert client.response().status == 200
    assert seen == [(b"10.0.0.1", "10.0.0.1")] * 3 + [(b"10.0.0.2", "10.0.0.2")]
