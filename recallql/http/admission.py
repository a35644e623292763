"""Admission of requests: each counts for its credential from its head until the last byte of its answer is sent."""

from recallql.http.budgets import Budget
from recallql.http.throttle import Throttle
from recallql.settings import Settings
from resolvers.viewers import Viewer

UNCOUNTED = 64 * 1024
"""Bytes of a body that came in one piece, or of an answer, up to which it is not counted: a connection has one each."""


class Admission:
    """A request that is in flight, with the bytes that it holds. `close` may be called more than once."""

    __slots__ = ("_admissions", "_receiving", "_throttle", "_unsent", "credential")

    def __init__(self, admissions: "Admissions", credential: bytes | str, throttle: Throttle | None) -> None:
        self.credential = credential
        self._admissions = admissions
        self._throttle = throttle
        self._receiving = 0
        self._unsent = 0

    def __enter__(self) -> "Admission":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receive(self, size: int) -> None:
        """Counts bytes of its body; `TooMany` or `Busy` when there is no room for them."""
        self._admissions.receiving.take(self.credential, size)
        self._receiving += size

    def answer(self, size: int) -> None:
        """Counts the bytes of its answer instead of those of its body, or of what the answer was before it was
        compressed; `TooMany` or `Busy` as above."""
        if self._receiving or self._unsent:
            self._give_back()
        if size > UNCOUNTED:
            self._admissions.unsent.take(self.credential, size)
            self._unsent = size

    def close(self) -> None:
        """Ends it: the last byte of the answer is sent, or none will be."""
        if self._throttle is not None:
            self._throttle.leave(self.credential)
            self._throttle = None
        if self._receiving or self._unsent:
            self._give_back()

    def _give_back(self) -> None:
        self._admissions.receiving.give_back(self.credential, self._receiving)
        self._admissions.unsent.give_back(self.credential, self._unsent)
        self._receiving = self._unsent = 0


class Admissions:
    """Admits the requests of one process, within what each credential may have in flight and in memory."""

    def __init__(self, settings: Settings) -> None:
        self.receiving = Budget(settings.max_receiving_bytes, "unfinished requests")
        self.unsent = Budget(settings.max_unsent_bytes, "unread answers")
        self._service = _throttle(settings.service_in_flight, settings.service_per_minute)
        self._user = _throttle(settings.user_in_flight, settings.user_per_minute)

    def admit(self, viewer: Viewer) -> Admission:
        """Admits a request of this viewer; `TooMany` when its credential has too many, or does not read its answers."""
        user = viewer.user_key
        credential = user or viewer.credential
        throttle = self._service if user is None else self._user
        if self.unsent.used:
            self.unsent.check(credential)
        if throttle is not None:
            throttle.enter(credential)
        return Admission(self, credential, throttle)


def _throttle(in_flight: int, per_minute: int) -> Throttle | None:
    """Returns what keeps these limits; None when there are none."""
    return Throttle(in_flight=in_flight, per_minute=per_minute) if in_flight or per_minute else None
