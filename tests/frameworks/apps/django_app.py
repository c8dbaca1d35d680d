"""The contract as a Django application of one file, served by `get_asgi_application()` as it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import django
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_POST

from . import common
from .common import signals

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    INSTALLED_APPS=["channels", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)

_tasks: set["asyncio.Task[None]"] = set()


async def json_view(request: HttpRequest) -> HttpResponse:
    return JsonResponse(json.loads(request.body) if request.method == "POST" else common.GREETING)


async def describe(request: HttpRequest, name: str) -> HttpResponse:
    return JsonResponse(
        {
            "name": name,
            "words": request.GET.getlist("word"),
            "scheme": request.scheme,
            "host": request.get_host(),
            "client": request.META["REMOTE_ADDR"],
        }
    )


@require_POST
async def form(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"name": request.POST["name"], "city": request.POST["city"]})


@require_POST
async def multipart(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    described = common.digest_of(file.read())
    return JsonResponse(
        {
            "title": request.POST["title"],
            "filename": file.name,
            "content_type": file.content_type,
            **described,
        }
    )


def stream_of(pieces: AsyncIterator[Any], content_type: str) -> HttpResponse:
    return StreamingHttpResponse(pieces, content_type=content_type)


async def stream(request: HttpRequest, name: str) -> HttpResponse:
    return stream_of(common.gated(name), "text/plain")


async def events(request: HttpRequest, name: str) -> HttpResponse:
    return stream_of(common.as_events(common.ticks(name)), "text/event-stream")


async def quiet_events(request: HttpRequest, name: str) -> HttpResponse:
    return stream_of(common.as_events(common.one_tick(name)), "text/event-stream")


async def disconnect(request: HttpRequest, name: str) -> HttpResponse:
    signals.set(f"{name}.started")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        signals.set(name)
        raise
    return HttpResponse()


async def file(request: HttpRequest, name: str) -> HttpResponse:
    return FileResponse((common.FILES / name).open("rb"))


async def background(request: HttpRequest, name: str) -> HttpResponse:
    """Django has no background tasks of its own: its users start an asyncio task."""

    async def work() -> None:
        await signals.wait(f"{name}.go")
        signals.set(f"{name}.done")

    task = asyncio.create_task(work())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return JsonResponse({"accepted": True})


def sync(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"main_thread": common.on_main_thread()})


def sync_blocked(request: HttpRequest, name: str) -> HttpResponse:
    signals.set(f"{name}.started")
    signals.wait_blocking(f"{name}.go")
    return JsonResponse({"released": True})


async def cookies(request: HttpRequest) -> HttpResponse:
    response = JsonResponse(request.COOKIES)
    for name, value in common.COOKIES.items():
        response.set_cookie(name, value, httponly=True)
    return response


async def error(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(common.DELIBERATE)


async def error_stream(request: HttpRequest) -> HttpResponse:
    return stream_of(common.failing(), "text/plain")


async def download(request: HttpRequest, size: int) -> HttpResponse:
    return stream_of(common.chunks(size), "application/octet-stream")


@require_POST
async def upload(request: HttpRequest) -> HttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        while piece := request.read(len(common.CHUNK)):
            yield piece

    return JsonResponse(await common.digest(pieces()))


async def together(request: HttpRequest, name: str, parties: int) -> HttpResponse:
    await signals.meet(name, parties)
    return JsonResponse({"parties": parties})


async def signal(request: HttpRequest, name: str) -> HttpResponse:
    if request.method == "POST":
        signals.set(name)
    else:
        await signals.wait(name)
    return JsonResponse({"name": name})


# What only Django has: see test_django.py.


@require_GET
def counting_session(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"count": request.session["count"]})


async def query(request: HttpRequest) -> HttpResponse:
    """A database query from an asynchronous view: Django takes it to its thread."""

    def select() -> int:
        with django.db.connection.cursor() as cursor:
            cursor.execute("SELECT 6 * 7")
            (answer,) = cursor.fetchone()
        return int(answer)

    return JsonResponse({"answer": await sync_to_async(select)()})


def back_in_the_loop(request: HttpRequest, name: str) -> HttpResponse:
    """A synchronous view that calls asynchronous code: it runs in the server's loop, while the view's thread waits."""

    async def work() -> bool:
        signals.set(f"{name}.started")
        await signals.wait(f"{name}.go")
        return common.on_main_thread()

    return JsonResponse({"main_thread": async_to_sync(work)()})


def sync_lines(request: HttpRequest) -> HttpResponse:
    def lines() -> Iterator[str]:
        for number in range(100):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def links(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"path": request.path, "url": request.build_absolute_uri(), "link": reverse("json")})


urlpatterns = [
    path("json", json_view, name="json"),
    path("request/<name>", describe),
    path("form", form),
    path("multipart", multipart),
    path("stream/<name>", stream),
    path("events/<name>", events),
    path("events/quiet/<name>", quiet_events),
    path("disconnect/<name>", disconnect),
    path("files/<name>", file),
    path("background/<name>", background),
    path("sync", sync),
    path("sync/blocked/<name>", sync_blocked),
    path("cookies", cookies),
    path("error", error),
    path("error/stream", error_stream),
    path("download/<int:size>", download),
    path("upload", upload),
    path("together/<name>/<int:parties>", together),
    path("signals/<name>", signal),
    path("session", counting_session),
    path("query", query),
    path("sync/lines", sync_lines),
    path("sync/back/<name>", back_in_the_loop),
    path("reverse", links),
]

app = get_asgi_application()
