"""What search asks of a model that turns texts into vectors, whichever that is and wherever it runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    # Only where there is a model; see `resolvers.search.closeness`.
    from numpy import float32
    from numpy.typing import NDArray


WHOLE = ""
"""The word of a vector that is of a whole text."""


class QuestionVectors(NamedTuple):
    """A question as vectors of length 1, in rows: of one of its words each, or one of the `WHOLE`."""

    words: list[str]
    vectors: "NDArray[float32]"


class Encoder(Protocol):
    """A model. Texts are encoded in the background, a question while somebody waits for the answer.

    `name` is kept with the vectors; another name is another model, whose vectors are of no use to this one.
    """

    @property
    def name(self) -> str: ...

    async def encode_question(self, text: str) -> QuestionVectors | None:
        """None when there are no vectors to be had now, or nothing in the text; then search goes on by words."""
        ...

    async def encode_texts(self, texts: Sequence[str], most: int) -> list[bytes]:
        """The vectors of each text as they are kept, at most so many: one after the other, a bit for the sign of each
        number."""
        ...
