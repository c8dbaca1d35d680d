"""The contract as a Quart application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, Response, abort, jsonify, request, send_file, session, stream_with_context, websocket

from . import common, quart_websockets
from .common import signals

app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = None
app.config["MAX_FORM_MEMORY_SIZE"] = None
app.config["RESPONSE_TIMEOUT"] = None
app.secret_key = "not a secret"
app.register_blueprint(quart_websockets.blueprint)


@app.before_serving
async def startup() -> None:
    app.config["LOOP"] = asyncio.get_running_loop()


@app.after_serving
async def shutdown() -> None:
    common.note_shutdown()


@app.get("/json")
async def json() -> dict[str, Any]:
    return common.GREETING


@app.post("/json")
async def json_body() -> Response:
    return jsonify(await request.get_json())


@app.get("/request/<name>")
async def describe(name: str) -> dict[str, object]:
    words = request.args.getlist("word")
    return {
        "name": name,
        "words": words,
        "scheme": request.scheme,
        "host": request.host,
        "client": request.remote_addr,
    }


@app.post("/form")
async def form() -> dict[str, str]:
    fields = await request.form
    return {"name": fields["name"], "city": fields["city"]}


@app.post("/multipart")
async def multipart() -> dict[str, object]:
    title, file = (await request.form)["title"], (await request.files)["file"]
    return {
        "title": title,
        "filename": file.filename,
        "content_type": file.content_type,
        **common.digest_of(file.read()),
    }


def stream_of(pieces: AsyncIterator[bytes], content_type: str) -> Response:
    return Response(pieces, content_type=content_type)


@app.get("/stream/<name>")
async def stream(name: str) -> Response:
    return stream_of(common.gated(name), "text/plain")


@app.get("/events/<name>")
async def events(name: str) -> Response:
    return stream_of(common.as_events(common.ticks(name)), "text/event-stream")


@app.get("/events/quiet/<name>")
async def quiet_events(name: str) -> Response:
    return stream_of(common.as_events(common.one_tick(name)), "text/event-stream")


@app.get("/disconnect/<name>")
async def disconnect(name: str) -> str:
    signals.set(f"{name}.started")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        signals.set(name)
        raise
    return "never"


@app.get("/files/<name>")
async def file(name: str) -> Response:
    return await send_file(common.FILES / name)


@app.get("/background/<name>")
async def background(name: str) -> dict[str, bool]:
    async def task() -> None:
        await signals.wait(f"{name}.go")
        signals.set(f"{name}.done")

    app.add_background_task(task)
    return {"accepted": True}


@app.get("/sync")
def sync() -> dict[str, bool]:
    return {"main_thread": common.on_main_thread()}


@app.get("/sync/blocked/<name>")
def sync_blocked(name: str) -> dict[str, bool]:
    signals.set(f"{name}.started")
    signals.wait_blocking(f"{name}.go")
    return {"released": True}


@app.get("/lifespan")
async def lifespan_loop() -> dict[str, bool]:
    return {"started": True, "same_loop": app.config["LOOP"] is asyncio.get_running_loop()}


@app.get("/cookies")
async def cookies() -> Response:
    response = jsonify(request.cookies)
    for name, value in common.COOKIES.items():
        response.set_cookie(name, value, httponly=True)
    return response


@app.get("/error")
async def error() -> str:
    raise RuntimeError(common.DELIBERATE)


@app.get("/error/stream")
async def error_stream() -> Response:
    return stream_of(common.failing(), "text/plain")


@app.get("/download/<int:size>")
async def download(size: int) -> Response:
    return stream_of(common.chunks(size), "application/octet-stream")


@app.post("/upload")
async def upload() -> common.Digest:
    return await common.digest(request.body)


@app.post("/upload/aborted/<name>")
async def upload_aborted(name: str) -> str:
    try:
        async for _ in request.body:
            signals.set(f"{name}.started")
    except BaseException:  # Quart cancels the handler; from 0.23 on the body may raise first.
        signals.set(name)
        raise
    return "never"


@app.get("/together/<name>/<int:parties>")
async def together(name: str, parties: int) -> dict[str, int]:
    await signals.meet(name, parties)
    return {"parties": parties}


@app.route("/signals/<name>", methods=["GET", "POST"])
async def signal(name: str) -> dict[str, str]:
    if request.method == "POST":
        signals.set(name)
    else:
        await signals.wait(name)
    return {"name": name}


# What only Quart has: see test_quart.py.


@app.get("/ranges/<name>")
async def ranges(name: str) -> Response:
    return await send_file(common.FILES / name, conditional=True)


@app.get("/context/<name>")
async def context(name: str) -> Response:
    """A stream that still has its request: what it says comes from the context variables of its own task."""

    @stream_with_context
    async def body() -> AsyncIterator[bytes]:
        async for piece in common.gated(name):
            yield request.path.encode() + b" " + piece

    return stream_of(body(), "text/plain")


@app.websocket("/aborted/<int:status>")
async def aborted(status: int) -> None:
    abort(status)


@app.websocket("/json/ws")
async def json_socket() -> None:
    while True:
        item = await websocket.receive_json()
        await websocket.send_json({"path": websocket.path, "got": item})


@app.route("/session")
async def sign_in() -> str:
    session["user"] = "Zoë"
    return ""


@app.websocket("/session/ws")
async def session_socket() -> None:
    await websocket.send(session["user"])
