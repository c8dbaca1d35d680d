"""Clients of https by Python's ssl, and requests that go on while something happens to the server."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509

from tests.support.client import GET, Address, Client, Response


def connect(
    address: Address, context: ssl.SSLContext, name: str | None = "localhost", session: ssl.SSLSession | None = None
) -> Client:
    """A connection that asks for `name`, after its handshake."""
    plain = Client.connect(address)
    try:
        return Client(context.wrap_socket(plain.socket, server_hostname=name, session=session))
    except BaseException:
        plain.close()
        raise


def tls_of(client: Client) -> ssl.SSLSocket:
    assert isinstance(client.socket, ssl.SSLSocket)
    return client.socket


def fetch(address: Address, context: ssl.SSLContext, data: bytes = GET, name: str = "localhost") -> Response:
    with connect(address, context, name) as client:
        client.send(data)
        return client.response()


def shown(address: Address, context: ssl.SSLContext, name: str | None = "localhost") -> x509.Certificate:
    """The certificate that the server shows, good or not."""
    lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    lenient.minimum_version = context.minimum_version
    with connect(address, lenient, name) as client:
        der = tls_of(client).getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def session_of(address: Address, context: ssl.SSLContext) -> ssl.SSLSession:
    """A session to be resumed. Its ticket has come with the response at the latest."""
    with connect(address, context) as client:
        client.send(GET)
        client.response()
        session = tls_of(client).session
    assert session is not None
    return session


def resumes(address: Address, context: ssl.SSLContext, session: ssl.SSLSession) -> bool | None:
    """Whether a new connection goes on with the session."""
    with connect(address, context, session=session) as client:
        client.send(GET)
        client.response()
        return tls_of(client).session_reused


class Traffic:
    """Requests one after the other: on one connection, and on a new one each."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        self._address = address
        self._context = context
        self.failures: list[str] = []
        self.answered = 0
        self.is_over = threading.Event()

    def keep(self) -> None:
        while not self.is_over.is_set():
            with connect(self._address, self._context) as client:
                # Until the server says that it is the last one.
                while not (self.is_over.is_set() or self._ask(client) == b"close"):
                    pass

    def renew(self) -> None:
        while not self.is_over.is_set():
            with connect(self._address, self._context) as client:
                self._ask(client)

    def _ask(self, client: Client) -> bytes | None:
        """What the answer says of the connection."""
        client.send(GET)
        response = client.response()
        assert response.status == 200, response
        self.answered += 1
        return response.header(b"connection")


@contextmanager
def traffic(address: Address, context: ssl.SSLContext) -> Iterator[Traffic]:
    """Has the server asked meanwhile. In the end every request must have been answered."""
    running = Traffic(address, context)

    def run(loop: str) -> None:
        try:
            getattr(running, loop)()
        except Exception as error:
            running.failures.append(f"{loop}: {error!r}")

    threads = [threading.Thread(target=run, args=[loop], name=f"traffic {loop}") for loop in ("keep", "renew")]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.is_over.set()
        for thread in threads:
            thread.join()
    assert running.failures == [], running.failures
    assert running.answered > 0
