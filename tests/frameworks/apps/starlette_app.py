"""The contract as a Starlette application."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from . import common, starlette_websockets
from .common import signals


async def json(request: Request) -> Response:
    return JSONResponse(await request.json() if request.method == "POST" else common.GREETING)


async def describe(request: Request) -> Response:
    client = request.client
    assert client is not None
    return JSONResponse(
        {
            "name": request.path_params["name"],
            "words": request.query_params.getlist("word"),
            "scheme": request.url.scheme,
            "host": request.url.netloc,
            "client": client.host,
        }
    )


async def form(request: Request) -> Response:
    async with request.form() as fields:
        return JSONResponse({"name": fields["name"], "city": fields["city"]})


async def multipart(request: Request) -> Response:
    async with request.form() as fields:
        file = fields["file"]
        assert not isinstance(file, str)
        described = common.digest_of(await file.read())
        return JSONResponse(
            {"title": fields["title"], "filename": file.filename, "content_type": file.content_type, **described}
        )


async def stream(request: Request) -> Response:
    return StreamingResponse(common.gated(request.path_params["name"]), media_type="text/plain")


async def events(request: Request) -> Response:
    items = common.as_events(common.ticks(request.path_params["name"]))
    return StreamingResponse(items, media_type="text/event-stream")


async def quiet_events(request: Request) -> Response:
    async def until_disconnected() -> AsyncIterator[bytes]:
        try:
            yield common.as_event("0")
            while not await request.is_disconnected():
                await asyncio.sleep(0.01)
        finally:
            signals.set(request.path_params["name"])

    return StreamingResponse(until_disconnected(), media_type="text/event-stream")


async def disconnect(request: Request) -> Response:
    name = request.path_params["name"]
    signals.set(f"{name}.started")
    while (await request.receive())["type"] != "http.disconnect":
        pass
    signals.set(name)
    return Response()


async def file(request: Request) -> Response:
    return FileResponse(common.FILES / request.path_params["name"])


async def background(request: Request) -> Response:
    name = request.path_params["name"]

    async def task() -> None:
        await signals.wait(f"{name}.go")
        signals.set(f"{name}.done")

    return JSONResponse({"accepted": True}, background=BackgroundTask(task))


def sync(request: Request) -> Response:
    return JSONResponse({"main_thread": common.on_main_thread()})


def sync_blocked(request: Request) -> Response:
    name = request.path_params["name"]
    signals.set(f"{name}.started")
    signals.wait_blocking(f"{name}.go")
    return JSONResponse({"released": True})


async def state(request: Request) -> Response:
    request.state.visits.count += 1
    fresh = not hasattr(request.state, "scratch")
    request.state.scratch = True
    return JSONResponse({"visits": request.state.visits.count, "fresh": fresh})


async def lifespan_loop(request: Request) -> Response:
    return JSONResponse({"started": True, "same_loop": request.state.loop is asyncio.get_running_loop()})


async def cookies(request: Request) -> Response:
    response = JSONResponse(request.cookies)
    for name, value in common.COOKIES.items():
        response.set_cookie(name, value, httponly=True)
    return response


async def error(request: Request) -> Response:
    raise RuntimeError(common.DELIBERATE)


async def error_stream(request: Request) -> Response:
    return StreamingResponse(common.failing(), media_type="text/plain")


async def download(request: Request) -> Response:
    return StreamingResponse(common.chunks(request.path_params["size"]), media_type="application/octet-stream")


async def upload(request: Request) -> Response:
    return JSONResponse(await common.digest(request.stream()))


async def upload_gated(request: Request) -> Response:
    name = request.path_params["name"]
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    return await upload(request)


async def upload_aborted(request: Request) -> Response:
    name = request.path_params["name"]
    try:
        async for _ in request.stream():
            signals.set(f"{name}.started")
    except ClientDisconnect:
        signals.set(name)
    return Response()


async def together(request: Request) -> Response:
    await signals.meet(request.path_params["name"], request.path_params["parties"])
    return JSONResponse({"parties": request.path_params["parties"]})


async def signal(request: Request) -> Response:
    name = request.path_params["name"]
    if request.method == "POST":
        signals.set(name)
    else:
        await signals.wait(name)
    return JSONResponse({"name": name})


# What only Starlette has: see test_starlette.py.


async def counting_session(request: Request) -> Response:
    request.session["count"] = request.session.get("count", 0) + 1
    return JSONResponse({"count": request.session["count"]})


def sync_lines(request: Request) -> Response:
    def lines() -> Iterator[str]:
        for number in range(100):
            yield f"line {number} {common.on_main_thread()}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def temporary_file(request: Request) -> Response:
    """A file that the background task removes once the response is sent, as the documentation does it."""
    with tempfile.NamedTemporaryFile(delete=False) as made:
        made.write(common.CHUNK * 32)
    return FileResponse(made.name, background=BackgroundTask(os.unlink, made.name))


async def where(request: Request) -> Response:
    return PlainTextResponse(f"{request.scope['root_path']} {request.url_for('mounted:where')}")


class Counter(WebSocketEndpoint):
    """A WebSocket as a class: counts what comes as JSON."""

    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.total = 0

    async def on_receive(self, websocket: WebSocket, data: int) -> None:
        self.total += data
        await websocket.send_json(self.total)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        common.note_disconnect(websocket.path_params["name"], close_code)


async def iterate(websocket: WebSocket) -> None:
    """Each of Starlette's iterators ends by itself when the client is gone."""
    await websocket.accept()
    match websocket.path_params["kind"]:
        case "text":
            async for text in websocket.iter_text():
                await websocket.send_text(text.upper())
        case "bytes":
            async for data in websocket.iter_bytes():
                await websocket.send_bytes(data[::-1])
        case "json":
            async for item in websocket.iter_json():
                await websocket.send_json({"got": item}, mode="binary")
    signals.set(websocket.path_params["name"])


async def gated_denial(websocket: WebSocket) -> None:
    pieces = common.gated(websocket.path_params["name"])
    await websocket.send_denial_response(StreamingResponse(pieces, 418, {"x-denial": "streamed"}, "text/plain"))


async def session_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.session)
    await websocket.close()


class Stamp(BaseHTTPMiddleware):
    """The middleware base that wraps receive, send and the response's body: the one that strains a server most."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-stamp"] = "set"
        return response


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    yield {"visits": common.Visits(), "loop": asyncio.get_running_loop()}
    common.note_shutdown()


app = Starlette(
    routes=[
        Route("/json", json, methods=["GET", "POST"]),
        Route("/request/{name}", describe),
        Route("/form", form, methods=["POST"]),
        Route("/multipart", multipart, methods=["POST"]),
        Route("/stream/{name}", stream),
        Route("/events/{name}", events),
        Route("/events/quiet/{name}", quiet_events),
        Route("/disconnect/{name}", disconnect),
        Route("/files/{name}", file),
        Route("/background/{name}", background),
        Route("/sync", sync),
        Route("/sync/blocked/{name}", sync_blocked),
        Route("/state", state),
        Route("/lifespan", lifespan_loop),
        Route("/cookies", cookies),
        Route("/error", error),
        Route("/error/stream", error_stream),
        Route("/download/{size:int}", download),
        Route("/upload", upload, methods=["POST"]),
        Route("/upload/gated/{name}", upload_gated, methods=["POST"]),
        Route("/upload/aborted/{name}", upload_aborted, methods=["POST"]),
        Route("/together/{name}/{parties:int}", together),
        Route("/signals/{name}", signal, methods=["GET", "POST"]),
        Route("/sync/lines", sync_lines),
        Route("/file/temporary", temporary_file),
        WebSocketRoute("/counter/{name}", Counter),
        WebSocketRoute("/iterate/{kind}/{name}", iterate),
        WebSocketRoute("/denied/{name}", gated_denial),
        Mount("/static", StaticFiles(directory=common.FILES)),
        Mount(
            "/stamped",
            routes=[
                Route("/stream/{name}", stream),
                Route("/events/{name}", events),
                Route("/upload", upload, methods=["POST"]),
                Route("/background/{name}", background),
                Route("/session", counting_session),
                WebSocketRoute("/session/ws", session_socket),
            ],
            middleware=[Middleware(Stamp), Middleware(SessionMiddleware, secret_key="not a secret")],
        ),
        Mount("/mounted", name="mounted", routes=[Route("/where", where, name="where")]),
        *(
            WebSocketRoute(path, starlette_websockets.by_name(handler))
            for path, handler in starlette_websockets.HANDLERS.items()
        ),
    ],
    lifespan=lifespan,
)
