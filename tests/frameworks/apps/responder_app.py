"""The contract as a Responder application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import responder
from responder import Request, Response
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket

from . import common, starlette_websockets
from .common import signals


@asynccontextmanager
async def lifespan(api: responder.API) -> AsyncIterator[None]:
    api.state.loop = asyncio.get_running_loop()
    yield
    common.note_shutdown()


app = responder.API(secret_key="not a secret at all", session_https_only=False, lifespan=lifespan)


@app.route("/json", methods=["GET", "POST"])
async def json(req: Request, resp: Response) -> None:
    resp.media = await req.media() if req.method == "POST" else common.GREETING


@app.route("/request/{name}")
async def describe(req: Request, resp: Response, *, name: str) -> None:
    words = req.params.get_list("word")
    resp.media = {
        "name": name,
        "words": words,
        "scheme": req.url.scheme,
        "host": req.url.netloc,
        "client": req.client.host,
    }


@app.route("/form", methods=["POST"])
async def form(req: Request, resp: Response) -> None:
    fields = await req.media("form")
    resp.media = {"name": fields["name"], "city": fields["city"]}


@app.route("/multipart", methods=["POST"])
async def multipart(req: Request, resp: Response) -> None:
    fields, file = await req.media("form"), (await req.media("files"))["file"]
    described = common.digest_of(await file.read())
    resp.media = {
        "title": fields["title"],
        "filename": file.filename,
        "content_type": file.content_type,
        **described,
    }


@app.route("/stream/{name}")
async def stream(req: Request, resp: Response, *, name: str) -> None:
    @resp.stream
    async def body() -> AsyncIterator[bytes]:
        async for piece in common.gated(name):
            yield piece


@app.route("/events/{name}")
async def events(req: Request, resp: Response, *, name: str) -> None:
    @resp.sse
    async def body() -> AsyncIterator[str]:
        async for data in common.ticks(name):
            yield data


@app.route("/files/{name}")
async def file(req: Request, resp: Response, *, name: str) -> None:
    resp.stream_file(common.FILES / name)


@app.route("/background/{name}")
async def background(req: Request, resp: Response, *, name: str) -> None:
    async def task() -> None:
        await signals.wait(f"{name}.go")
        signals.set(f"{name}.done")

    resp.background(task)
    resp.media = {"accepted": True}


@app.route("/sync")
def sync(req: Request, resp: Response) -> None:
    resp.media = {"main_thread": common.on_main_thread()}


@app.route("/sync/blocked/{name}")
def sync_blocked(req: Request, resp: Response, *, name: str) -> None:
    signals.set(f"{name}.started")
    signals.wait_blocking(f"{name}.go")
    resp.media = {"released": True}


@app.route("/lifespan")
async def lifespan_loop(req: Request, resp: Response) -> None:
    resp.media = {"started": True, "same_loop": req.api.state.loop is asyncio.get_running_loop()}


@app.route("/cookies")
async def cookies(req: Request, resp: Response) -> None:
    resp.media = req.cookies
    for name, value in common.COOKIES.items():
        resp.set_cookie(name, value)


@app.route("/error")
async def error(req: Request, resp: Response) -> None:
    raise RuntimeError(common.DELIBERATE)


@app.route("/error/stream")
async def error_stream(req: Request, resp: Response) -> None:
    @resp.stream
    async def body() -> AsyncIterator[bytes]:
        async for piece in common.failing():
            yield piece


@app.route("/download/{size:int}")
async def download(req: Request, resp: Response, *, size: int) -> None:
    @resp.stream
    async def body() -> AsyncIterator[bytes]:
        async for chunk in common.chunks(size):
            yield chunk


@app.route("/upload", methods=["POST"])
async def upload(req: Request, resp: Response) -> None:
    resp.media = await common.digest(req.stream())


@app.route("/upload/gated/{name}", methods=["POST"])
async def upload_gated(req: Request, resp: Response, *, name: str) -> None:
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    resp.media = await common.digest(req.stream())


@app.route("/upload/aborted/{name}", methods=["POST"])
async def upload_aborted(req: Request, resp: Response, *, name: str) -> None:
    try:
        async for _ in req.stream():
            signals.set(f"{name}.started")
    except ClientDisconnect:
        signals.set(name)


@app.route("/together/{name}/{parties:int}")
async def together(req: Request, resp: Response, *, name: str, parties: int) -> None:
    await signals.meet(name, parties)
    resp.media = {"parties": parties}


@app.route("/signals/{name}", methods=["GET", "POST"])
async def signal(req: Request, resp: Response, *, name: str) -> None:
    if req.method == "POST":
        signals.set(name)
    else:
        await signals.wait(name)
    resp.media = {"name": name}


for path, handler in starlette_websockets.HANDLERS.items():
    app.add_route(path, handler, websocket=True)


# What only Responder has: see test_responder.py.


@app.route("/queue/{name}")
async def queue(req: Request, resp: Response, *, name: str) -> None:
    @app.background.task
    def work() -> None:
        signals.wait_blocking(f"{name}.go")
        signals.set(f"{name}.{common.on_main_thread()}")

    work()
    resp.media = {"accepted": True}


@app.route("/session")
async def counting_session(req: Request, resp: Response) -> None:
    resp.session["count"] = req.session.get("count", 0) + 1
    resp.media = {"count": resp.session["count"]}


@app.route("/long")
async def long_text(req: Request, resp: Response) -> None:
    resp.text = "ferris " * 10_000


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']} ".encode(), body]


app.mount("/wsgi", wsgi)


@app.before_request(websocket=True)
async def look_at_ticket(ws: WebSocket) -> None:
    if ws.query_params.get("ticket") == "forged":
        await ws.close(4003)


@app.websocket_route("/typed/{number:int}")
async def typed(ws: WebSocket, *, number: int, word: str = responder.Query()) -> None:
    await ws.accept()
    await ws.send_json({"number": number, "word": word})
    await ws.close()
