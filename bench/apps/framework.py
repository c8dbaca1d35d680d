"""A FastAPI application as its users write them."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Item(BaseModel):
    """What the endpoint answers, validated and serialised by the framework."""

    id: int
    name: str
    price: float
    tags: list[str]


@app.get("/items/{item_id}")
async def read_item(item_id: int) -> Item:
    return Item(id=item_id, name="falcon", price=12.5, tags=["fast", "small"])
