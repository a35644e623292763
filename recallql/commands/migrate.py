"""`recallql migrate`: creates the tables of a database, or brings them to this version."""

from collections.abc import Callable

from models.store import database_at


def migrate(url: str, *, dry_run: bool, report: Callable[[str], None]) -> int:
    """Applies the missing migrations, or only looks for them, and reports each; returns how many they are."""
    database = database_at(url)
    lines: list[str] = []
    if dry_run:
        lines += database.missing()
    else:
        database.migrate(lines.append)
    for line in lines:
        report(f"{'would apply' if dry_run else 'applied'} {line}")
    return len(lines)
