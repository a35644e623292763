"""The documentation is executed: every block of README.md, playground.md and docs/."""

import json
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documentation import CONTRIBUTING, PAGES, PLAYGROUND, README, SECURITY, Block, Shown, blocks_of, names_in
from tests.places import Place, SqlitePlace
from tests.postgres_reader import PostgresReader
from tests.reader import Reader
from tests.servers import REPOSITORY, Server
from tests.streams import Stream

README_BYTES = 8_000


def test_every_block_of_the_playground_tour_answers_as_shown(server: Server) -> None:
    """The answer of a subscription is its first event; it comes after its block, or after those that cause it."""
    shown = Shown()
    # PostgreSQL clears its files at a time of its own.
    shown.clears_files = isinstance(server.place, SqlitePlace)
    blocks = blocks_of(PLAYGROUND)
    waiting: Block | None = None
    variables: dict[str, Any] = {}
    streams: deque[Stream] = deque()
    for block in blocks:
        match block.info:
            case "graphql" if block.text.startswith("subscription {"):
                streams.append(Stream(server.port, shown.replaced(block.text)))
            case "graphql":
                assert waiting is None, f"{block.place}: the query before has no answer"
                waiting, variables = block, {}
            case "json variables":
                assert waiting is not None, f"{block.place}: variables without a query"
                variables = json.loads(shown.replaced(block.text))
            case "json":
                assert waiting is not None or streams, f"{block.place}: an answer without a query"
                if waiting is not None:
                    answer = server.execute(shown.replaced(waiting.text), **variables)
                else:
                    with streams.popleft() as stream:
                        _, _, answer = stream.event()
                shown.compare(json.loads(block.text), answer, block.place)
                waiting = None
            case language:
                pytest.fail(f"{block.place}: no test knows blocks of {language!r}")
    assert waiting is None, f"{waiting and waiting.place}: a query without an answer"
    assert not streams, "a subscription without an event"
    assert len(blocks) > 100


@pytest.fixture
def reader(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    following = Reader(tmp_path, place, monkeypatch)
    yield following
    following.close()


def test_every_block_of_the_readme_runs_and_prints_what_is_shown(reader: Reader) -> None:
    blocks = blocks_of(README)
    assert [block.text for block in blocks[:2]] == ["make serve", "make test"]
    reader.runs_make = True
    reader.follow(blocks)


def _page(name: str) -> Any:
    """A page that is tried on each database, but for those whose commands name SQLite files."""
    names_files = "--database-url sqlite:" in PAGES[name].read_text(encoding="utf-8")
    return pytest.param(name, marks=pytest.mark.sqlite) if names_files else name


@pytest.mark.parametrize(
    "page", [_page(name) for name, page in PAGES.items() if blocks_of(page) and "postgresql" not in name]
)
def test_every_block_of_a_page_runs_and_prints_what_is_shown(page: str, reader: Reader) -> None:
    """A page takes it that a server runs, which has no data yet."""
    reader.serve({})
    reader.follow(blocks_of(PAGES[page]))


@pytest.mark.sqlite
@pytest.mark.parametrize("page", [name for name in PAGES if "postgresql" in name])
def test_every_block_of_a_page_about_postgresql_runs_and_prints_what_is_shown(
    page: str, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = PostgresReader(tmp_path, place, monkeypatch)
    try:
        reader.follow(blocks_of(PAGES[page]))
    finally:
        reader.close()


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.encode()) <= README_BYTES
    pages = [f"docs/{page.name}" for page in PAGES.values()]
    for target in (*pages, "playground.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        assert f"]({target})" in text, target


def test_an_answer_that_is_not_as_shown_is_found() -> None:
    first, second, other = (f"2025-01-0{day}T00:00:00.5Z" for day in (1, 2, 3))
    Shown().compare({"createdAt": first, "n": 1}, {"createdAt": second, "n": 1}, "")
    for shown, real in [
        ({"n": 1}, {"n": 2}),
        ({"n": 1}, {"n": True}),
        ({"n": 1}, {"n": 1, "m": 1}),
        ({"n": [1]}, {"n": [1, 2]}),
        ({"createdAt": first}, {"createdAt": None}),
        ({"createdAt": first}, {"createdAt": "yesterday"}),
        ({"name": first}, {"name": second}),
        ([{"createdAt": first}, {"updatedAt": first}], [{"createdAt": second}, {"updatedAt": other}]),
    ]:
        with pytest.raises(AssertionError):
            Shown().compare(shown, real, "")
    sending = Shown()
    sending.replaced(json.dumps({"validFrom": first}))
    with pytest.raises(AssertionError):
        sending.compare({"validFrom": first}, {"validFrom": second}, "")


@pytest.mark.parametrize(
    "path",
    [README, PLAYGROUND, CONTRIBUTING, SECURITY, REPOSITORY / "CHANGELOG.md", *PAGES.values()],
    ids=lambda path: path.name,
)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            name, _, heading = target.partition("#")
            file = path.parent / name if name else path
            assert file.exists(), target
            assert not heading or heading in headings_of(file), target


def headings_of(path: Path) -> set[str]:
    """The headings of a page, as links name them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def test_every_file_function_and_target_that_contributing_names_is_there() -> None:
    names = names_in(re.sub(r"^```.*?^```", "", CONTRIBUTING.read_text(encoding="utf-8"), flags=re.M | re.S))
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    checked = 0
    for name in names:
        if match := re.fullmatch(r"(\w+(?:/\w+)*\.(?:py|md|graphql|toml))(?:::(\w+))?", name):
            file = REPOSITORY / match[1]
            assert file.is_file() or "0002" in name, name
            assert match[2] is None or re.search(rf"\b{match[2]}\b", file.read_text(encoding="utf-8")), name
            checked += 1
        elif name.startswith("make "):
            assert name.split()[1] in targets, name
            checked += 1
    assert checked > 15
