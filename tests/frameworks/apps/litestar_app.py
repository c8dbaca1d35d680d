"""The contract as a Litestar application."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from litestar import (
    Litestar,
    Request,
    Response,
    WebSocket,
    get,
    head,
    post,
    route,
    websocket,
    websocket_listener,
    websocket_stream,
)
from litestar.background_tasks import BackgroundTask
from litestar.connection import ASGIConnection
from litestar.datastructures import UploadFile
from litestar.dto import DataclassDTO
from litestar.enums import HttpMethod, MediaType, RequestEncodingType
from litestar.exceptions import InternalServerException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler, WebsocketListener
from litestar.params import Body
from litestar.response import File, ServerSentEvent, ServerSentEventMessage, Stream
from litestar.static_files import create_static_files_router

from . import common, litestar_websockets
from .common import signals


@route("/json", http_method=[HttpMethod.GET, HttpMethod.HEAD], status_code=200)
async def json() -> dict[str, Any]:
    return common.GREETING


@post("/json", status_code=200)
async def json_body(data: Any) -> Any:
    return data


@get("/request/{name:str}")
async def describe(name: str, request: Request[Any, Any, Any]) -> dict[str, object]:
    assert request.client is not None
    return {
        "name": name,
        "words": request.query_params.getall("word"),
        "scheme": request.url.scheme,
        "host": request.url.netloc,
        "client": request.client.host,
    }


@dataclass
class Person:
    name: str
    city: str


@post("/form", status_code=200)
async def form(data: Annotated[Person, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> Person:
    return data


@dataclass
class Photo:
    title: str
    file: UploadFile


@post("/multipart", status_code=200)
async def multipart(data: Annotated[Photo, Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict[str, object]:
    file = data.file
    described = common.digest_of(await file.read())
    return {"title": data.title, "filename": file.filename, "content_type": file.content_type, **described}


@get("/stream/{name:str}")
async def stream(name: str) -> Stream:
    return Stream(common.gated(name), media_type="text/plain")


@get("/events/{name:str}")
async def events(name: str) -> ServerSentEvent:
    return ServerSentEvent(common.ticks(name))


@get("/events/quiet/{name:str}")
async def quiet_events(name: str) -> ServerSentEvent:
    return ServerSentEvent(common.one_tick(name))


@get("/disconnect/{name:str}")
async def disconnect(name: str, request: Request[Any, Any, Any]) -> None:
    signals.set(f"{name}.started")
    while (await request.receive())["type"] != "http.disconnect":
        pass
    signals.set(name)


@get("/files/{name:str}")
async def file(name: str) -> File:
    return File(common.FILES / name, filename=name)


@head("/files/{name:str}")
async def file_head(name: str) -> File:
    return File(common.FILES / name, filename=name)


@get("/background/{name:str}")
async def background(name: str) -> Response[dict[str, bool]]:
    async def task() -> None:
        await signals.wait(f"{name}.go")
        signals.set(f"{name}.done")

    return Response({"accepted": True}, background=BackgroundTask(task))


@get("/sync", sync_to_thread=True)
def sync() -> dict[str, bool]:
    return {"main_thread": common.on_main_thread()}


@get("/sync/blocked/{name:str}", sync_to_thread=True)
def sync_blocked(name: str) -> dict[str, bool]:
    signals.set(f"{name}.started")
    signals.wait_blocking(f"{name}.go")
    return {"released": True}


@get("/lifespan")
async def lifespan_loop(request: Request[Any, Any, Any]) -> dict[str, bool]:
    return {"started": True, "same_loop": request.app.state.loop is asyncio.get_running_loop()}


@get("/cookies")
async def cookies(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    response = Response(request.cookies)
    for name, value in common.COOKIES.items():
        response.set_cookie(name, value, httponly=True)
    return response


@get("/error")
async def error() -> None:
    raise RuntimeError(common.DELIBERATE)


@get("/error/stream")
async def error_stream() -> Stream:
    return Stream(common.failing(), media_type="text/plain")


@get("/download/{size:int}")
async def download(size: int) -> Stream:
    return Stream(common.chunks(size), media_type="application/octet-stream")


@post("/upload", status_code=200, request_max_body_size=None)
async def upload(request: Request[Any, Any, Any]) -> common.Digest:
    return await common.digest(request.stream())


@post("/upload/gated/{name:str}", status_code=200, request_max_body_size=None)
async def upload_gated(name: str, request: Request[Any, Any, Any]) -> common.Digest:
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    return await common.digest(request.stream())


@post("/upload/aborted/{name:str}")
async def upload_aborted(name: str, request: Request[Any, Any, Any]) -> None:
    try:
        async for _ in request.stream():
            signals.set(f"{name}.started")
    except InternalServerException:
        signals.set(name)


@get("/together/{name:str}/{parties:int}")
async def together(name: str, parties: int) -> dict[str, int]:
    await signals.meet(name, parties)
    return {"parties": parties}


@route("/signals/{name:str}", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
async def signal(name: str, request: Request[Any, Any, Any]) -> dict[str, str]:
    if request.method == "POST":
        signals.set(name)
    else:
        await signals.wait(name)
    return {"name": name}


# What only Litestar has: see test_litestar.py.


@get("/sync/lines")
async def sync_lines() -> Stream:
    return Stream((f"line {number}\n" for number in range(100)), media_type="text/plain")


@get("/events/named")
async def named_events() -> ServerSentEvent:
    async def messages() -> AsyncIterator[ServerSentEventMessage]:
        for number in range(3):
            yield ServerSentEventMessage(data=number, event="count", id=number)

    return ServerSentEvent(messages())


async def note_response(request: Request[Any, Any, Any]) -> None:
    signals.set(request.path_params["name"])


@get("/noted/{name:str}", after_response=note_response)
async def noted(name: str) -> dict[str, str]:
    return {"name": name}


@post("/packed", status_code=200, media_type=MediaType.MESSAGEPACK)
async def packed(data: Annotated[Person, Body(media_type=RequestEncodingType.MESSAGEPACK)]) -> Person:
    return data


Socket = WebSocket[Any, Any, Any]


@websocket_listener("/listener/person", dto=DataclassDTO[Person])
async def person_listener(data: Person) -> Person:
    """Litestar receives, validates, sends: what a listener returns goes back."""
    return Person(data.name.upper(), data.city)


@websocket_listener("/listener/sync", receive_mode="binary", send_mode="binary", sync_to_thread=True)
def sync_listener(data: bytes) -> bytes:
    return data + (b"" if common.on_main_thread() else b" in a thread")


class Visitor(WebsocketListener):
    """A listener as a class: what it does at the handshake and at the end."""

    path = "/listener/{name:str}/visitor"

    async def on_accept(self, socket: Socket) -> None:
        common.note(f"{socket.path_params['name']}: came")

    async def on_disconnect(self, socket: Socket) -> None:
        common.note(f"{socket.path_params['name']}: went")

    async def on_receive(self, data: str, socket: Socket) -> str:
        return f"{socket.path_params['name']} {data}"


@websocket_stream("/streamed/{name:str}")
async def streamed(name: str) -> AsyncGenerator[dict[str, str], None]:
    """Litestar iterates, and gives the iterator up when the client is gone."""
    async for tick in common.ticks(name):
        yield {"tick": tick}


@websocket("/packed/ws")
async def packed_socket(socket: Socket) -> None:
    await socket.accept()
    async for item in socket.iter_msgpack():
        await socket.send_msgpack(item)


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if "ticket" not in connection.cookies:
        raise NotAuthorizedException("no ticket")


@websocket("/guarded/ws", guards=[guard])
async def guarded(socket: Socket) -> None:
    await socket.accept()
    await socket.close(4001, "over")


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.loop = asyncio.get_running_loop()
    yield
    common.note_shutdown()


app = Litestar(
    [
        json,
        json_body,
        describe,
        form,
        multipart,
        stream,
        events,
        quiet_events,
        disconnect,
        file,
        file_head,
        background,
        sync,
        sync_blocked,
        lifespan_loop,
        cookies,
        error,
        error_stream,
        download,
        upload,
        upload_gated,
        upload_aborted,
        together,
        signal,
        sync_lines,
        named_events,
        noted,
        packed,
        *litestar_websockets.handlers,
        person_listener,
        sync_listener,
        Visitor,
        streamed,
        packed_socket,
        guarded,
        create_static_files_router("/static", directories=[common.FILES]),
    ],
    lifespan=[lifespan],
)
