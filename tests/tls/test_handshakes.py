"""Handshakes: versions, suites, protocols, names, resumption, and those that fail."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from ferricorn._ferricorn import TlsContext
from tests.support.asgi import Gate, Receive, Scope, Send, respond
from tests.support.certificates import Authority, Issued, common_name
from tests.support.client import GET, Client
from tests.support.server import RunningServer
from tests.tls.clients import ServeTls, SplitClient, connect, s_client, tls_of

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, b"hello")


def limited(
    authority: Authority,
    minimum: ssl.TLSVersion = V12,
    maximum: ssl.TLSVersion = V13,
    *,
    ciphers: str = "",
    alpn: tuple[str, ...] = (),
) -> ssl.SSLContext:
    context = authority.client_context()
    context.minimum_version, context.maximum_version = minimum, maximum
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def shown(server: RunningServer, context: ssl.SSLContext, name: str | None) -> x509.Certificate:
    """The certificate that a client gets."""
    with connect(server, context, name) as client:
        der = tls_of(client).getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


@pytest.mark.parametrize("version", [V12, V13])
def test_both_versions_are_spoken(serve_tls: ServeTls, shared: Authority, version: ssl.TLSVersion) -> None:
    with connect(serve_tls(hello), limited(shared, version, version)) as client:
        assert tls_of(client).version() == {V12: "TLSv1.2", V13: "TLSv1.3"}[version]
        for _ in range(3):
            client.send(GET)
            assert client.response().body == b"hello"


def test_a_minimum_version_is_held(serve_tls: ServeTls, shared: Authority, example: Issued) -> None:
    server = serve_tls(hello, TlsContext([example.pair], minimum_version="1.3"))
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        connect(server, limited(shared, V12, V12))
    server.expect_problem("127.0.0.1:", ": a TLS handshake failed: the client speaks no version of TLS that is allowed")
    connect(server, limited(shared)).close()


def test_ciphers_are_those_that_are_named(serve_tls: ServeTls, shared: Authority, example: Issued) -> None:
    wanted = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256"
    server = serve_tls(hello, TlsContext([example.pair], ciphers=wanted))
    for version, expected in [(V12, "ECDHE-ECDSA-AES128-GCM-SHA256"), (V13, "TLS_CHACHA20_POLY1305_SHA256")]:
        with connect(server, limited(shared, version, version)) as client:
            cipher = tls_of(client).cipher()
            assert cipher and cipher[0] == expected
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        connect(server, limited(shared, V12, V12, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"))
    server.expect_problem("the client and the server have no cipher suite in common")


def test_http_is_agreed_on_where_a_client_asks(serve_tls: ServeTls, shared: Authority, example: Issued) -> None:
    server = serve_tls(hello, TlsContext([example.pair], alpn=["http/1.1"]))
    for alpn, expected in [(("h2", "http/1.1"), "http/1.1"), ((), None)]:
        with connect(server, limited(shared, alpn=alpn)) as client:
            assert tls_of(client).selected_alpn_protocol() == expected
            client.send(GET)
            assert client.response().version == b"1.1"
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        connect(server, limited(shared, alpn=("spdy/3",)))
    server.expect_problem("the client offers no protocol that is spoken here (ALPN)")


def test_a_client_gets_the_certificate_for_the_name_it_asks_for(serve_tls: ServeTls, shared: Authority) -> None:
    first = shared.issue("first.org", "www.first.org", subject="CN=first")
    second = shared.issue("second.org", "*.second.org", subject="CN=second")
    third = shared.issue("exact.second.org", subject="CN=third")
    server = serve_tls(hello, TlsContext([first.pair, second.pair, third.pair]))
    trusting = shared.client_context()
    trusting.check_hostname = False
    for name, expected in [
        ("first.org", "first"),
        ("www.first.org", "first"),
        ("second.org", "second"),
        ("www.SECOND.org", "second"),
        ("exact.second.org", "third"),
        ("a.b.second.org", "first"),
        ("unknown.org", "first"),
        (None, "first"),
    ]:
        assert common_name(shown(server, trusting, name)) == expected, name


def test_of_two_for_one_name_a_client_gets_the_one_that_it_can_check(serve_tls: ServeTls, shared: Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    on_curve = shared.issue("example.org", subject="CN=curve")
    on_rsa = shared.issue("example.org", subject="CN=rsa", key=key)
    server = serve_tls(hello, TlsContext([on_curve.pair, on_rsa.pair]))
    for ciphers, expected in [("ECDHE-RSA-AES128-GCM-SHA256", "rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "curve")]:
        context = limited(shared, V12, V12, ciphers=ciphers)
        assert common_name(shown(server, context, "example.org")) == expected


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("size", [1, 13])
def test_any_split_of_the_bytes_does(
    serve_tls: ServeTls, shared: Authority, version: ssl.TLSVersion, size: int
) -> None:
    server = serve_tls(hello)
    client = SplitClient(server, limited(shared, version, version), size)
    for _ in range(2):
        client.send(GET)
        assert client.read_until(b"\r\n\r\nhello").startswith(b"HTTP/1.1 200 ")
    client.close()


def session_of(server: RunningServer, context: ssl.SSLContext) -> ssl.SSLSession:
    with connect(server, context) as client:
        client.send(GET)
        client.response()
        session = tls_of(client).session
    assert session
    return session


def is_resumed(server: RunningServer, context: ssl.SSLContext, session: ssl.SSLSession) -> bool:
    raw = server.connect().socket
    with Client(context.wrap_socket(raw, server_hostname="example.org", session=session)) as client:
        client.send(GET)
        client.response()
        reused = tls_of(client).session_reused
    assert reused is not None
    return reused


@pytest.mark.parametrize("version", [V12, V13])
def test_sessions_are_resumed(serve_tls: ServeTls, shared: Authority, example: Issued, version: ssl.TLSVersion) -> None:
    context = limited(shared, version, version)
    alone = serve_tls(hello)
    assert is_resumed(alone, context, session_of(alone, context))
    one = serve_tls(hello, TlsContext([example.pair], ticket_secret=b"s" * 32))
    session = session_of(one, context)
    other = serve_tls(hello, TlsContext([example.pair], ticket_secret=b"s" * 32))
    assert is_resumed(other, context, session)
    stranger = serve_tls(hello, TlsContext([example.pair], ticket_secret=b"t" * 32))
    assert not is_resumed(stranger, context, session)
    assert not is_resumed(alone, context, session)


def test_a_session_is_not_resumed_where_other_clients_are_trusted(serve_tls: ServeTls, authority: Authority) -> None:
    server_side, client_side = authority.issue("example.org"), authority.issue(subject="CN=me", client=True)
    crl = authority.revoke([])
    tls = TlsContext(
        [server_side.pair],
        ca_certs=authority.certfile,
        crl=crl,
        cert_reqs="required",
        ticket_secret=b"s" * 32,
    )
    server = serve_tls(hello, tls)
    context = authority.client_context(client_side)
    session = session_of(server, context)
    assert is_resumed(server, context, session)
    authority.revoke([client_side])
    tls.reload()
    with pytest.raises(ssl.SSLError, match="REVOKED"):
        is_resumed(server, context, session)
    server.expect_problem("the client's certificate is revoked")


def test_a_staple_is_passed_on(serve_tls: ServeTls, authority: Authority) -> None:
    issued = authority.issue("example.org")
    server = serve_tls(hello, TlsContext([issued.pair], ocsp=authority.staple(issued)))
    told = s_client(server, "-status", "-CAfile", authority.certfile)
    assert "OCSP Response Status: successful" in told
    assert "Cert Status: good" in told
    assert "OCSP response: no response sent" in s_client(serve_tls(hello), "-status")


def test_nothing_old_is_spoken(serve_tls: ServeTls) -> None:
    server = serve_tls(hello)
    for version in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in s_client(server, version, "-cipher", "ALL:@SECLEVEL=0")
        server.expect_problem("a TLS handshake failed: the client ")
    for ciphers in ("kRSA", "ECDHE+AES128+SHA", "ECDHE+AES256+SHA384:!AESGCM", "aNULL", "DHE"):
        assert "Cipher is (NONE)" in s_client(server, "-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")
        server.expect_problem("the client and the server have no ")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_nothing_is_compressed_and_nothing_comes_early(serve_tls: ServeTls, version: str) -> None:
    told = s_client(serve_tls(hello), version)
    assert "Compression: NONE" in told
    assert ("Early data was not sent" in told) == (version == "-tls1_3")


def test_plain_http_is_told_what_it_came_to(serve_tls: ServeTls) -> None:
    server = serve_tls(hello)
    with server.connect() as client:
        client.send(GET)
        response = client.response()
        assert (response.status, response.header(b"connection")) == (400, b"close")
        assert b"HTTPS" in response.body
        assert client.ends()
    server.expect_problem("127.0.0.1:", "it speaks HTTP, and this is a port for HTTPS")


def test_what_is_neither_is_an_error_of_the_client(serve_tls: ServeTls) -> None:
    server = serve_tls(hello)
    with server.connect() as client:
        client.send(b"\0" * 100)
        assert client.read_to_end()[:1] == b"\x15"
    server.expect_problem("a TLS handshake failed: what the client sent is no TLS")


def test_who_does_not_trust_us_is_no_news(serve_tls: ServeTls) -> None:
    server = serve_tls(hello)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server, ssl.create_default_context())
    with server.connect() as client:
        client.send(b"\x16\x03\x01")
    with connect(server, trusting_nobody()) as client:
        client.send(GET)
        assert client.response().status == 200


def trusting_nobody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_a_handshake_has_its_time(serve_tls: ServeTls, example: Issued) -> None:
    server = serve_tls(hello, TlsContext([example.pair], handshake_timeout=0.1))
    with server.connect() as silent, server.connect() as slow:
        slow.send(b"\x16\x03\x01")
        assert slow.ends()
        assert silent.ends()
    server.expect_problem("127.0.0.1:", ": refused a connection: its TLS handshake took too long")


def test_a_reload_is_for_those_that_come(serve_tls: ServeTls, authority: Authority) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            await gate.passed()
        await respond(send)

    old, new = authority.issue("example.org", subject="CN=old"), authority.issue("example.org", subject="CN=new")
    tls = TlsContext([old.pair])
    server = serve_tls(app, tls)
    context = authority.client_context()
    with connect(server, context) as idle, connect(server, context) as busy:
        busy.send(GET.replace(b"/ ", b"/waits "))
        kept = Path(old.keyfile).read_bytes()
        Path(old.certfile).write_bytes(Path(new.certfile).read_bytes())
        with pytest.raises(ValueError, match="is not the key of the certificate"):
            tls.reload()
        assert common_name(shown(server, context, "example.org")) == "old"
        Path(old.keyfile).write_bytes(Path(new.keyfile).read_bytes())
        tls.reload()
        assert common_name(shown(server, context, "example.org")) == "new"
        gate.open()
        assert busy.response().status == 200
        for client in (idle, busy):
            client.send(GET)
            assert client.response().status == 200
    assert kept != Path(old.keyfile).read_bytes()


def test_many_at_once_are_all_served(serve_tls: ServeTls, shared: Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    server = serve_tls(hello, TlsContext([shared.issue("example.org", key=key).pair]))
    context = shared.client_context()
    with connect(server, context) as early, ThreadPoolExecutor(32) as threads:

        def ask(_: int) -> bytes:
            with connect(server, context) as client:
                client.send(GET)
                return client.response().body

        answers = [threads.submit(ask, number) for number in range(100)]
        for _ in range(20):
            early.send(GET)
            assert early.response().body == b"hello"
        assert {answer.result() for answer in answers} == {b"hello"}
