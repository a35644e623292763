"""The command line."""

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


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
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
    workers: Annotated[int | None, typer.Option(help="How many processes serve.", show_default="1")] = None,
) -> None:
    """Serve the API: /graphql (with the playground for browsers), /health and /ready."""
    from recallql.serving import serve as run

    run(_settings(host=host, port=port, database_url=database_url, workers=workers))


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


def main() -> None:
    """The entry of the command: what goes wrong is said in a line, with exit status 1."""
    from recallql.serving import CannotServe

    try:
        app()
    except (DataError, CannotServe) as error:
        print(f"recallql: {error}", file=sys.stderr)
        sys.exit(1)


File = Annotated[Path, typer.Argument(help="An NDJSON file: an object a line.")]
