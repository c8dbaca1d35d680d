"""What a case expects of the server: how it is told, and how it is looked at.

A check returns the ways in which the server was within the case but not all that it should be (remarks), and raises
FailedError where it was not within it.
"""

from __future__ import annotations

from typing import Protocol

from .frames import Code, Frame, Type, code_name
from .peer import FailedError, Peer


class Expectation(Protocol):
    """Told by `str`."""

    def check(self, peer: Peer, /) -> list[str]: ...


class BrokenConnection:
    """GOAWAY with one of `codes`, then the end (section 5.4.1).

    Just the end passes too, with a remark, and so does another code with the end behind it, as in h2spec."""

    def __init__(self, *codes: Code) -> None:
        self.codes = codes

    def __str__(self) -> str:
        return f"connection error {_or(self.codes)}"

    def check(self, peer: Peer) -> list[str]:
        while (frame := peer.next_frame()) is not None:
            if frame.type == Type.GOAWAY:
                return self.goaway(peer, frame)
        return ["no GOAWAY"]

    def goaway(self, peer: Peer, frame: Frame) -> list[str]:
        """Judges the GOAWAY that `frame` is."""
        right = frame.code in self.codes
        if peer.wait_for_end():
            return [] if right else [f"GOAWAY with {code_name(frame.code)}"]
        if right:
            return ["stays open behind GOAWAY"]
        raise FailedError(f"GOAWAY with {code_name(frame.code)}, and stays open")


class BrokenStream:
    """RST_STREAM with one of `codes`, or a connection error with one (section 5.4.2).

    The latter with a remark, unless `or_connection` says that one is as good as the other."""

    def __init__(self, *codes: Code, stream: int = 1, or_connection: bool = False) -> None:
        self.codes = codes
        self.stream = stream
        self.or_connection = or_connection

    def __str__(self) -> str:
        return f"stream error {_or(self.codes)}"

    def check(self, peer: Peer) -> list[str]:
        while (frame := peer.next_frame()) is not None:
            if frame.type == Type.GOAWAY:
                remarks = BrokenConnection(*self.codes).goaway(peer, frame)
                return remarks if remarks or self.or_connection else ["GOAWAY in place of RST_STREAM"]
            if frame.type == Type.RST_STREAM:
                return self._reset(frame)
        return ["no RST_STREAM, no GOAWAY"]

    def _reset(self, frame: Frame) -> list[str]:
        if frame.stream != self.stream:
            raise FailedError(f"another stream is reset: {frame}")
        if frame.code not in self.codes:
            raise FailedError(f"RST_STREAM with {code_name(frame.code)}")
        return []


class Refusal(BrokenStream):
    """A stream error, or a response of 400 to 499 or 501: a server may say what was wrong (section 8.1.1)."""

    def __str__(self) -> str:
        return f"{super().__str__()}, or 4xx"

    def check(self, peer: Peer) -> list[str]:
        before = len(peer.read)
        try:
            return super().check(peer)
        except FailedError:
            if not any(frame.ends_stream and frame.stream == self.stream for frame in peer.read[before:]):
                raise
        status = peer.response(self.stream).status
        if status != 501 and not 400 <= status < 500:
            raise FailedError(f"the status is {status}")
        return []


class Answer:
    """A whole response with the status 200."""

    def __init__(self, stream: int = 1) -> None:
        self.stream = stream

    def __str__(self) -> str:
        return "a response"

    def check(self, peer: Peer) -> list[str]:
        response = peer.response(self.stream)
        if response.status != 200:
            raise FailedError(f"the status is {response.status}")
        return []


class Ignored:
    """Nothing: a PING behind it is acknowledged, and no stream is reset."""

    def __str__(self) -> str:
        return "ignored"

    def check(self, peer: Peer) -> list[str]:
        before = peer.answers_ping()
        if bad := [str(frame) for frame in before if frame.type in (Type.RST_STREAM, Type.GOAWAY)]:
            raise FailedError(f"not ignored: {', '.join(bad)}")
        return []


class IgnoredOrEnd:
    """As `Ignored`, or the orderly end of the connection."""

    def __str__(self) -> str:
        return "ignored, or the end"

    def check(self, peer: Peer) -> list[str]:
        try:
            peer.answers_ping()
        except FailedError:
            if not peer.wait_for_end():
                raise
            told = [frame for frame in peer.read if frame.type == Type.GOAWAY and frame.code != Code.NO_ERROR]
            return [f"GOAWAY with {code_name(frame.code)}" for frame in told]
        return []


class End:
    """The end of the connection, whatever comes before."""

    def __str__(self) -> str:
        return "the end of the connection"

    def check(self, peer: Peer) -> list[str]:
        if not peer.wait_for_end():
            raise FailedError("the connection stays open")
        return []


class Done:
    """The case itself has looked at everything."""

    def __init__(self, told: str) -> None:
        self.told = told

    def __str__(self) -> str:
        return self.told

    def check(self, _: Peer) -> list[str]:
        return []


def _or(codes: tuple[Code, ...]) -> str:
    return " or ".join(code.name for code in codes)
