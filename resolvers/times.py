"""Times: RFC 3339 outside, sortable UTC texts without the `Z` inside."""

import re
import time
from datetime import UTC, datetime, timedelta

_form = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_epoch = datetime(1970, 1, 1)


def time_text(value: datetime) -> str:
    """A time with offset as it is kept: UTC, microseconds where there are any, no `Z`."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat()


def parse_time(value: object) -> str:
    """The kept form of an RFC 3339 time; `ValueError` says what is wrong with another."""
    if not isinstance(value, str) or _form.fullmatch(value) is None:
        if isinstance(value, str) and _form.fullmatch(value + "Z"):
            raise ValueError(
                "The time has no offset; add one, as in 2025-01-31T12:00:00Z or 2025-01-31T12:00:00+01:00."
            )
        raise ValueError("Not an RFC 3339 time; write it as 2025-01-31T12:00:00Z or 2025-01-31T12:00:00.5+01:00.")
    try:
        return time_text(datetime.fromisoformat(value.upper().replace(" ", "T")))
    except (ValueError, OverflowError) as error:
        raise ValueError("There is no such time; check the month, day, hour, minute, second and offset.") from error


class Clock:
    """The server's time in microseconds, never the same twice: one time an object."""

    def __init__(self) -> None:
        self._last = 0
        self._second = 0
        self._second_text = ""

    def now(self) -> str:
        self._last = max(time.time_ns() // 1000, self._last + 1)
        second, microseconds = divmod(self._last, 1_000_000)
        if second != self._second:
            self._second, self._second_text = second, (_epoch + timedelta(seconds=second)).isoformat()
        return f"{self._second_text}.{microseconds:06d}"


def ago(span: timedelta) -> str:
    """The kept form of the time this long before now."""
    return time_text(datetime.now(UTC) - span)


def later(moment: str, span: timedelta) -> str:
    """The kept form of the time this long after one."""
    return (datetime.fromisoformat(moment) + span).isoformat()


def epoch_seconds(moment: str) -> float:
    """Seconds since 1970 of a kept time, to the microsecond."""
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
