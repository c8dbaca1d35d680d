"""The lifespan protocol: one call of the application that spans the life of the event loop (LIFE-01 to LIFE-19).

                startup.complete            server stops            shutdown.complete, .failed
    STARTING -----------------> STARTED -----------------> STOPPING -----------------> STOPPED
       |  | startup.failed         |                          |                           ^
       |  +------------> FAILED    |                          +------- call ends ---------+
       +------ call ends ----------+------------> ENDED

The application runs in one task with a context of its own, so what it sets there reaches no request (CON-10). Knows no
requests.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Any, Final

from ferricorn._types import Message, Scope
from ferricorn.errors import StartupError
from ferricorn.interface import Application
from ferricorn.logging import error_log as log

_END_SECONDS: Final = 1.0
"""How long the call may go on after its last answer, or after it was cancelled: either was the time to be done."""


class Phase(enum.Enum):
    """Where the application's lifespan call is."""

    STARTING = "before startup.complete"
    STARTED = "after startup.complete and before shutdown"
    FAILED = "after startup.failed"
    STOPPING = "during shutdown"
    STOPPED = "after shutdown"
    ENDED = "after the application has returned"


_ANSWERS: Final = {
    (Phase.STARTING, "lifespan.startup.complete"): Phase.STARTED,
    (Phase.STARTING, "lifespan.startup.failed"): Phase.FAILED,
    (Phase.STOPPING, "lifespan.shutdown.complete"): Phase.STOPPED,
    (Phase.STOPPING, "lifespan.shutdown.failed"): Phase.STOPPED,
}
"""What the application may send when, and where it leads; everything else is refused (LIFE-13)."""


class LifespanError(RuntimeError):
    """The application sent what the lifespan protocol does not allow now."""


class Lifespan:
    """One application's lifespan on the running event loop. `mode` is the option: auto, on or off."""

    def __init__(self, application: Application, mode: str) -> None:
        self.state: dict[str, Any] = {}
        """scope["state"]: the application fills it, the server only hands it on (LIFE-15, LIFE-17)."""
        self.phase = Phase.STARTING
        self._application = application
        self._mode = mode
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._told = False
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Returns when the application is ready, or has no use for lifespan (LIFE-03 to LIFE-08).

        Raises StartupError when it says that it failed, or raises and `mode` is on. Cancelled, it cancels the call.
        """
        if self._mode == "off":
            self.phase = Phase.ENDED
            return
        log.info("Waiting for application startup.")
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.create_task(self._call(), name="ferricorn lifespan")
        try:
            await self._answered.wait()
        except asyncio.CancelledError:
            await self.abandon()
            raise
        if self.phase is Phase.FAILED:
            await self._end(self._task)
            raise StartupError("Application startup failed.")

    async def shutdown(self, timeout: float | None) -> None:
        """Tells the application and waits for its answer, at most `timeout` seconds (LIFE-10 to LIFE-12).

        Failures are logged. Cancelled, it cancels the call.
        """
        if self._task is None or self.phase is not Phase.STARTED:
            return
        log.info("Waiting for application shutdown.")
        self.phase = Phase.STOPPING
        self._answered.clear()
        self._events.put_nowait({"type": "lifespan.shutdown"})
        try:
            async with asyncio.timeout(timeout):
                await self._answered.wait()
        except TimeoutError:
            log.error("Application shutdown was not complete after %g seconds: cancelling it.", timeout)
            await self.abandon()
        except asyncio.CancelledError:
            await self.abandon()
            raise
        else:
            await self._end(self._task)

    async def abandon(self) -> None:
        """Cancels the call, without telling the application anything."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_END_SECONDS)

    async def _end(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait({task}, timeout=_END_SECONDS)
        if not task.done():
            await self.abandon()

    async def _call(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": self._application.version, "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._application.call(scope, self._receive, self._send)
        except asyncio.CancelledError:
            log.debug("The application's lifespan was cancelled %s.", self.phase.value)
            self.phase = Phase.ENDED
        except BaseException as error:
            # SystemExit would otherwise leave the loop without a shutdown (ERR-12).
            self._raised(error)
        finally:
            self._ended()

    def _raised(self, error: BaseException) -> None:
        """Says what an exception out of the call means: it depends on how far the call had come."""
        if self.phase is Phase.STARTING:
            self._raised_in_startup(error)
        elif self.phase is Phase.FAILED:
            log.debug("The application's lifespan raised %s.", self.phase.value, exc_info=error)
        else:
            log.error("The application's lifespan raised %s.", self.phase.value, exc_info=error)

    def _raised_in_startup(self, error: BaseException) -> None:
        if self._mode == "on" or not isinstance(error, Exception):
            log.error("The application raised during startup.", exc_info=error)
            self.phase = Phase.FAILED
        elif self._told and not isinstance(error, LifespanError):
            # It took the event, so it knows the protocol: this is a failure in its startup. LIFE-06 says to go on.
            log.warning("The application raised during startup; going on without lifespan.", exc_info=error)
        else:
            log.debug("The application raised when called with a lifespan scope.", exc_info=error)

    def _ended(self) -> None:
        if self.phase is Phase.STARTING:
            log.info("ASGI 'lifespan' protocol appears unsupported.")
        if self.phase in (Phase.STARTING, Phase.STARTED):
            self.phase = Phase.ENDED
        elif self.phase is Phase.STOPPING:
            self.phase = Phase.STOPPED
        self._answered.set()

    async def _receive(self) -> Message:
        event = await self._events.get()
        self._told = True
        return event

    async def _send(self, message: Message) -> None:
        event, problem = _read(message)
        phase = _ANSWERS.get((self.phase, event))
        if phase is None:
            raise LifespanError(_refusal(event, self.phase))
        if event.endswith(".failed"):
            log.error("Application %s failed%s", event.split(".")[1], f": {problem}" if problem else ".")
        else:
            log.info("Application %s complete.", event.split(".")[1])
        self.phase = phase
        self._answered.set()


def _read(message: Message) -> tuple[str, str]:
    """The type and the text of an event from the application. Raises TypeError for what is not one (ERR-01)."""
    if not isinstance(message, dict):
        raise TypeError(f"send takes a dict, not {message!r}")
    event, problem = message.get("type"), message.get("message", "")
    if not isinstance(event, str):
        raise TypeError(f"the type of an event must be a str, not {event!r}")
    if not isinstance(problem, str):
        raise TypeError(f"the message of {event!r} must be a str, not {problem!r}")
    return event, problem


def _refusal(event: str, phase: Phase) -> str:
    allowed = [name for known, name in _ANSWERS if known is phase]
    return f"send of {event!r} {phase.value}: allowed is {' or '.join(allowed) or 'nothing'}"
