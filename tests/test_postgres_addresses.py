"""How a PostgreSQL database is reached: its URL, TLS, passwords; and the one line that says what is wrong with them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import models.postgres.connecting
from models.postgres.connecting import Address
from models.store import database_at
from recallql.settings import Settings
from tests.clusters import Cluster, play
from tests.commands import started
from tests.forks import environment

pytestmark = pytest.mark.xdist_group("clusters")

Refusal = Callable[..., str]

PASSWORD = "p@ss/w?rd#%:secret"


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PG"):
            monkeypatch.delenv(name)


def reach(url: str, **variables: str) -> tuple[str, str]:
    """The user and the database that a URL leads to."""

    async def scene() -> tuple[str, str]:
        connection = await Address(url).connect()
        try:
            return tuple(await connection.fetchrow("SELECT current_user::text, current_database()::text"))
        finally:
            await connection.close()

    return play(scene)


WRONG = {
    "postgresql://ada:hush@db:54x2/memory": "its port '54x2' is no number from 1 to 65535",
    "postgresql://ada:hush@db:0/memory": "its port '0' is no number from 1 to 65535",
    "postgresql://ada:hush@db:99999/memory": "its port '99999' is no number",
    "postgresql://ada:hush@db,other:x/memory": "its port 'x' is no number",
    "postgresql://ada:hush@db/memory?port=x": "its port 'x' is no number",
    "postgresql://ada:hush@db": "it names no database",
    "postgresql://ada:hush@db/": "it names no database",
    "postgresql://ada:hush@::1/memory": "an IPv6 address stands in brackets, as in [::1]:5432",
    "postgresql://ada:hu%sh@db/memory": "a % in it begins no character; write it as %25",
    "postgresql://ada:hu/sh@db/memory": "write @ / ? # in its user or password as %40 %2F %3F %23",
    "postgresql://ada:hu?sh@db/memory": "write @ / ? # in its user or password",
    "postgresql://ada:hu#sh@db/memory": "write @ / ? # in its user or password",
    "postgresql://ada:hu@sh@db/memory": "write @ / ? # in its user or password",
    "postgresql://ada:hush@db/memory?sslmode=verify": "its sslmode is 'verify', which is none of disable, allow",
    "postgresql://ada:hush@db/memory?sslmode": "what follows ? is not of the form name=value&name=value",
    "postgresql://ada:hush@db/memory?target_session_attrs=master": "its target_session_attrs is 'master'",
    "postgresql://ada:hush@db/memory?sslrootcert=/no/file": "its sslrootcert is '/no/file', which is no file",
    "postgresql://ada:hush@db/memory?connect_timeout=soon": "its connect_timeout is 'soon'",
    "postgresql://ada:hush@db/memory?channel_binding=require": "channel_binding=require is not supported",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_refused_in_one_line_without_its_password(refusal: Refusal, url: str) -> None:
    said = refusal("migrate", "--database-url", url)
    assert said.startswith("recallql: The database URL is not valid: ")
    assert WRONG[url] in said
    assert said.endswith("; give postgresql://user@host:5432/database.\n")
    assert "hu" not in said


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["key", "create", "--name", "k"], ["export"], ["jobs"]])
def test_every_command_says_in_one_line_that_there_is_no_server(refusal: Refusal, command: list[str]) -> None:
    said = refusal(*command, "--database-url", "postgresql://ada:hush@127.0.0.1:1/memory")
    assert said.startswith("recallql: postgresql://127.0.0.1:1/memory can't be reached (")
    assert said.endswith("; check that the server runs, and the host and port of the URL.\n")
    assert "hush" not in said


def test_a_host_without_a_name_is_said(refusal: Refusal) -> None:
    said = refusal("migrate", "--database-url", "postgresql://ada@no-such-host.invalid/memory")
    assert "postgresql://no-such-host.invalid/memory can't be found (" in said


def test_what_is_wrong_on_the_server_is_said_in_one_line(cluster: Cluster, refusal: Refusal) -> None:
    said = refusal("serve", "--port", "0", "--database-url", cluster.url("nowhere"))
    assert said == (
        f"recallql: postgresql://127.0.0.1:{cluster.port}/nowhere does not exist: create the database with `createdb`, "
        "then run `recallql migrate`.\n"
    )
    said = refusal("migrate", "--database-url", cluster.url(user="nobody", password="hush"))
    assert 'does not let nobody in (role "nobody" does not exist); check the user and the password' in said
    assert "hush" not in said
    cluster.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    said = refusal("migrate", "--database-url", cluster.url("latin"))
    assert "has the encoding LATIN1, which lacks most of Unicode; create a database" in said


def test_rights_that_are_missing_are_named(cluster: Cluster, refusal: Refusal) -> None:
    cluster.sql("CREATE ROLE guest LOGIN")
    cluster.sql("CREATE DATABASE guarded")
    said = refusal("migrate", "--database-url", cluster.url("guarded", user="guest"))
    assert said == (
        f"recallql: guest may not do this in postgresql://127.0.0.1:{cluster.port}/guarded "
        "(permission denied for schema public); grant the rights, or use the database's owner.\n"
    )
    name = cluster.database()
    said = refusal("serve", "--port", "0", "--database-url", cluster.url(name, user="guest"))
    assert "guest may not do this" in said
    assert "permission denied for table" in said


@pytest.mark.parametrize(
    "made", ["CREATE TABLE orders (id int)", "CREATE TABLE alembic_version (version_num varchar(32)); "]
)
def test_a_schema_of_another_application_is_refused_and_stays_as_it_is(
    cluster: Cluster, refusal: Refusal, made: str
) -> None:
    name = cluster.database()
    cluster.sql(f"DROP DATABASE {name}")
    cluster.sql(f"CREATE DATABASE {name}")
    cluster.sql(made.rstrip("; "), name)
    if "alembic" in made:
        cluster.sql("INSERT INTO alembic_version VALUES ('9fd3a1c2b7e0')", name)
    for command in (["migrate"], ["serve", "--port", "0"]):
        said = refusal(*command, "--database-url", cluster.url(name))
        assert "holds tables of another application; give RecallQL a database of its own." in said
    assert len(cluster.sql("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", name)) == 1


@pytest.mark.filterwarnings("ignore:password file")
def test_a_password_that_is_needed_may_come_from_the_url_a_variable_or_a_file(
    guarded: Cluster, refusal: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = guarded.url(user="ada")
    said = refusal("migrate", "--database-url", guarded.url(user="ada", password="wr0ng"))
    assert "does not let ada in (password authentication failed" in said
    assert "wr0ng" not in said
    assert "does not let ada in (" in refusal("migrate", "--database-url", url)
    assert reach(guarded.url(user="ada", password=PASSWORD)) == ("ada", "postgres")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert reach(url) == ("ada", "postgres")
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "passwords"
    file.write_text(f"127.0.0.1:{guarded.port}:*:ada:{PASSWORD}\n")
    monkeypatch.setenv("PGPASSFILE", str(file))
    file.chmod(0o644)
    said = refusal("migrate", "--database-url", url)
    assert f"the password file {file} is not read, since others may read it: chmod 600" in said
    file.chmod(0o600)
    assert reach(url) == ("ada", "postgres")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    """A server that asks for passwords, and speaks TLS with a certificate of its own authority."""
    running = Cluster.create()
    running.sql(f"CREATE ROLE ada LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    _certificates(running.folder)
    (running.data / "pg_hba.conf").write_text(
        "local all all trust\n"
        "hostssl all bo 127.0.0.1/32 cert clientcert=verify-full\n"
        "host all postgres 127.0.0.1/32 trust\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
    )
    running.sql("CREATE ROLE bo LOGIN")
    running.configure(
        "ssl=on",
        f"ssl_cert_file='{running.folder}/server.crt'",
        f"ssl_key_file='{running.folder}/server.key'",
        f"ssl_ca_file='{running.folder}/authority.crt'",
    )
    running.stop()
    running.start()
    yield running
    running.close()


def _certificates(folder: Path) -> None:
    """An authority, a certificate of it for this machine, one for the user bo, and another authority."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for authority in ("authority", "another"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.crt"),
        )
    for name, subject, more in (("server", "localhost", "subjectAltName=DNS:localhost"), ("bo", "bo", "")):
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (folder / "more").write_text(more)
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.crt", "-CAkey", "authority.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "more", "-out", f"{name}.crt"),
        )
    key = folder / "server.key"
    key.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(key, "postgres")


def test_tls_is_as_the_url_says(guarded: Cluster, refusal: Refusal) -> None:
    own, another = f"{guarded.folder}/authority.crt", f"{guarded.folder}/another.crt"
    there = guarded.url(user="ada", password=PASSWORD).replace("127.0.0.1", "localhost")

    async def is_encrypted(query: str) -> bool:
        connection = await Address(there + query).connect()
        try:
            return await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        finally:
            await connection.close()

    for query, encrypted in (
        ("?sslmode=disable", False),
        ("", True),
        ("?sslmode=require", True),
        (f"?sslmode=verify-full&sslrootcert={own}", True),
        (f"?sslmode=verify-full&sslrootcert={own}&channel_binding=prefer&connect_timeout=9&application_name=app", True),
    ):
        assert play(lambda: is_encrypted(query)) is encrypted, query  # noqa: B023
    said = refusal("migrate", "--database-url", f"{there}?sslmode=verify-full&sslrootcert={another}")
    assert "can't be reached by TLS (" in said
    assert said.endswith("); check `sslmode` and `sslrootcert` of the database URL.\n")
    elsewhere = there.replace("localhost", "127.0.0.1")
    assert "can't be reached by TLS (" in refusal(
        "migrate", "--database-url", f"{elsewhere}?sslmode=verify-full&sslrootcert={own}"
    )
    assert reach(f"{elsewhere}?sslmode=verify-ca&sslrootcert={own}") == ("ada", "postgres")


def test_a_certificate_may_take_the_place_of_a_password(guarded: Cluster) -> None:
    folder = guarded.folder
    options = f"?sslmode=require&sslcert={folder}/bo.crt&sslkey={folder}/bo.key"
    assert reach(f"postgresql://bo@localhost:{guarded.port}/postgres{options}") == ("bo", "postgres")


def test_a_host_may_be_a_folder_with_a_socket(cluster: Cluster) -> None:
    url = f"postgresql://postgres@/postgres?host={cluster.folder}&port={cluster.port}"
    assert reach(url) == ("postgres", "postgres")
    assert database_at(url).name == f"postgresql://{cluster.folder}/postgres"


def test_the_first_of_several_hosts_that_fits_is_used(cluster: Cluster) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{cluster.port}"
    assert reach(f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write")[1] == "postgres"
    with pytest.raises(Exception, match="target attribute"):
        reach(f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres?target_session_attrs=standby")


def test_without_the_driver_the_extra_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['asyncpg'] = None; from recallql.commands.cli import main; main()"
    command = [sys.executable, "-c", code, "migrate", "--database-url", "postgresql://ada@db/memory"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.stderr == "recallql: PostgreSQL needs its driver: pip install 'recallql[postgres]'.\n"
    assert done.returncode == 1


def test_no_password_is_logged(guarded: Cluster, tmp_path: Path) -> None:
    guarded.sql("CREATE DATABASE logged")
    url = guarded.url("logged", user="ada", password=PASSWORD)
    with started("--port", "0", cwd=tmp_path, RECALLQL_DATABASE_URL=url) as (_, line):
        assert line["database"] == f"postgresql://127.0.0.1:{guarded.port}/logged"
        assert "secret" not in str(line)


@pytest.mark.parametrize("name", ["read_database_url", "direct_database_url"])
def test_a_replica_and_an_address_past_a_pooler_need_postgresql(name: str) -> None:
    chosen: dict[str, Any] = {name: "postgresql://db/memory"}
    with pytest.raises(ValueError, match="are for PostgreSQL"):
        Settings(**chosen)


def test_an_old_server_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setattr(models.postgres.connecting, "OLDEST", 99)
    said = refusal("migrate", "--database-url", cluster.url())
    assert "RecallQL needs PostgreSQL 99 or newer.\n" in said
