"""`recallql migrate`: creates the tables of a database, or brings them to this version."""

from collections.abc import Callable

from models.store import database_at


def migrate(url: str, *, dry_run: bool, on_citus: bool, report: Callable[[str], None]) -> int:
    """Applies what is missing, or only looks for it, and reports each thing; returns how many they are."""
    database = database_at(url)
    lines: list[str] = []
    if dry_run:
        lines += database.missing(on_citus=on_citus)
    else:
        database.migrate(lines.append, on_citus=on_citus)
    for line in lines:
        report(f"{'would apply' if dry_run else 'applied'} {line}")
    return len(lines)
