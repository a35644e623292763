"""Dates: the days that words such as "yesterday" and "last week" stand for, by when they were said."""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import islice

from models.words import words
from resolvers.search.english import TIME_WORDS as ENGLISH_TIME_WORDS

LOOKED_THROUGH, MOST = 4000, 3
"""Characters of a text, at its beginning, in which such words are looked for, and how many are dated, at most."""

# Words for a day, a week, a month or a year, by how many it is from the one in which they are said.
_WORDS = """
day -2: the day before yesterday, vorgestern, avant-hier, anteayer, l'altro ieri, anteontem
day -2: eergisteren, позавчера, 前天, 一昨日
day -1: yesterday, last night, gestern, hier, ayer, ieri, ontem, gisteren, wczoraj, вчера, dün, أمس, 昨天, 昨日, 어제
day 1: tomorrow, demain, domani, amanhã, jutro, завтра, yarın, غدا, 明天, 明日, 내일
day 2: the day after tomorrow, übermorgen, après-demain, pasado mañana, dopodomani
day 2: overmorgen, послезавтра, 后天, 明後日
week -1: last week, letzte Woche, vorige Woche
week -1: la semaine dernière, la semana pasada, la settimana scorsa, semana passada
week -1: vorige week, на прошлой неделе, 上周, 上週, 先週, 지난주
week 1: next week, nächste Woche, la semaine prochaine, la próxima semana, la settimana prossima, próxima semana
week 1: volgende week, на следующей неделе, 下周, 下週, 来週, 다음 주
weekend -1: last weekend, letztes Wochenende, le week-end dernier, el fin de semana pasado, lo scorso fine settimana
weekend 0: this weekend, dieses Wochenende, ce week-end, este fin de semana, questo fine settimana
weekend 1: next weekend, nächstes Wochenende, le week-end prochain, el próximo fin de semana
month -1: last month, letzten Monat, vorigen Monat, le mois dernier, el mes pasado, il mese scorso, mês passado
month -1: vorige maand, в прошлом месяце, 上个月, 先月, 지난달
month 1: next month, nächsten Monat, le mois prochain, el próximo mes, il mese prossimo, próximo mês, volgende maand
month 1: в следующем месяце, 下个月, 来月, 다음 달
year -1: last year, letztes Jahr, voriges Jahr, l'année dernière
year -1: l'an dernier, el año pasado, l'anno scorso, ano passado
year -1: vorig jaar, в прошлом году, 去年, 작년
year 1: next year, nächstes Jahr, l'année prochaine, el próximo año, l'anno prossimo, próximo ano, volgend jaar
year 1: в следующем году, 明年, 来年, 내년
"""
_NUMERALS = """
1 a an one ein einem einer eine un une uno una um uma een один
2 two zwei deux dos due dois twee два две
3 three drei trois tres tre três drie три
4 four vier quatre cuatro quattro quatro четыре
5 five fünf cinq cinco cinque vijf пять
6 six sechs seis sei zes шесть
7 seven sieben sept siete sette sete zeven
8 eight acht huit ocho otto oito
9 nine neun neuf nueve nove negen
10 ten zehn dix diez dieci dez tien
11 eleven elf onze
12 twelve zwölf douze doce
"""
_UNITS = {
    "day": "days? tage?n? jours? d[ií]as? giorni? dias? dagen день дня дней",
    "week": "weeks? wochen? semaines? semanas? settiman[ae] weken недел[юиь] неделю",
    "month": "months? monate?n? mois mes(?:es)? mes[ei] mês maanden месяц(?:а|ев)?",
    "year": "years? jahre?n? ans? años? ann[oi] anos? jaar год года лет",
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNSPACED = "\u3000"
"""From here on words have no spaces between them."""

_numbers = {name: int(line.split()[0]) for line in _NUMERALS.split("\n") if line for name in line.split()[1:]}
_shifts: dict[str, tuple[str, int]] = {
    word.casefold(): (line.split()[0], int(line.partition(":")[0].split()[1]))
    for line in _WORDS.split("\n")
    if line
    for word in line.partition(": ")[2].split(", ")
}


_number = rf"(\d{{1,3}}|{'|'.join(sorted(_numbers, key=len, reverse=True))})"
_unit = "|".join(f"(?P<{name}>{'|'.join(forms.split())})" for name, forms in _UNITS.items())
_ago = re.compile(
    rf"\b{_number}\s+(?:{_unit})\s+(?:ago|fa|atrás|geleden|назад)\b"
    rf"|\b(?:vor|il y a|hace|há)\s+{_number}\s+(?:{_unit.replace('?P<', '?P<after_')})\b",
    re.IGNORECASE,
)
_may_be_ago = re.compile(r"\b(?:ago|fa|atrás|geleden|назад|vor|il y a|hace|há)\b", re.IGNORECASE)
_weekday = re.compile(rf"\b(last|next)\s+({'|'.join(_WEEKDAYS)})\b", re.IGNORECASE)
_words = re.compile(
    "|".join(
        re.escape(word) if word[-1] > _UNSPACED else rf"\b{re.escape(word)}\b"
        for word in sorted(_shifts, key=len, reverse=True)
    ),
    re.IGNORECASE,
)
_word = re.compile(r"\w+")
_last_words = frozenset(_word.findall(phrase)[-1] for phrase in _shifts if phrase[-1] < _UNSPACED)


TIME_WORDS = ENGLISH_TIME_WORDS.union(
    *(words(word) for word in _last_words), *(words(phrase) for phrase in _shifts if phrase[-1] >= _UNSPACED)
)
"""Words of what happened at some time."""


def _may_be_dated(text: str) -> bool:
    """A fast check for words for times; searching for them is slower."""
    return not (text.isascii() and _last_words.isdisjoint(_word.findall(text.lower())))


def local_day(said_at: str, utc_offset: int | None) -> date:
    """The day of a time of the kept form where it was said, by the offset in minutes that it was sent with."""
    return (datetime.fromisoformat(said_at[:19]) + timedelta(minutes=utc_offset or 0)).date()


def dated(text: str, day: date) -> list[str]:
    """The dates of the words for times in a text of a given day, as in "yesterday: 2023-05-07"."""
    found: dict[str, str] = {}
    try:
        for word, when in islice(_dates(text[:LOOKED_THROUGH], day), MOST):
            found.setdefault(word.casefold(), f"{word}: {when}")
    except OverflowError:
        # Before the year 1, or after 9999.
        return []
    return list(found.values())


def _dates(text: str, day: date) -> Iterator[tuple[str, str]]:
    for match in _words.finditer(text) if _may_be_dated(text) else ():
        unit, shift = _shifts[match[0].casefold()]
        yield match[0], _SPELLED[unit](day, shift)
    for match in _weekday.finditer(text):
        yield match[0], _weekday_from(day, _WEEKDAYS.index(match[2].lower()), 1 if match[1].lower() == "next" else -1)
    for match in _ago.finditer(text) if _may_be_ago.search(text) else ():
        said = (match[1] or match[6]).lower()
        unit = next(name for name in _UNITS if match[name] or match[f"after_{name}"])
        yield match[0], _before(day, unit, int(said) if said.isdecimal() else _numbers[said])


def _day(day: date, shift: int) -> str:
    return (day + timedelta(shift)).isoformat()


def _week(day: date, shift: int) -> str:
    monday = day + timedelta(7 * shift - day.weekday())
    return f"{monday} to {monday + timedelta(6)}"


def _weekend(day: date, shift: int) -> str:
    saturday = day + timedelta(7 * shift - day.weekday() + 5)
    return f"{saturday} to {saturday + timedelta(1)}"


def _month(day: date, shift: int) -> str:
    months = day.year * 12 + day.month - 1 + shift
    return date(months // 12, months % 12 + 1, 1).isoformat()[:7]


def _year(day: date, shift: int) -> str:
    return f"{day.year + shift:04}"


_SPELLED: dict[str, Callable[[date, int], str]] = {
    "day": _day,
    "week": _week,
    "weekend": _weekend,
    "month": _month,
    "year": _year,
}


def _weekday_from(day: date, weekday: int, direction: int) -> str:
    days = (weekday - day.weekday()) * direction % 7 or 7
    return _day(day, days * direction)


def _before(day: date, unit: str, number: int) -> str:
    return _day(day, -7 * number) if unit == "week" else _SPELLED[unit](day, -number)
