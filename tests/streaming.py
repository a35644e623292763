"""A small schema with subscriptions whose events a test sends itself, to be served in place of the real one."""

import asyncio
from collections.abc import Sequence
from operator import getitem
from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig

from breadth import Events, batch_field, stream_field
from models.errors import Unavailable
from resolvers.errors import BadInput
from resolvers.operation_context import OperationContext
from schema.connections import parameter
from tests.servers import Server, wait_until

TEXT = "A field."


class Ticker:
    """Sends the same event to all who are subscribed, and notes what is done for them."""

    def __init__(self) -> None:
        self.queues: list[asyncio.Queue[dict[str, Any]]] = []
        self.answers = 0
        """The number of events that were answered."""
        self.resumed: list[str | None] = []
        """What subscriptions were told to resume after."""
        self.changed: list[str] = []

    def tick(self, server: Server, **event: Any) -> None:
        """Sends an event: its `number`, its `size`, its `fault`."""
        told = {"number": 0, "size": 0, "fault": ""} | event

        async def send() -> None:
            for queue in self.queues:
                queue.put_nowait(told)

        server.host.wait_for(send())

    def wait_for(self, subscribers: int) -> None:
        wait_until(lambda: len(self.queues) == subscribers, f"there are {len(self.queues)} subscribers")

    async def ticks(self, context: OperationContext, fault: str = "") -> Events:
        if fault:
            raise BadInput(fault)
        self.resumed.append(context.resume_after)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def events() -> Events:
            self.queues.append(queue)
            try:
                while (event := await queue.get())["fault"] != "END":
                    if event["fault"] == "BREAK":
                        raise Unavailable("The database is gone.")
                    yield event
            finally:
                self.queues.remove(queue)

        return events()

    async def text(self, _: OperationContext, parents: Sequence[dict[str, Any]]) -> list[Any]:
        self.answers += 1
        faults = {"BAD": BadInput("This is no number."), "UNAVAILABLE": Unavailable("The database is gone.")}
        return [faults.get(parent["fault"]) or "x" * parent["size"] for parent in parents]

    async def change(self, _: OperationContext, parents: Sequence[Any], name: str, seconds: float) -> list[str]:
        await asyncio.sleep(seconds)
        self.changed.append(name)
        return [name] * len(parents)

    def schema(self) -> strawberry.Schema:
        @strawberry.type(description=TEXT)
        class Tick:
            number: int = strawberry.field(description=TEXT)
            text: str = batch_field(self.text, description=TEXT)

        @strawberry.type(description=TEXT)
        class Query:
            hello: str = batch_field(self.hello, description=TEXT, parameters=[parameter("size", int, 5)])

        given = [parameter("name", str, ""), parameter("seconds", float, 0.0)]

        @strawberry.type(description=TEXT)
        class Mutation:
            change: str = batch_field(self.change, description=TEXT, parameters=given)

        @strawberry.type(description=TEXT)
        class Subscription:
            ticks: Tick = stream_field(self.ticks, description=TEXT, parameters=[parameter("fault", str, "")])

        return strawberry.Schema(
            query=Query,
            mutation=Mutation,
            subscription=Subscription,
            config=StrawberryConfig(default_resolver=getitem),
        )

    async def hello(self, _: OperationContext, parents: Sequence[Any], size: int) -> list[str]:
        return ["x" * size] * len(parents)


TICKS = "subscription { ticks { number text } }"


def tick_of(number: int, text: str = "") -> dict[str, Any]:
    """The answer to an event."""
    return {"data": {"ticks": {"number": number, "text": text}}}
