"""Certificates of clients: who is let in, and what the log says of those who are not."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferricorn._ferricorn import TlsContext
from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.certificates import HOUR, Authority, Issued
from tests.support.client import GET
from tests.support.server import RunningServer
from tests.tls.clients import ServeTls, connect

NOW = datetime.now(UTC)

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def name(scope: Scope, receive: Receive, send: Send) -> None:
    """Says whom the server takes its client for."""
    await respond(send, str(scope["extensions"]["tls"]["client_cert_name"]).encode())


def context_of(authority: Authority, server: Issued, reqs: str, crl: str | None = None) -> TlsContext:
    return TlsContext([server.pair], ca_certs=authority.certfile, cert_reqs=reqs, crl=crl)


def answer(server: RunningServer, context: ssl.SSLContext) -> bytes:
    with connect(server, context) as client:
        client.send(GET)
        return client.response().body


def refusal(server: RunningServer, context: ssl.SSLContext) -> str:
    """How the client's TLS says that it is refused: in TLS 1.3 it is told after its handshake."""
    try:
        with connect(server, context) as client:
            client.send(GET)
            client.socket.recv(1)
    except (ssl.SSLError, ConnectionResetError) as error:
        return str(error)
    raise AssertionError("the client was let in")


@pytest.mark.parametrize("version", VERSIONS)
def test_one_may_be_required(serve_tls: ServeTls, shared: Authority, example: Issued, version: ssl.TLSVersion) -> None:
    server = serve_tls(name, context_of(shared, example, "required"))
    me, nobody = shared.client_context(shared.issue(subject="CN=me,O=here", client=True)), shared.client_context()
    for context in (me, nobody):
        context.minimum_version = context.maximum_version = version
    assert answer(server, me) == b"CN=me,O=here"
    assert refusal(server, nobody)
    server.expect_problem("127.0.0.1:", ": a TLS handshake failed: the client sent no certificate")


def test_one_may_be_optional(serve_tls: ServeTls, shared: Authority, example: Issued, tmp_path: Path) -> None:
    server = serve_tls(name, context_of(shared, example, "optional"))
    me = shared.issue(subject="CN=me", client=True)
    assert answer(server, shared.client_context(me)) == b"CN=me"
    assert answer(server, shared.client_context()) == b"None"
    stranger = Authority(tmp_path, "CN=Stranger").issue(subject="CN=me", client=True)
    assert refusal(server, shared.client_context(stranger))
    server.expect_problem("the client's certificate is of no authority that is trusted here")


def test_none_is_asked_for_otherwise(serve_tls: ServeTls, shared: Authority) -> None:
    me = shared.issue(subject="CN=me", client=True)
    assert answer(serve_tls(name), shared.client_context(me)) == b"None"


def test_each_refusal_has_its_reason_in_the_log(serve_tls: ServeTls, shared: Authority, example: Issued) -> None:
    server = serve_tls(name, context_of(shared, example, "required"))
    for issued, reason in [
        (shared.issue(subject="CN=a", client=True, end=NOW - timedelta(seconds=1)), "has expired"),
        (shared.issue(subject="CN=b", client=True, begin=NOW + HOUR), "is not valid yet"),
        (shared.issue(subject="CN=c", client=False), "is not one for clients (extended key usage)"),
    ]:
        assert refusal(server, shared.client_context(issued))
        server.expect_problem("127.0.0.1:", f": a TLS handshake failed: the client's certificate {reason}")


def test_a_revoked_one_is_refused(serve_tls: ServeTls, authority: Authority) -> None:
    good, bad = (authority.issue(subject=f"CN={name}", client=True) for name in ("good", "bad"))
    tls = context_of(authority, authority.issue("example.org"), "optional", authority.revoke([bad]))
    server = serve_tls(name, tls)
    assert answer(server, authority.client_context(good)) == b"CN=good"
    assert "REVOKED" in refusal(server, authority.client_context(bad)).upper()
    server.expect_problem("the client's certificate is revoked")
    authority.revoke([good, bad])
    tls.reload()
    assert refusal(server, authority.client_context(good))
    server.expect_problem("the client's certificate is revoked")


def test_an_old_revocation_list_lets_nobody_in(serve_tls: ServeTls, authority: Authority) -> None:
    old = authority.revoke([], until=-HOUR)
    server = serve_tls(name, context_of(authority, authority.issue("example.org"), "required", old))
    me = authority.issue(subject="CN=me", client=True)
    assert refusal(server, authority.client_context(me))
    server.expect_problem("cannot be checked: the revocation list of its authority has expired")


def test_every_authority_needs_its_revocation_list(serve_tls: ServeTls, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    others = Authority(tmp_path / "other", "CN=Other").revoke([])
    server = serve_tls(name, context_of(authority, authority.issue("example.org"), "required", others))
    me = authority.issue(subject="CN=me", client=True)
    assert refusal(server, authority.client_context(me))
    server.expect_problem("is of an authority without a revocation list")
