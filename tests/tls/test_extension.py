"""The TLS extension of ASGI 0.2: what an application is told of an encrypted connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from ferricorn._ferricorn import TlsContext
from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.certificates import Authority, Issued
from tests.support.client import GET
from tests.support.server import RunningServer, Serve
from tests.support.websocket import HANDSHAKE
from tests.tls.clients import ServeTls, connect

VERSIONS = [(ssl.TLSVersion.TLSv1_2, 0x0303), (ssl.TLSVersion.TLSv1_3, 0x0304)]


class Scopes:
    """An application that keeps its scopes."""

    def __init__(self) -> None:
        self.seen: Journal[Scope] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.add(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        await respond(send)

    def tls(self, server: RunningServer, context: ssl.SSLContext) -> Any:
        """What it is told of one connection."""
        with connect(server, context) as client:
            client.send(GET)
            client.response()
        return self.seen.next()["extensions"]["tls"]


def test_tls_01_a_plain_connection_has_none(serve: Serve) -> None:
    scopes = Scopes()
    serve(scopes).exchange(GET)
    assert "tls" not in scopes.seen.next()["extensions"]


def test_tls_01_an_encrypted_connection_has_it_in_every_scope(serve_tls: ServeTls, shared: Authority) -> None:
    scopes = Scopes()
    with connect(serve_tls(scopes), shared.client_context()) as client:
        for _ in range(3):
            client.send(GET)
            client.response()
        client.send(HANDSHAKE)
        assert client.head().status == 403
    told = [scopes.seen.next() for _ in range(4)]
    assert [scope["scheme"] for scope in told] == ["https"] * 3 + ["wss"]
    assert len({repr(scope["extensions"]["tls"]) for scope in told}) == 1
    keys = ["server_cert", "client_cert_chain", "client_cert_name", "client_cert_error", "tls_version", "cipher_suite"]
    assert list(told[0]["extensions"]["tls"]) == keys


def test_ext_18_it_is_fresh_for_every_scope(serve_tls: ServeTls, shared: Authority) -> None:
    seen: Journal[tuple[int, bool, list[str]]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tls = scope["extensions"]["tls"]
        seen.add((tls["tls_version"], "mine" in tls, sorted(scope["extensions"])))
        tls["mine"] = True
        tls["tls_version"] = None
        scope["extensions"].pop("tls")
        await respond(send)

    with connect(serve_tls(app), shared.client_context()) as client:
        for _ in range(4):
            client.send(GET)
            client.response()
    told = seen.take(4)
    assert told == [told[0]] * 4
    assert told[0][:2] == (0x0304, False)


def test_tls_02_the_certificate_is_the_one_that_was_sent(
    serve_tls: ServeTls, shared: Authority, example: Issued
) -> None:
    other = shared.issue("other.org")
    scopes = Scopes()
    server = serve_tls(scopes, TlsContext([other.pair, example.pair]))
    assert scopes.tls(server, shared.client_context())["server_cert"] == example.pem


def test_tls_03_the_chain_is_the_clients(serve_tls: ServeTls, shared: Authority, example: Issued) -> None:
    scopes = Scopes()
    server = serve_tls(scopes, TlsContext([example.pair], ca_certs=shared.certfile, cert_reqs="optional"))
    me = shared.issue(subject="CN=me", client=True)
    chain = [me.pem, Path(shared.certfile).read_text()]
    assert list(scopes.tls(server, shared.client_context(me))["client_cert_chain"]) == chain
    assert list(scopes.tls(server, shared.client_context())["client_cert_chain"]) == []


@pytest.mark.parametrize(
    "subject",
    [
        "CN=me",
        'CN=M\xfcller\\, Jos\xe9,OU=Staff,O=Example \\"Quoted\\" Ltd,L=Here,ST=There,C=DE',
        "UID=jdoe,DC=example,DC=org",
        "OU=Sales+CN=J.  Smith,DC=example,DC=net",
        "CN=\\ spaces \\ ",
    ],
)
def test_tls_04_the_name_is_the_subject_of_the_first(
    serve_tls: ServeTls, shared: Authority, example: Issued, subject: str
) -> None:
    scopes = Scopes()
    server = serve_tls(scopes, TlsContext([example.pair], ca_certs=shared.certfile, cert_reqs="required"))
    me = shared.issue(subject=subject, client=True)
    assert scopes.tls(server, shared.client_context(me))["client_cert_name"] == me.certificate.subject.rfc4514_string()


def test_tls_05_there_is_no_error_where_nobody_is_let_in_unverified(serve_tls: ServeTls, shared: Authority) -> None:
    scopes = Scopes()
    assert scopes.tls(serve_tls(scopes), shared.client_context())["client_cert_error"] is None


@pytest.mark.parametrize(("version", "number"), VERSIONS)
def test_tls_06_the_version_is_a_number(
    serve_tls: ServeTls, shared: Authority, version: ssl.TLSVersion, number: int
) -> None:
    context = shared.client_context()
    context.minimum_version = context.maximum_version = version
    scopes = Scopes()
    assert scopes.tls(serve_tls(scopes), context)["tls_version"] == number


@pytest.mark.parametrize(
    ("cipher", "number"),
    [("TLS_AES_128_GCM_SHA256", 0x1301), ("TLS_AES_256_GCM_SHA384", 0x1302), ("ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02B)],
)
def test_tls_07_the_cipher_suite_is_a_number(
    serve_tls: ServeTls, shared: Authority, example: Issued, cipher: str, number: int
) -> None:
    context = shared.client_context()
    if not cipher.startswith("TLS_"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    scopes = Scopes()
    server = serve_tls(scopes, TlsContext([example.pair], ciphers=cipher))
    assert scopes.tls(server, context)["cipher_suite"] == number


def test_tls_08_the_events_are_as_ever(serve_tls: ServeTls, serve: Serve, shared: Authority) -> None:
    seen: Journal[object] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        seen.add([await receive(), await receive()])

    for server, context in [(serve(app), None), (serve_tls(app), shared.client_context())]:
        with connect(server, context) if context else server.connect() as client:
            client.send(GET)
            client.response()
        assert seen.next() == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
