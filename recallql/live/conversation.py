"""The rules of graphql-transport-ws: what a client may send when. It reads and writes nothing."""

from typing import Generic, TypeVar

from recallql.live.messages import ClientMessage, Close, Init, Subscribe, Violation

T = TypeVar("T")


class Conversation(Generic[T]):
    """The state of one connection, with its open operations by id."""

    def __init__(self) -> None:
        self.has_begun = False
        """True once the client has sent `connection_init`."""
        self.is_acknowledged = False
        self.open: dict[str, T] = {}

    def check(self, message: ClientMessage) -> None:
        """Raises `Violation` if this message may not come now."""
        match message:
            case Init():
                if self.has_begun:
                    raise Violation(Close.TOO_MANY, "Too many initialisation requests")
                self.has_begun = True
            case Subscribe():
                if not self.is_acknowledged:
                    raise Violation(Close.UNAUTHORIZED, "Unauthorized: send `connection_init` and await its answer.")
                if message.id in self.open:
                    raise Violation(Close.DUPLICATE, f"Subscriber for {message.id} already exists")
            case _:
                pass
