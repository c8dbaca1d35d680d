"""The contract as a FastAPI application."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Query,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, PositiveInt
from starlette.requests import ClientDisconnect

from . import common, starlette_websockets
from .common import signals


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    yield {"visits": common.Visits(), "loop": asyncio.get_running_loop()}
    common.note_shutdown()


app = FastAPI(lifespan=lifespan)


@app.api_route("/json", methods=["GET", "HEAD"])
async def json() -> dict[str, Any]:
    return common.GREETING


@app.post("/json")
async def json_body(body: Annotated[Any, Body()]) -> Any:
    return body


@app.get("/request/{name}")
async def describe(name: str, word: Annotated[list[str], Query()], request: Request) -> dict[str, object]:
    assert request.client is not None
    url = request.url
    return {"name": name, "words": word, "scheme": url.scheme, "host": url.netloc, "client": request.client.host}


@app.post("/form")
async def form(name: Annotated[str, Form()], city: Annotated[str, Form()]) -> dict[str, str]:
    return {"name": name, "city": city}


@app.post("/multipart")
async def multipart(title: Annotated[str, Form()], file: UploadFile) -> dict[str, object]:
    described = common.digest_of(await file.read())
    return {"title": title, "filename": file.filename, "content_type": file.content_type, **described}


@app.get("/stream/{name}")
async def stream(name: str) -> Response:
    return StreamingResponse(common.gated(name), media_type="text/plain")


@app.get("/events/{name}", response_class=EventSourceResponse)
async def events(name: str) -> AsyncIterable[ServerSentEvent]:
    async for data in common.ticks(name):
        yield ServerSentEvent(raw_data=data)


@app.get("/events/quiet/{name}")
async def quiet_events(name: str, request: Request) -> Response:
    async def until_disconnected() -> AsyncIterator[bytes]:
        try:
            yield common.as_event("0")
            while not await request.is_disconnected():
                await asyncio.sleep(0.01)
        finally:
            signals.set(name)

    return StreamingResponse(until_disconnected(), media_type="text/event-stream")


@app.get("/disconnect/{name}")
async def disconnect(name: str, request: Request) -> None:
    signals.set(f"{name}.started")
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    signals.set(name)


@app.api_route("/files/{name}", methods=["GET", "HEAD"])
async def file(name: str) -> FileResponse:
    return FileResponse(common.FILES / name)


@app.get("/background/{name}")
async def background(name: str, tasks: BackgroundTasks) -> dict[str, bool]:
    async def task() -> None:
        await signals.wait(f"{name}.go")
        signals.set(f"{name}.done")

    tasks.add_task(task)
    return {"accepted": True}


@app.get("/sync")
def sync() -> dict[str, bool]:
    return {"main_thread": common.on_main_thread()}


@app.get("/sync/blocked/{name}")
def sync_blocked(name: str) -> dict[str, bool]:
    signals.set(f"{name}.started")
    signals.wait_blocking(f"{name}.go")
    return {"released": True}


@app.get("/state")
async def state(request: Request) -> dict[str, object]:
    request.state.visits.count += 1
    fresh = not hasattr(request.state, "scratch")
    request.state.scratch = True
    return {"visits": request.state.visits.count, "fresh": fresh}


@app.get("/lifespan")
async def lifespan_loop(request: Request) -> dict[str, bool]:
    return {"started": True, "same_loop": request.state.loop is asyncio.get_running_loop()}


@app.get("/cookies")
async def cookies(request: Request, response: Response) -> dict[str, str]:
    for name, value in common.COOKIES.items():
        response.set_cookie(name, value, httponly=True)
    return request.cookies


@app.get("/error")
async def error() -> None:
    raise RuntimeError(common.DELIBERATE)


@app.get("/error/stream")
async def error_stream() -> Response:
    return StreamingResponse(common.failing(), media_type="text/plain")


@app.get("/download/{size}")
async def download(size: int) -> Response:
    return StreamingResponse(common.chunks(size), media_type="application/octet-stream")


@app.post("/upload")
async def upload(request: Request) -> common.Digest:
    return await common.digest(request.stream())


@app.post("/upload/gated/{name}")
async def upload_gated(name: str, request: Request) -> common.Digest:
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    return await common.digest(request.stream())


@app.post("/upload/aborted/{name}")
async def upload_aborted(name: str, request: Request) -> None:
    try:
        async for _ in request.stream():
            signals.set(f"{name}.started")
    except ClientDisconnect:
        signals.set(name)


@app.get("/together/{name}/{parties}")
async def together(name: str, parties: int) -> dict[str, int]:
    await signals.meet(name, parties)
    return {"parties": parties}


@app.post("/signals/{name}")
async def set_signal(name: str) -> dict[str, str]:
    signals.set(name)
    return {"name": name}


@app.get("/signals/{name}")
async def wait_for_signal(name: str) -> dict[str, str]:
    await signals.wait(name)
    return {"name": name}


for path, handler in starlette_websockets.HANDLERS.items():
    app.add_api_websocket_route(path, handler)


# What only FastAPI has: see test_fastapi.py.


class Order(BaseModel):
    article: str
    amount: PositiveInt


@app.post("/orders", status_code=201)
async def order(order: Order) -> Order:
    return order


@app.post("/albums")
async def album(photos: Annotated[list[bytes], File()]) -> list[int]:
    return [len(photo) for photo in photos]


async def connection(name: str) -> AsyncIterator[str]:
    """A dependency with something to give back when its request is over, however that ends."""
    try:
        yield "connected"
    finally:
        signals.set(f"{name}.closed")


@app.get("/dependency/{name}")
async def dependency(name: str, connection: Annotated[str, Depends(connection)]) -> dict[str, str]:
    return {"connection": connection}


def thread_connection(name: str) -> Iterator[str]:
    """As `connection`, entered and left in the thread pool."""
    try:
        yield f"main thread: {common.on_main_thread()}"
    finally:
        signals.set(f"{name}.closed")


@app.get("/dependency/{name}/thread")
def thread_dependency(name: str, connection: Annotated[str, Depends(thread_connection)]) -> dict[str, str]:
    return {"connection": connection}


@app.get("/dependency/{name}/error")
async def failing_dependency(name: str, connection: Annotated[str, Depends(connection)]) -> None:
    raise RuntimeError(common.DELIBERATE)


@app.get("/lines")
def lines() -> Iterable[Order]:
    for amount in range(1, 4):
        yield Order(article="tea", amount=amount)


@app.get("/resumed", response_class=EventSourceResponse)
async def resumed_events(request: Request) -> AsyncIterable[ServerSentEvent]:
    first = int(request.headers.get("last-event-id", "0")) + 1
    for number in range(first, first + 3):
        yield ServerSentEvent(data={"number": number}, id=str(number), event="count")


async def ticket(ticket: Annotated[str | None, Cookie()] = None) -> str:
    """A dependency that denies the WebSocket, as FastAPI's documentation does it."""
    if ticket is None:
        raise WebSocketException(1008, "no ticket")
    return ticket


@app.websocket("/ticket/{number}")
async def with_ticket(
    websocket: WebSocket, number: int, ticket: Annotated[str, Depends(ticket)], words: Annotated[list[str], Query()]
) -> None:
    await websocket.accept()
    await websocket.send_json({"number": number, "ticket": ticket, "words": words})
    raise WebSocketException(4001, "over")


@app.websocket("/connection/{name}")
async def with_connection(websocket: WebSocket, connection: Annotated[str, Depends(connection)]) -> None:
    """Ends by WebSocketDisconnect; the dependency is given back then."""
    await websocket.accept()
    await websocket.send_text(connection)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        pass


@app.websocket("/orders/ws")
async def orders(websocket: WebSocket) -> None:
    await websocket.accept()
    async for item in websocket.iter_json():
        await websocket.send_text(Order.model_validate(item).model_dump_json())
