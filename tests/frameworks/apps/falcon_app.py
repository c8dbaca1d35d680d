"""The contract as a Falcon (ASGI) application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import falcon.asgi
from falcon import HTTP_200
from falcon.asgi import Request, Response, SSEvent, WebSocket

from . import common
from .common import signals
from .falcon_websockets import add_websockets


class Json:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = common.GREETING

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        resp.media = await req.get_media()


class Describe:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        words = req.get_param_as_list("word")
        resp.media = {
            "name": name,
            "words": words,
            "scheme": req.scheme,
            "host": req.netloc,
            "client": req.remote_addr,
        }


class Form:
    async def on_post(self, req: Request, resp: Response) -> None:
        fields = await req.get_media()
        resp.media = {"name": fields["name"], "city": fields["city"]}


class Multipart:
    async def on_post(self, req: Request, resp: Response) -> None:
        described: dict[str, Any] = {}
        async for part in await req.get_media():
            if part.filename is None:
                described[part.name] = await part.text
            else:
                described |= {"filename": part.filename, "content_type": part.content_type}
                described |= await common.digest(part.stream)
        resp.media = described


class Stream:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = common.gated(name)


class Events:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        async def emit() -> AsyncIterator[SSEvent]:
            async for data in common.ticks(name):
                yield SSEvent(text=data)

        resp.sse = emit()


class File:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, len(common.CHUNK)):
                    yield piece

        path = common.FILES / name
        resp.content_type = "application/octet-stream"
        resp.set_stream(pieces(), path.stat().st_size)

    on_head = on_get


class Background:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        async def task() -> None:
            await signals.wait(f"{name}.go")
            signals.set(f"{name}.done")

        resp.media = {"accepted": True}
        resp.schedule(task)


class Sync:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"main_thread": await falcon.sync_to_async(common.on_main_thread)}

    async def on_get_blocked(self, req: Request, resp: Response, name: str) -> None:
        def block() -> None:
            signals.set(f"{name}.started")
            signals.wait_blocking(f"{name}.go")

        await falcon.sync_to_async(block)
        resp.media = {"released": True}


class State:
    async def on_get(self, req: Request, resp: Response) -> None:
        state = req.scope["state"]
        state["visits"].count += 1
        fresh = "scratch" not in state
        state["scratch"] = True
        resp.media = {"visits": state["visits"].count, "fresh": fresh}


class LifespanLoop:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"started": True, "same_loop": req.scope["state"]["loop"] is asyncio.get_running_loop()}


class Cookies:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = req.cookies
        for name, value in common.COOKIES.items():
            resp.set_cookie(name, value)


class Error:
    async def on_get(self, req: Request, resp: Response) -> None:
        raise RuntimeError(common.DELIBERATE)

    async def on_get_stream(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = common.failing()


class Download:
    async def on_get(self, req: Request, resp: Response, size: int) -> None:
        resp.content_type = "application/octet-stream"
        resp.stream = common.chunks(size)


class Upload:
    async def on_post(self, req: Request, resp: Response) -> None:
        resp.media = await common.digest(req.stream)

    async def on_post_gated(self, req: Request, resp: Response, name: str) -> None:
        signals.set(f"{name}.started")
        await signals.wait(f"{name}.go")
        resp.media = await common.digest(req.stream)

    async def on_post_aborted(self, req: Request, resp: Response, name: str) -> None:
        received = 0
        async for piece in req.stream:
            received += len(piece)
            signals.set(f"{name}.started")
        if received < (req.content_length or 0):
            signals.set(name)


class Together:
    async def on_get(self, req: Request, resp: Response, name: str, parties: int) -> None:
        await signals.meet(name, parties)
        resp.media = {"parties": parties}


class Signal:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        await signals.wait(name)
        resp.status = HTTP_200

    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        signals.set(name)


# What only Falcon has: see test_falcon.py.


class Pings:
    async def on_get(self, req: Request, resp: Response) -> None:
        async def emit() -> AsyncIterator[SSEvent | None]:
            yield None
            yield SSEvent(json={"number": 1}, event="count", event_id="1", retry=500)

        resp.sse = emit()


class Scheduled:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        resp.schedule_sync(lambda: signals.set(f"{name}.{common.on_main_thread()}"))


class Sink:
    async def __call__(self, req: Request, resp: Response | None, **rest: Any) -> None:
        assert resp is not None
        resp.media = rest


class Failing:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        """An HTTP error after the handshake: Falcon closes with 3000 and its status."""
        await ws.accept()
        raise falcon.HTTPTooManyRequests


class WebSocketSink:
    async def __call__(self, req: Request, resp: Response | None, ws: WebSocket | None = None, **rest: Any) -> None:
        assert ws is not None
        await ws.accept()
        await ws.send_text(rest["rest"])


class Stamp:
    """Middleware around WebSockets alone."""

    async def process_request_ws(self, req: Request, ws: WebSocket) -> None:
        if req.get_param("stamp") == "forged":
            raise falcon.HTTPForbidden

    async def process_resource_ws(self, req: Request, ws: WebSocket, resource: object, params: dict[str, Any]) -> None:
        if name := req.get_param("stamp"):
            signals.set(name)


class Lifespan:
    async def process_startup(self, scope: dict[str, Any], event: dict[str, Any]) -> None:
        scope["state"] |= {"visits": common.Visits(), "loop": asyncio.get_running_loop()}

    async def process_shutdown(self, scope: dict[str, Any], event: dict[str, Any]) -> None:
        common.note_shutdown()


app = falcon.asgi.App(middleware=[Lifespan(), Stamp()])
app.add_route("/json", Json())
app.add_route("/request/{name}", Describe())
app.add_route("/form", Form())
app.add_route("/multipart", Multipart())
app.add_route("/stream/{name}", Stream())
app.add_route("/events/{name}", Events())
app.add_route("/files/{name}", File())
app.add_route("/background/{name}", Background())
app.add_route("/sync", Sync())
app.add_route("/sync/blocked/{name}", Sync(), suffix="blocked")
app.add_route("/state", State())
app.add_route("/lifespan", LifespanLoop())
app.add_route("/cookies", Cookies())
app.add_route("/error", Error())
app.add_route("/error/stream", Error(), suffix="stream")
app.add_route("/download/{size:int}", Download())
app.add_route("/upload", Upload())
app.add_route("/upload/gated/{name}", Upload(), suffix="gated")
app.add_route("/upload/aborted/{name}", Upload(), suffix="aborted")
app.add_route("/together/{name}/{parties:int}", Together())
app.add_route("/signals/{name}", Signal())
app.add_route("/pings", Pings())
app.add_route("/scheduled/{name}", Scheduled())
add_websockets(app)
app.add_route("/failing/ws", Failing())
app.add_sink(Sink(), r"/sink/(?P<rest>.*)")
app.add_sink(WebSocketSink(), r"/sink/ws/(?P<rest>.*)")
app.add_static_route("/static", common.FILES)
