"""Times: RFC 3339 outside, sortable UTC texts without the `Z` inside."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from models.values import Time, datetime_of, rfc3339, time_of

_form = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_epoch = datetime(1970, 1, 1)
SMALL_STEP = 5_000_000
"""Microseconds that the wall clock may step back without the server's time following it."""
LEEWAY = 10.0
"""Seconds by which the clock that issued a token may be ahead of this one. A small step is well within it."""


class SentTime(str):
    """The kept form of a time that a client sent, with the offset that it was sent with: minutes, None for Z."""

    __slots__ = ("offset",)
    offset: int | None


def offset_of(moment: str | None) -> int | None:
    """The offset that a time was sent with, in minutes; None if that was Z, or if nobody sent it."""
    return moment.offset if isinstance(moment, SentTime) else None


def with_offset(moment: Time, offset: int | None) -> str:
    """A kept time in RFC 3339 as it was sent: at its offset, or with Z."""
    if offset is None:
        return rfc3339(moment)
    local = datetime_of(moment).replace(tzinfo=None) + timedelta(minutes=offset)
    hours, minutes = divmod(abs(offset), 60)
    return f"{local.isoformat()}{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def _sent(text: str) -> SentTime:
    value = datetime.fromisoformat(text)
    sent = SentTime(time_of(value))
    # RFC 3339 says that an offset of -00:00 is unknown.
    offset = None if text.endswith(("Z", "-00:00")) else value.utcoffset()
    sent.offset = None if offset is None else round(offset.total_seconds() / 60)
    return sent


def parse_time(value: object) -> SentTime:
    """The kept form of an RFC 3339 time; `ValueError` says what is wrong with another."""
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
    """The server's time in microseconds: one time an object, and a small step back of the wall clock changes no order.

    A larger step back corrects a clock that was wrong, and is followed.
    """

    def __init__(self, wall_clock: Callable[[], int] = _wall_clock) -> None:
        self.corrections = 0
        """How often the wall clock was seen to step back that far."""
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
        return Time(f"{self._second_text}.{microseconds:06d}")


def ago(span: timedelta) -> Time:
    """The kept form of the time this long before now."""
    return time_of(datetime.fromtimestamp(time.time(), UTC) - span)


def later(moment: Time, span: timedelta) -> Time:
    """The kept form of the time this long after one."""
    return time_of(datetime_of(moment) + span)


def epoch_seconds(moment: Time) -> float:
    """Seconds since 1970 of a kept time, to the microsecond."""
    return datetime_of(moment).timestamp()
