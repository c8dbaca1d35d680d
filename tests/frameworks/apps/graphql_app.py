"""GraphQL by strawberry, behind FastAPI and Starlette: subscriptions by both of its WebSocket protocols."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import strawberry
from fastapi import FastAPI
from strawberry.asgi import GraphQL
from strawberry.fastapi import GraphQLRouter
from strawberry.types import Info

from . import common
from .common import rooms, signals


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str) -> str:
        return f"hello {name}"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def tell(self, room: str, text: str) -> bool:
        rooms.tell(room, text)
        return True


@strawberry.type
class Tick:
    number: int
    text: str


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[Tick, None]:
        for number in range(to):
            yield Tick(number=number, text="ķ" * number)

    @strawberry.subscription
    async def ticks(self, name: str) -> AsyncGenerator[int, None]:
        """Without end; sets the signal when the subscription is given up."""
        async for tick in common.ticks(name):
            yield int(tick)

    @strawberry.subscription
    async def messages(self, room: str) -> AsyncGenerator[str, None]:
        with rooms.member(room) as queue:
            yield "subscribed"
            while True:
                yield await queue.get()

    @strawberry.subscription
    async def held(self, name: str) -> AsyncGenerator[str, None]:
        signals.set(f"{name}.started")
        await signals.wait(name)
        yield "released"

    @strawberry.subscription
    async def who(self, info: Info) -> AsyncGenerator[str, None]:
        """What the client said of itself when it began the connection."""
        yield str((info.context["connection_params"] or {}).get("name"))

    @strawberry.subscription
    async def failing(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError(common.DELIBERATE)


schema = strawberry.Schema(Query, Mutation, Subscription)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    common.note_shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/signals/{name}")
async def set_signal(name: str) -> None:
    signals.set(name)


@app.get("/signals/{name}")
async def wait_for_signal(name: str) -> None:
    await signals.wait(name)


app.include_router(GraphQLRouter(schema), prefix="/fastapi")
app.mount("/starlette", GraphQL(schema))
