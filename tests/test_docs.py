"""The documentation is executed: every block of README.md, playground.md and docs/, and every table against the code.

What must differ at each run (ids, times, cursors) is compared by its form. The same value shown twice has to be the
same value twice, and where a later block uses a shown one, the real one is sent.
"""

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import GraphQLObjectType, build_schema

from models.parts import LOW_DETAIL, MEDIA_TOKENS
from recallql.commands.archive import BATCH
from recallql.commands.cli import SKIPPED_LINES, app
from recallql.commands.lines import line_types
from recallql.http.statuses import PARTIAL_SUCCESS, STATUSES
from recallql.settings import Settings
from resolvers.archive.kinds import KINDS
from tests.servers import REPOSITORY, START_SECONDS, Process, Server, free_port

README = REPOSITORY / "README.md"
PLAYGROUND = REPOSITORY / "playground.md"
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):8000")
PROGRAM = ".venv/bin/recallql"
SCHEMA = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, its text, and the line of the file that it starts at."""

    info: str
    text: str
    place: str


def blocks_of(path: Path) -> list[Block]:
    found: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(("```", "~~~")):
            continue
        if start is None:
            start = number
        else:
            assert line == "```", f"{path.name}:{number + 1} closes the block of line {start + 1} in another way"
            text = "\n".join(lines[start + 1 : number])
            found.append(Block(lines[start].removeprefix("```"), text, f"{path.name}:{start + 1}"))
            start = None
    assert start is None, f"{path.name}:{start} opens a block that is never closed"
    return found


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"
ID = r"[USMYDAV][A-Za-z0-9_-]{22}\d*"
CURSOR = r"[A-Za-z0-9_-]{8,}"
KEY = r"[0-9a-f]{32}"
FORMS = [
    (re.compile(r"(\w+At|validFrom|validUntil|supersededFrom)"), re.compile(TIME)),
    (re.compile(r"(id|ids|deleted\w+Ids?)"), re.compile(ID)),
    (re.compile(r"(cursor|startCursor|endCursor)"), re.compile(CURSOR)),
    (re.compile(r"token"), re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")),
    (re.compile(r"(key|supersededBy|digest|documentKey)"), re.compile(KEY)),
]


@dataclass
class Shown:
    """What the documentation shows for the values of this run, and what it has sent itself."""

    real: dict[str, str] = field(default_factory=dict)
    sent: str = ""

    def replaced(self, text: str) -> str:
        """A request with the real values in the place of shown ones; from now on its own values are exact."""
        for shown, real in self.real.items():
            text = text.replace(json.dumps(shown), json.dumps(real))
        self.sent += text
        return text

    def compare(self, shown: Any, real: Any, place: str, name: str = "") -> None:
        if isinstance(shown, dict):
            assert isinstance(real, dict), f"{place}: {real!r} is no object"
            assert list(real) == list(shown), f"{place}: other fields"
            for key, value in shown.items():
                self.compare(value, real[key], f"{place}.{key}", key)
        elif isinstance(shown, list):
            assert isinstance(real, list), f"{place}: {real!r} is no list"
            assert len(real) == len(shown), f"{place}: {len(real)} items, not {len(shown)}: {real!r}"
            for index, (one, other) in enumerate(zip(shown, real, strict=True)):
                self.compare(one, other, f"{place}[{index}]", name)
        elif self.varies(name, shown) and isinstance(real, str):
            assert self.varies(name, real), f"{place}: {real!r} has another form than {shown!r}"
            assert self.real.setdefault(shown, real) == real, f"{place}: {shown!r} was shown for {self.real[shown]!r}"
        else:
            assert (type(real), real) == (type(shown), shown), f"{place}: {real!r}, not {shown!r}"

    def varies(self, name: str, value: Any) -> bool:
        if not isinstance(value, str) or (json.dumps(value) in self.sent and value not in self.real.values()):
            return False
        return any(names.fullmatch(name) and form.fullmatch(value) for names, form in FORMS)


def values_of(text: str) -> list[Any]:
    """The JSON values of a text, one after the other."""
    decoder, values, position = json.JSONDecoder(), [], 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        values.append(value)
    return values


def test_every_block_of_the_playground_tour_answers_as_shown(server: Server) -> None:
    shown = Shown()
    blocks = blocks_of(PLAYGROUND)
    waiting: Block | None = None
    variables: dict[str, Any] = {}
    for block in blocks:
        match block.info:
            case "graphql":
                assert waiting is None, f"{block.place}: the query before has no answer"
                waiting, variables = block, {}
            case "json variables":
                assert waiting is not None, f"{block.place}: variables without a query"
                variables = json.loads(shown.replaced(block.text))
            case "json":
                assert waiting is not None, f"{block.place}: an answer without a query"
                answer = server.execute(shown.replaced(waiting.text), **variables)
                shown.compare(json.loads(block.text), answer, block.place)
                waiting = None
            case language:
                pytest.fail(f"{block.place}: no test knows blocks of {language!r}")
    assert waiting is None, f"{waiting and waiting.place}: a query without an answer"
    assert len(blocks) > 100


class Made(Process):
    """`make serve`, in a process group of its own, which is all that is stopped."""

    def __init__(self, path: Path, port: int, environment: dict[str, str], log: Path) -> None:
        super(Process, self).__init__(port, path)
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["make", "serve"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def close(self) -> None:
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=40)


class Reader:
    """Somebody who follows the README: a shell and a Python session in a scratch folder, and the server."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.database = folder / "recallql.db"
        self.port = free_port()
        self.served: Process | None = None
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        # Neither this test's own make nor a proxy has a part in what a reader does.
        hidden = ("RECALLQL_", "MAKE", "MFLAGS", "PYTEST_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environment = inherited | {
            "RECALLQL_DATABASE_URL": f"sqlite:///{self.database}",
            "RECALLQL_PORT": str(self.port),
            "NO_PROXY": "127.0.0.1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }
        self.installed = (REPOSITORY / PROGRAM).is_file() and self.is_up_to_date()
        if not self.installed:
            import_path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
            self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, import_path))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")

    def is_up_to_date(self) -> bool:
        """Tells whether `make serve` would serve at once, without installing anything first."""
        asking = ["make", "--question", ".venv/.installed"]
        with contextlib.suppress(FileNotFoundError):
            return subprocess.run(asking, cwd=REPOSITORY, env=self.environment, check=False).returncode == 0
        return False

    def here(self, text: str) -> str:
        """A block as it is run here: at the port and with the program of this test."""
        program = str(REPOSITORY / PROGRAM) if self.installed else f"{sys.executable} -m recallql"
        return ADDRESS.sub(f"127.0.0.1:{self.port}", text).replace(PROGRAM, program)

    def run(self, block: Block) -> str:
        """What a block prints."""
        if block.info == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(self.here(block.text), block.place, "exec"), self.namespace)
            return printed.getvalue()
        if block.text == "make serve":
            self.serve()
            return ""
        command = ["bash", "-euo", "pipefail", "-c", self.here(block.text)]
        if block.text == "make test":
            command = ["make", "-n", "test"]
        assert "make" not in block.text or block.text == "make test", f"{block.place}: no test runs this"
        folder = REPOSITORY if block.text == "make test" else self.folder
        if command[0] == "make" and shutil.which("make") is None:
            return ""
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{block.place}: {done.stdout}{done.stderr}"
        return "" if block.text == "make test" else done.stdout

    def serve(self) -> None:
        log = self.folder / "served.log"
        if self.installed:
            self.served = Made(self.database, self.port, self.environment, log)
        else:
            self.served = Process(self.database, self.port, [], {}, log)
        self.served.wait_until_ready()

    def close(self) -> None:
        if self.served is None:
            return
        self.served.close()
        deadline = time.monotonic() + START_SECONDS
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False) as client:
            while client.get(f"http://127.0.0.1:{self.port}/health").is_success:
                assert time.monotonic() < deadline, "the server goes on"
                time.sleep(0.05)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    following = Reader(tmp_path, monkeypatch)
    yield following
    following.close()


def follow(reader: Reader, blocks: list[Block]) -> None:
    """Runs the blocks in their order, and compares what they print with what is shown."""
    shown = Shown()
    printed: str | None = None
    for block in blocks:
        match block.info:
            case "sh" | "python":
                assert not printed, f"{block.place}: what the block before prints is not shown: {printed}"
                shown.replaced(block.text)
                printed = reader.run(block)
            case "json":
                assert printed is not None, f"{block.place}: the output of nothing"
                shown.compare(values_of(block.text), values_of(printed), block.place)
                printed = None
            case "text":
                assert printed is not None, f"{block.place}: the output of nothing"
                assert printed.strip() == block.text.strip(), block.place
                printed = None
            case language:
                pytest.fail(f"{block.place}: no test knows blocks of {language!r}")
    assert not printed, f"what the last block prints is not shown: {printed}"


def test_every_block_of_the_readme_runs_and_prints_what_is_shown(reader: Reader) -> None:
    blocks = blocks_of(README)
    follow(reader, blocks)
    assert [block.text for block in blocks[:2]] == ["make serve", "make test"]
    assert (reader.folder / "backup.db").stat().st_size > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs_and_prints_what_is_shown(page: Path, reader: Reader) -> None:
    """A page takes it that a server runs, which has no data yet."""
    reader.serve()
    follow(reader, blocks_of(page))


def test_every_test_that_a_page_names_is_there() -> None:
    tests = {
        name
        for path in (REPOSITORY / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for page in PAGES:
        named = {name for name in names_in(page.read_text(encoding="utf-8")) if name.startswith("test_")}
        assert sorted(named - tests) == [], page.name


def test_every_statement_of_the_specification_names_its_tests() -> None:
    rows = rows_of(REPOSITORY / "docs" / "http.md", "Section", "Statement", "Tests")
    assert len(rows) > 50
    for section, statement, tests in rows:
        assert re.fullmatch(r"\d(\.\d)*", section), section
        assert statement.endswith("."), statement
        assert names_in(tests) or tests == "For clients", statement


def test_every_status_of_the_code_stands_in_its_page() -> None:
    rows = rows_of(REPOSITORY / "docs" / "http.md", "Status", "When", "Codes")
    told = {(code, int(status)) for status, _, codes in rows for code in names_in(codes)}
    assert set(STATUSES.items()) <= told
    assert {str(PARTIAL_SUCCESS), "406", "414"} <= {status for status, _, _ in rows}


def test_every_number_of_tokens_of_media_stands_in_its_page() -> None:
    rows = rows_of(REPOSITORY / "docs" / "messages.md", "In `parts`", "Tokens")
    assert sorted(number for _, told in rows for number in numbers_in(told)) == sorted(
        [*MEDIA_TOKENS.values(), LOW_DETAIL]
    )


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


def rows_of(path: Path, *header: str) -> list[list[str]]:
    """The rows of the table with this header; without header's own and the ruler's."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"| {' | '.join(header)} |")
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_setting_stands_in_the_readme_with_its_variable_option_and_default() -> None:
    options = {parameter.name for parameter in inspect.signature(command_named("serve")).parameters.values()}
    found = [
        (variable.strip("`"), option.strip("`"), default.strip("`"))
        for variable, option, default, _ in rows_of(README, "Variable", "Option of `serve`", "Default", "Meaning")
    ]
    assert found == [
        (f"RECALLQL_{name.upper()}", f"--{name.replace('_', '-')}" if name in options else "", str(setting.default))
        for name, setting in Settings.model_fields.items()
    ]


def command_named(name: str) -> Any:
    return next(command.callback for command in app.registered_commands if name_of(command) == name)


def name_of(command: Any) -> str:
    return command.name or command.callback.__name__.rstrip("_")


def command_names() -> list[str]:
    groups = [(group.name, group.typer_instance.registered_commands) for group in app.registered_groups]
    inner = [f"{group} {name_of(command)}" for group, commands in groups for command in commands]
    # A group that does something by itself.
    inner += [group.name for group in app.registered_groups if group.typer_instance.registered_callback]
    return [name_of(command) for command in app.registered_commands] + inner


def test_every_command_stands_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    names = command_names()
    assert len(names) >= 6
    assert [name for name in names if f"`recallql {name}`" not in text] == []


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    named = re.findall(
        r"recallql (key [a-z-]+|model [a-z]+|jobs retry|[a-z]+)", " ".join(names_in(README.read_text(encoding="utf-8")))
    )
    assert set(named) <= set(command_names())


@pytest.mark.parametrize("root", ["Query", "Mutation"])
def test_every_field_of_the_root_is_used_in_the_playground_tour(root: str) -> None:
    queries = " ".join(block.text for block in blocks_of(PLAYGROUND) if block.info == "graphql")
    root_type = SCHEMA.type_map[root]
    assert isinstance(root_type, GraphQLObjectType)
    assert [name for name in root_type.fields if not re.search(rf"\b{name}\b\s*[({{]", queries)] == []


def test_every_code_of_an_error_stands_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    codes = set(SCHEMA.type_map["UserErrorCode"].values)  # type: ignore[union-attr]
    for name in (
        "breadth/execution.py",
        "recallql/errors.py",
        "recallql/http/endpoint.py",
        "recallql/http/requests.py",
        "recallql/http/statuses.py",
    ):
        codes |= set(re.findall(r'"([A-Z][A-Z_]{6,})"', (REPOSITORY / name).read_text(encoding="utf-8")))
    codes -= {"OPTIONS", "CONNECT"}
    assert len(codes) > 12
    assert sorted(code for code in codes if f"`{code}`" not in text) == []


KIB, MIB = 1024, 1024 * 1024
LIMITS = {
    "A key": ["resolvers.inputs.KEY_CHARACTERS"],
    "Content of a message": ["resolvers.inputs.CONTENT_BYTES"],
    "Any other text": ["resolvers.inputs.TEXT_BYTES"],
    "`metadata`": ["resolvers.json_values.JSON_BYTES", "resolvers.json_values.LEVELS"],
    "Messages in `addMessages`": ["resolvers.messages.LARGEST_BATCH"],
    "Documents created with": ["resolvers.inputs.DOCUMENTS_AT_ONCE"],
    "`sources` and `supersedes`": ["resolvers.memories.LARGEST_LIST"],
    "A page": ["resolvers.connections.LARGEST_PAGE", "resolvers.connections.DEFAULT_PAGE"],
    "A list in a filter": ["resolvers.filters.LARGEST_LIST"],
    "`ids` of `nodes`": ["resolvers.nodes.LARGEST_LIST"],
    "`maxTokens` of a context": ["resolvers.contexts.contexts.DEFAULT_BUDGET"],
    "Messages of a context": ["resolvers.contexts.windows.LARGEST_WINDOW"],
    "Messages removed by": ["resolvers.messages.LARGEST_DELETION"],
    "Memories removed by": ["resolvers.memories.LARGEST_DELETION"],
    "Different words of a query": ["resolvers.search.questions.LARGEST_QUESTION"],
    "Question whose meaning": ["recallql.embedding.embeddings.ASKED_CHARACTERS"],
    "Sessions removed by": ["resolvers.sessions.LARGEST_DELETION", "resolvers.sessions.DEFAULT_DELETION"],
    "JSON of a filter": ["resolvers.filters.LARGEST_FILTER"],
    "JSON of a request": ["recallql.http.requests.LARGEST_JSON"],
    "A request's body": ["recallql.http.requests.BODY_BYTES"],
    "A line of an import": ["recallql.commands.lines.LARGEST_LINE"],
    "A request's head": ["recallql.http.framing.HEAD_BYTES"],
    "A request's URL": ["recallql.http.heads.URL_BYTES"],
    "`Authorization`": ["recallql.auth.credentials.HEADER_BYTES"],
    "life of a user token": ["resolvers.credentials.LARGEST_LIFE", "resolvers.credentials.DEFAULT_LIFE"],
    "an identity provider": ["recallql.auth.identity.JWKS_BYTES"],
    "an endpoint of a model": ["recallql.openai.ANSWER_BYTES", "recallql.background.forming.ANSWER_BYTES"],
    "sent together": ["resolvers.formation.jobs.MESSAGES_AT_ONCE"],
    "Characters of a message": ["resolvers.formation.asking.MESSAGE_CHARACTERS"],
}


def numbers_in(text: str) -> list[int]:
    """The numbers of a text, a KiB or a MiB in bytes, without the least of a range."""
    units = {"KiB": KIB, "MiB": MIB}
    found = re.findall(r"(\d[\d,]*)(?: (KiB|MiB))?", re.sub(r"\b[01] to ", "", text))
    return [int(number.replace(",", "")) * units.get(unit, 1) for number, unit in found]


def constant(name: str) -> int:
    module, _, variable = name.rpartition(".")
    return getattr(importlib.import_module(module), variable)


def test_every_limit_stands_in_the_readme_with_its_number() -> None:
    rows = rows_of(README, "What", "Limit")
    for what, names in LIMITS.items():
        (limit,) = [limit for row, limit in rows if what in row]
        assert numbers_in(limit) == [constant(name) for name in names], what
    assert [row for row, _ in rows if not any(what in row for what in LIMITS)] == []


def test_every_constant_of_the_code_that_limits_an_input_is_among_those_of_the_table() -> None:
    pattern = re.compile(r"^((?:LARGEST|DEFAULT)_\w+|\w+_BYTES|\w+_CHARACTERS|\w+_AT_ONCE|LEVELS) = ", re.MULTILINE)
    found = {
        f"{'.'.join(path.relative_to(REPOSITORY).with_suffix('').parts)}.{name}"
        for folder in ("resolvers", "recallql", "schema", "models")
        for path in (REPOSITORY / folder).rglob("*.py")
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert found == {name for names in LIMITS.values() for name in names}


ARCHIVES = REPOSITORY / "docs" / "import-and-export.md"


def test_every_field_that_an_exported_line_adds_stands_in_its_page() -> None:
    table = {kind.strip("`"): (names_in(base), added) for kind, base, added in rows_of(ARCHIVES, *LINES)}
    types = line_types()
    assert list(table) == ["user", "agent", "session", "message", "document", "memory"]
    assert set(table) == set(KINDS) == set(types)
    for kind, ([base], added) in table.items():
        fields = SCHEMA.type_map[base].fields  # type: ignore[union-attr]
        named = set(names_in(added.partition(";")[0]))
        assert named == set(types[kind].fields) - set(fields), kind


LINES = ("Type", "Create input", "Added fields")


def test_the_batch_and_the_status_of_an_import_stand_in_its_page() -> None:
    text = ARCHIVES.read_text(encoding="utf-8")
    assert f"{BATCH} lines" in text
    assert f"status {SKIPPED_LINES}" in text


@pytest.mark.parametrize(
    "path", [README, PLAYGROUND, CONTRIBUTING, REPOSITORY / "CHANGELOG.md", *PAGES], ids=lambda path: path.name
)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_every_file_function_and_target_that_contributing_names_is_there() -> None:
    names = names_in(re.sub(r"^```.*?^```", "", CONTRIBUTING.read_text(encoding="utf-8"), flags=re.M | re.S))
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
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
