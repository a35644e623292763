"""The interface that search needs of an embedding model, local or remote."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    # numpy is only installed with a model; see `resolvers.search.closeness`.
    from numpy import float32, float64
    from numpy.typing import NDArray


WHOLE = ""
"""Stands for the word of a vector that embeds a whole text: the only one, or one beside those of the words."""


class QuestionVectors(NamedTuple):
    """A question as rows of unit vectors: one per word, or one for the `WHOLE`."""

    words: list[str]
    vectors: "NDArray[float32]"


class Near(NamedTuple):
    """For each text (row) and vector of the question (column) the nearest vector's cosine, and the binary logarithm of
    how many vectors the text has; both NaN for a text without."""

    cosines: "NDArray[float32]"
    lengths: "NDArray[float64]"


class Encoder(Protocol):
    """An embedding model. Texts are encoded in the background, a question while the client waits.

    `name` is stored with the vectors; another name means another model, whose vectors cannot be compared.
    """

    @property
    def name(self) -> str: ...

    @property
    def worth(self) -> float:
        """How much a standard deviation of closeness counts in the ranking, in parts of the best score by words."""
        ...

    async def encode_question(self, text: str) -> QuestionVectors | None:
        """None if the model is unavailable now or the text is empty; search then uses words only."""
        ...

    async def encode_texts(self, texts: Sequence[str], most: int) -> list[bytes]:
        """The vectors of each text as stored, in no more bytes than `most` of the local model take."""
        ...

    def closeness(self, question: QuestionVectors, kept: Sequence[bytes | None]) -> Near:
        """The closeness of each text's stored vectors to the question's."""
        ...
