"""Admission of requests: each counts for its credential from its head until the last byte of its answer is sent."""

from recallql.http.budgets import Budget
from recallql.http.throttle import Throttle
from recallql.settings import Settings
from resolvers.viewers import Viewer

UNCOUNTED = 64 * 1024
"""Bodies in one piece, and answers, of up to so many bytes are not counted: a connection has at most one of each."""


class Admission:
    """A request in flight, with the bytes that it holds. `close` is idempotent."""

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
        """Counts bytes of its body; raises `TooMany` or `Busy` when there is no room for them."""
        self._admissions.receiving.take(self.credential, size)
        self._receiving += size

    def answer(self, size: int) -> None:
        """Counts the bytes of its answer in place of those of its body, or of the answer before compression; raises as
        `receive` does."""
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
    """Admits the requests of one process, within each credential's limits on requests and memory."""

    def __init__(self, settings: Settings) -> None:
        self.receiving = Budget(settings.max_receiving_bytes, "unfinished requests")
        self.unsent = Budget(settings.max_unsent_bytes, "unread answers")
        self._service = _throttle(settings.service_in_flight, settings.service_per_minute)
        self._user = _throttle(settings.user_in_flight, settings.user_per_minute)

    def admit(self, viewer: Viewer) -> Admission:
        """Admits a request of this viewer; raises `TooMany` when its credential has too many, or too much memory."""
        credential = credential_of(viewer)
        throttle = self._service if viewer.is_service else self._user
        if self.unsent.used:
            self.unsent.check(credential)
        if throttle is not None:
            throttle.enter(credential)
        return Admission(self, credential, throttle)

    def count(self, viewer: Viewer) -> Admission:
        """Returns an admission that counts bytes only: those of the answer to an event, which is no request."""
        return Admission(self, credential_of(viewer), None)


def credential_of(viewer: Viewer) -> bytes | str:
    """The credential whose limits a request of this viewer counts for: all tokens of a user share them."""
    return viewer.user_key or viewer.credential


def _throttle(in_flight: int, per_minute: int) -> Throttle | None:
    """Returns the throttle for these limits; None when there are none."""
    return Throttle(in_flight=in_flight, per_minute=per_minute) if in_flight or per_minute else None
