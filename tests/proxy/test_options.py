"""Who is trusted, and which fields count: what may be said, and that the worker reads it as the process does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import Result

from ferricorn import Config, Server
from ferricorn._ferricorn import Worker

TRUSTED = [
    "127.0.0.1",
    "::1",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "192.0.2.0/31",
    "2001:db8::/32",
    "::ffff:10.0.0.0/104",
    "::/0",
    "unix",
    "*",
]
NOT_TRUSTED = [
    "localhost",
    "10.0.0",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/255.0.0.0",
    "10.0.0.0/+8",
    "10.0.0.0/\u0661",
    "::/129",
    "/8",
    "127.0.0.1:80",
    "127.0.0.01",
    "[::1]",
    "fe80::1%eth0",
    "unix:/run/socket",
    "a\0b",
]
BITS_BEHIND = ["10.0.0.1/8", "192.0.2.1/31", "2001:db8::1/32", "::1/0"]


def worker(**options: Any) -> None:
    """A worker that is given these options, whatever `Config` says of them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("never called")

    native = Config(app).native_options() | options
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        Worker(app, loop=loop, listeners=[], state={}, asgi_version="3.0", options=native, hooks=Mock()).close()


@pytest.mark.parametrize("entry", TRUSTED)
def test_who_may_be_trusted(entry: str) -> None:
    assert Config("main:app", forwarded_allow_ips=entry).forwarded_allow_ips == (entry,)
    worker(forwarded_allow_ips=(entry,))


@pytest.mark.parametrize("entry", NOT_TRUSTED)
def test_a_wrong_entry_is_the_operators_error(entry: str) -> None:
    sentence = f"forwarded_allow_ips must be addresses, networks like 10.0.0.0/8, unix or *, not {entry!r}"
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        Config("main:app", forwarded_allow_ips=["127.0.0.1", entry])
    assert str(refusal.value) == sentence
    with pytest.raises(ValueError, match="is no address, no network"):
        worker(forwarded_allow_ips=(entry,))


@pytest.mark.parametrize("entry", BITS_BEHIND)
def test_bits_behind_the_prefix_are_a_slip(entry: str) -> None:
    """The address or the whole network: the operator has to say which."""
    sentence = f"forwarded_allow_ips must have no bits behind a prefix, as {entry!r} has"
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        Config("main:app", forwarded_allow_ips=entry)
    assert str(refusal.value) == sentence
    with pytest.raises(ValueError, match="has bits behind its prefix: the network is "):
        worker(forwarded_allow_ips=(entry,))


def test_what_is_no_text_is_refused() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="forwarded_allow_ips must be texts, not 5"):
        Config("main:app", forwarded_allow_ips=wrong)
    wrong = [b"::1"]
    with pytest.raises(TypeError, match="forwarded_allow_ips must be texts, not b'::1'"):
        Config("main:app", forwarded_allow_ips=wrong)


def test_a_list_in_one_text_or_in_several() -> None:
    for trusted in ("10.0.0.1, ::1,,unix ", ["10.0.0.1", " ::1", "unix"], ("10.0.0.1", "::1", "unix")):
        assert Config("main:app", forwarded_allow_ips=trusted).forwarded_allow_ips == ("10.0.0.1", "::1", "unix")
    assert Config("main:app", forwarded_allow_ips="").forwarded_allow_ips == ()
    assert Config("main:app").forwarded_allow_ips == ("127.0.0.1", "::1")


def test_fields() -> None:
    assert Config("main:app", forwarded_fields="for, host").forwarded_fields == ("for", "host")
    sentence = "forwarded_fields must be one of for, proto, host, port, prefix, forwarded, not 'by'"
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        Config("main:app", forwarded_fields=["for", "by"])
    assert str(refusal.value) == sentence
    with pytest.raises(ValueError, match='"by" is none of for, proto, host, port, prefix, forwarded'):
        worker(forwarded_fields=("for", "by"))
    worker(forwarded_fields=("for", "proto", "host", "port", "prefix", "forwarded"))


def test_the_command_line(config_of: Callable[..., Config], run: Callable[..., Result]) -> None:
    config = config_of("main:app", "--forwarded-allow-ips", "10.0.0.0/8,unix", "--no-proxy-headers", "--proxy-protocol")
    assert config.forwarded_allow_ips == ("10.0.0.0/8", "unix")
    assert (config.proxy_headers, config.proxy_protocol) == (False, True)
    result = run("main:app", "--forwarded-allow-ips", "10.0.0.1/8")
    assert result.exit_code == 2
    assert "'--forwarded-allow-ips': must have no bits behind a prefix, as '10.0.0.1/8' has." in result.output


def test_the_variable_that_other_servers_read_too(config_of: Callable[..., Config]) -> None:
    named = {"FORWARDED_ALLOW_IPS": "10.0.0.1"}
    assert config_of("main:app", **named).forwarded_allow_ips == ("10.0.0.1",)
    named["UVICORN_FORWARDED_ALLOW_IPS"] = "10.0.0.2"
    assert config_of("main:app", **named).forwarded_allow_ips == ("10.0.0.2",)
    named["FERRICORN_FORWARDED_ALLOW_IPS"] = "10.0.0.3,::1"
    assert config_of("main:app", **named).forwarded_allow_ips == ("10.0.0.3", "::1")
    assert config_of("main:app", "--forwarded-allow-ips", "*", **named).forwarded_allow_ips == ("*",)


def test_a_program_reads_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert Server(Config("main:app")).config.forwarded_allow_ips == ("127.0.0.1", "::1")
