"""`recallql copy`: everything of a database into an empty one."""

from models.copying import CopiedTable, Copy
from models.errors import DataError
from models.store import database_at
from recallql.commands.progress import progress_bars


class CannotCopy(DataError):
    """The two databases are one."""


def copy(source_url: str, target_url: str) -> list[CopiedTable]:
    """Copies a snapshot of the source and compares the copy; returns the tables."""
    source, target = database_at(source_url), database_at(target_url)
    source.check_version()
    if source.identity() == target.identity():
        raise CannotCopy(f"{source.name} is both the source and the target; name another database with --to.")
    with source.snapshot() as snapshot, target.filling() as filling, progress_bars() as bars:
        copied = Copy(snapshot, filling, name=target.name)
        total = copied.count()
        copying = bars.add_task("copying", total=total)
        tables = copied.add_all(lambda rows: bars.advance(copying, rows))
        bars.update(copying, description="copied")
        # Until the first row is compared, indexes are made.
        comparing = bars.add_task("comparing", total=total)
        copied.complete()
        copied.compare(tables, lambda rows: bars.advance(comparing, rows))
    return tables
