"""The command line."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from models.errors import DataError
from recallql import __version__
from recallql.logs import configure_logs
from recallql.settings import Settings

app = typer.Typer(
    help="RecallQL: the memory of AI applications behind one GraphQL API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DatabaseUrl = Annotated[
    str | None, typer.Option(help="Where the data is kept, as in sqlite:///recallql.db.", show_default=False)
]


def _settings(**options: Any) -> Settings:
    """Options before the environment before defaults; a wrong value is named."""
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (given: {e['input']!r})" for e in error.errors()]
        raise typer.BadParameter("; ".join(lines)) from error
    configure_logs(settings)
    return settings


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
    synchronous: Annotated[
        str | None, typer.Option(help="full survives a power cut, normal a crash only.", show_default="full")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve.", show_default="1")] = None,
) -> None:
    """Serve the API: /graphql (with the playground for browsers), /health and /ready."""
    from recallql.serving import serve as run

    run(_settings(host=host, port=port, database_url=database_url, synchronous=synchronous, workers=workers))


@app.command()
def schema() -> None:
    """Print the GraphQL schema."""
    from schema.root import schema as published

    print(published.as_str())


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Bring the database to this version's tables (serve does so by itself)."""
    from models.database import path_of
    from models.migrate import migrate as run

    run(path_of(_settings(database_url=database_url).database_url))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An NDJSON file, an object a line; - is standard input.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Import users, agents, sessions, messages, memories and documents. Importing a file twice changes nothing."""
    from recallql.archive import import_file, open_input

    settings = _settings(database_url=database_url)
    opened, size = open_input(file)
    with opened:
        tally = import_file(opened, settings, size=size)
    plurals = {"memory": "memories"}
    names = {kind: kind if count == 1 else plurals.get(kind, f"{kind}s") for kind, count in tally.added.items()}
    added = ", ".join(f"{count} {names[kind]}" for kind, count in tally.added.items()) or "nothing"
    print(f"imported {added}; {tally.known.total()} were there already")


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to write; standard output when left out.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Export everything that is not deleted as NDJSON, which `recallql import` takes."""
    from recallql.archive import check_source, export_file

    settings = _settings(database_url=database_url)
    check_source(settings)
    if file is None:
        try:
            export_file(sys.stdout.buffer, settings)
            sys.stdout.flush()
        except OSError as error:
            raise CannotExport(f"The export can't be written: {error.strerror}.") from error
        return
    if file.exists():
        raise CannotExport(f"{file} exists; name another file, or remove it first.")
    # Only a whole export gets the name.
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as opened:
            count = export_file(opened, settings)
            opened.flush()
            os.fsync(opened.fileno())
        part.rename(file)
    except OSError as error:
        raise CannotExport(f"{file} can't be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    print(f"exported {count} objects to {file}")


@app.command()
def purge(
    deleted_before: Annotated[
        str | None, typer.Option(help="An RFC 3339 time; by default `purge_after_days` ago.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Remove for good what was deleted softly before a time (serve does so by itself)."""
    from recallql.archive import purge_file
    from resolvers.times import ago, parse_time

    settings = _settings(database_url=database_url)
    try:
        before = ago(settings.purge_after) if deleted_before is None else parse_time(deleted_before)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    counted = purge_file(settings, before)
    print("purged " + ", ".join(f"{count} {name}" for name, count in counted.items()))


class CannotExport(DataError):
    """Why the export's file can't be written."""


def main() -> None:
    """The entry of the command: what goes wrong is said in a line, with exit status 1."""
    from recallql.serving import CannotServe

    try:
        app()
    except (DataError, CannotServe) as error:
        print(f"recallql: {error}", file=sys.stderr)
        sys.exit(1)
