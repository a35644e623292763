"""`recallql key …`, `recallql token`, and what `recallql serve` makes of keys, as an operator meets them."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recallql.auth.credentials import REFUSED
from tests.commands import ready_status, start, started
from tests.desk import Desk
from tests.documents import CREATE_USER
from tests.places import Place, SqlitePlace
from tests.servers import Server

KEY = re.compile(r"rql_[A-Za-z0-9_-]{43}\n")
ID = re.compile(r"[0-9a-f]{12}")


class Shell:
    """A folder, and the command in it on a database."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder = folder
        self.place = place

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return start(*arguments, cwd=self.folder, RECALLQL_DATABASE_URL=self.place.url, **variables)

    def out(self, *arguments: str, **variables: str) -> str:
        """Runs a command that must succeed, and returns its output."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def wrong(self, *arguments: str, status: int = 1, **variables: str) -> str:
        """Runs a command that must fail, and returns its message."""
        done = self.run(*arguments, **variables)
        assert done.returncode == status, done.stdout + done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Shell:
    """Beside a server that runs on the same database."""
    return Shell(tmp_path, server.place)


@pytest.fixture
def desk(server: Server) -> Iterator[Desk]:
    """The credentials of another process on the same database."""
    opened = Desk(server.place)
    yield opened
    opened.close()


def test_a_key_is_made_shown_once_listed_and_revoked(shell: Shell, desk: Desk) -> None:
    made = shell.run("key", "create", "--name", "web backend", "--project", "shop")
    assert made.returncode == 0
    assert KEY.fullmatch(made.stdout), made.stdout
    key = made.stdout.strip()
    assert key not in made.stderr
    (id,) = ID.findall(made.stderr)
    assert (desk.viewer(key).role, desk.viewer(key).project) == ("SERVICE", "shop")

    second = shell.out("key", "create", "--name", "worker").strip()
    listed = shell.out("key", "list")
    lines = listed.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{id}  shop  web backend  made 20")
    assert "  default  worker  made " in lines[1]
    assert "revoked" not in listed
    hashes = [hash.hex() for (hash,) in shell.place.query("SELECT hash FROM api_keys")]
    assert [secret for secret in (key, second, *hashes) if secret in listed] == []

    revoked = shell.out("key", "revoke", id)
    assert revoked.startswith(f"revoked {id} (web backend) at 20")
    assert desk.refused(key) == REFUSED
    assert desk.viewer(second).project == "default"
    assert shell.out("key", "revoke", id) == revoked
    assert ["revoked" in line for line in shell.out("key", "list").splitlines()] == [True, False]


def test_a_key_that_is_not_there_cannot_be_revoked(shell: Shell) -> None:
    said = shell.wrong("key", "revoke", "0123456789ab")
    assert said.startswith("recallql: ")
    assert "0123456789ab" in said
    assert "key list" in said


@pytest.mark.parametrize("given", [["--name", ""], ["--name", "two\nlines"], ["--name", "x", "--project", ""]])
def test_a_key_without_a_right_name_and_project_is_not_made(shell: Shell, given: list[str]) -> None:
    assert shell.wrong("key", "create", *given).startswith("recallql: ")
    assert shell.out("key", "list") == ""


def test_the_name_of_a_key_is_asked_for(shell: Shell) -> None:
    assert "--name" in shell.wrong("key", "create", status=2)


@pytest.mark.sqlite
def test_the_first_key_may_come_before_the_first_start(tmp_path: Path) -> None:
    new = SqlitePlace(tmp_path / "new.db")
    shell = Shell(tmp_path, new)
    assert "does not exist" in shell.wrong("key", "list")
    assert "does not exist" in shell.wrong("token", "--user", "ada")
    assert "does not exist" in shell.wrong("key", "rotate-signing")
    assert not new.path.exists()
    key = shell.out("key", "create", "--name", "first").strip()
    desk = Desk(shell.place)
    assert desk.viewer(key).role == "SERVICE"
    desk.close()


def test_a_token_is_issued_for_a_user_who_is_there(shell: Shell, desk: Desk, server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    done = shell.run("token", "--user", "ada")
    assert done.returncode == 0
    assert done.stdout.strip() not in done.stderr
    viewer = desk.viewer(done.stdout.strip())
    assert (viewer.role, viewer.project, viewer.user_id) == ("USER", "default", "ada")
    for life in ("0", "86401", "-5"):
        assert life in shell.wrong("token", "--user", "ada", "--expires-in", life)
    assert "no user" in shell.wrong("token", "--user", "nobody")
    assert "no user" in shell.wrong("token", "--user", "ada", "--project", "other")
    assert "expires-in" in shell.wrong("token", "--user", "ada", "--expires-in", "soon", status=2)


def test_a_token_has_the_permissions_that_are_named(shell: Shell, desk: Desk, server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    for options, granted in [
        ([], {"READ", "WRITE"}),
        (["--permission", "manage"], {"MANAGE"}),
        (["--permission", "READ", "--permission", "manage", "--permission", "read"], {"READ", "MANAGE"}),
    ]:
        assert desk.viewer(shell.out("token", "--user", "ada", *options).strip()).permissions == granted
    for wrong in ("admin", "", "read,write"):
        assert "permission" in shell.wrong("token", "--user", "ada", "--permission", wrong, status=2)


def test_a_signing_key_is_rotated_beside_a_running_server(shell: Shell, desk: Desk, server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    old = shell.out("token", "--user", "ada", "--expires-in", "86400").strip()
    assert shell.out("key", "rotate-signing").startswith("signing with ")
    new = shell.out("token", "--user", "ada").strip()
    assert desk.viewer(old) == desk.viewer(new)
    shell.out("key", "rotate-signing", "--at-once")
    assert desk.refused(old) == desk.refused(new) == REFUSED
    assert desk.viewer(shell.out("token", "--user", "ada").strip()).user_id == "ada"


# What `serve` makes of keys


def test_with_a_key_another_address_may_be_served_and_the_line_says_that_one_is_needed(tmp_path: Path) -> None:
    shell = Shell(tmp_path, SqlitePlace(tmp_path / "recallql.db"))
    shell.out("key", "create", "--name", "first")
    for host in ("0.0.0.0", "127.0.0.1"):
        with started("--host", host, "--port", "0", cwd=tmp_path) as (process, line):
            assert "credential is needed" in line["event"]
            assert "without a key" not in line["event"]
            assert host in line["url"]
            assert ready_status(process, line["url"]) == 200


@pytest.mark.parametrize(
    "variables",
    [
        {"RECALLQL_API_KEY": "0123456789abcdef0123456789abcdef"},
        {
            "RECALLQL_JWKS_URL": "https://id.example/jwks",
            "RECALLQL_JWKS_ISSUER": "https://id.example",
            "RECALLQL_JWKS_AUDIENCE": "an-audience",
        },
    ],
)
def test_a_key_or_an_identity_provider_in_the_environment_is_enough(tmp_path: Path, variables: dict[str, str]) -> None:
    with started("--host", "0.0.0.0", "--port", "0", "--workers", "2", cwd=tmp_path, **variables) as (process, line):
        assert "credential is needed" in line["event"]
        assert not any(value in str(line) for value in variables.values())
        assert ready_status(process, line["url"]) == 200


def test_the_options_of_the_identity_provider_go_before_the_environment(tmp_path: Path) -> None:
    options = ["--jwks-url", "https://id.example/jwks", "--jwks-issuer", "https://id.example", "--jwks-audience", "a"]
    more = ["--jwks-user-claim", "user", "--jwks-project", "web"]
    with started(*options, *more, "--port", "0", cwd=tmp_path, RECALLQL_JWKS_URL="") as (process, line):
        assert "credential is needed" in line["event"]
        assert ready_status(process, line["url"]) == 200


def test_after_the_last_key_was_revoked_no_other_address_is_served_and_nobody_comes_in_without_one(
    tmp_path: Path,
    refusal: Callable[..., str],
) -> None:
    shell = Shell(tmp_path, SqlitePlace(tmp_path / "recallql.db"))
    shell.out("key", "create", "--name", "first")
    shell.out("key", "revoke", shell.out("key", "list").split()[0])
    said = refusal("serve", "--host", "0.0.0.0", "--port", "0", *shell.place.option)
    assert "key create" in said
    assert "RECALLQL_API_KEY" in said
    with started("--port", "0", cwd=tmp_path) as (process, line):
        assert "credential is needed" in line["event"]
        assert ready_status(process, line["url"]) == 200


@pytest.mark.parametrize(
    "key", ["short", "fifteen-letters", "with a space in it", "with-\u00fcmlauts-in-it", "tab\tin-the-middle"]
)
def test_a_weak_key_in_the_environment_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    ended = start("serve", "--port", "0", cwd=tmp_path, RECALLQL_API_KEY=key)
    assert ended.returncode == 2
    words = re.sub(r"[\s│]+", " ", ended.stderr)
    assert "api_key" in words
    assert key not in ended.stderr
    assert "openssl rand" in words


def test_settings_of_an_identity_provider_that_lack_something_are_refused_in_words(tmp_path: Path) -> None:
    ended = start("serve", "--port", "0", "--jwks-url", "https://id.example/jwks", cwd=tmp_path)
    assert ended.returncode == 2
    assert "jwks_issuer" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "{" not in ended.stderr
