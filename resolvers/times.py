"""Times: RFC 3339 in the API, sortable UTC texts without the `Z` in the store."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from models.values import Time, datetime_of, rfc3339, time_of

_form = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_epoch = datetime(1970, 1, 1)
SMALL_STEP = 5_000_000
"""Microseconds that the wall clock may step back before the server's time follows it."""
LEEWAY = 10.0
"""Seconds by which the clock of a token's issuer may be ahead of this one. It covers small steps of the clock."""


class SentTime(str):
    """The stored form of a client's time, and its offset in minutes (None for Z)."""

    __slots__ = ("offset",)
    offset: int | None


def offset_of(moment: str | None) -> int | None:
    """The offset of a client's time in minutes; None for Z, or if the server set the time."""
    return moment.offset if isinstance(moment, SentTime) else None


def with_offset(moment: Time, offset: int | None) -> str:
    """A stored time in RFC 3339 as it was sent: with its offset, or with Z."""
    if offset is None:
        return rfc3339(moment)
    local = datetime_of(moment).replace(tzinfo=None) + timedelta(minutes=offset)
    hours, minutes = divmod(abs(offset), 60)
    return f"{local.isoformat()}{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def _sent(text: str) -> SentTime:
    value = datetime.fromisoformat(text)
    sent = SentTime(time_of(value))
    # In RFC 3339 -00:00 means that the offset is unknown.
    offset = None if text.endswith(("Z", "-00:00")) else value.utcoffset()
    sent.offset = None if offset is None else round(offset.total_seconds() / 60)
    return sent


def parse_time(value: object) -> SentTime:
    """The stored form of an RFC 3339 time; raises `ValueError` for any other text."""
    if not isinstance(value, str) or _form.fullmatch(value) is None:
        if isinstance(value, str) and _form.fullmatch(value + "Z"):
            raise ValueError(
                "The time has no offset; add one, as in 2025-01-31T12:00:00Z or 2025-01-31T12:00:00+01:00."
            )
        raise ValueError("Not an RFC 3339 time; write it as 2025-01-31T12:00:00Z or 2025-01-31T12:00:00.5+01:00.")
    try:
        return _sent(value.upper().replace(" ", "T"))
    except (ValueError, OverflowError) as error:
        raise ValueError("There is no such time; check the month, day, hour, minute, second and offset.") from error


def _wall_clock() -> int:
    return time.time_ns()


class Clock:
    """The server's time in microseconds: unique per object, and ordered despite small backward steps of the wall clock.

    It follows a larger step back, which corrects a wrong clock.
    """

    def __init__(self, wall_clock: Callable[[], int] = _wall_clock) -> None:
        self.corrections = 0
        """The number of such larger steps back."""
        self._wall_clock = wall_clock
        self._last = 0
        self._second = 0
        self._second_text = ""

    def now(self) -> Time:
        wall = self._wall_clock() // 1000
        if wall > self._last:
            self._last = wall
        elif wall > self._last - SMALL_STEP:
            self._last += 1
        else:
            self._last = wall
            self.corrections += 1
        second, microseconds = divmod(self._last, 1_000_000)
        if second != self._second:
            self._second, self._second_text = second, (_epoch + timedelta(seconds=second)).isoformat()
        return Time(f"{self._second_text}.{microseconds:06d}" if microseconds else self._second_text)


def ago(span: timedelta) -> Time:
    """The stored form of the time this long before now."""
    return time_of(datetime.fromtimestamp(time.time(), UTC) - span)


def later(moment: Time, span: timedelta) -> Time:
    """The stored form of the time this long after another."""
    return time_of(datetime_of(moment) + span)


def epoch_seconds(moment: Time) -> float:
    """Converts a stored time to seconds since 1970, to the microsecond."""
    return datetime_of(moment).timestamp()
