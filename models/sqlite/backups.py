"""The backup copies of a file that its migrations leave beside it."""

import sqlite3
import time
from contextlib import closing
from glob import escape
from pathlib import Path


def back_up(path: Path, revision: str) -> None:
    """Copies the file before a migration."""
    target = path.with_name(f"{path.name}.backup-{revision}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def backups_of(path: Path) -> list[Path]:
    """The copies of this file, oldest revision first."""
    return sorted(path.parent.glob(f"{escape(path.name)}.backup-*"))


def remove_backups(path: Path, older_than: float) -> list[str]:
    """Removes the copies of this file that are at least this many seconds old; returns their names."""
    old = [backup for backup in backups_of(path) if backup.stat().st_mtime < time.time() - older_than]
    for backup in old:
        backup.unlink(missing_ok=True)
    return [backup.name for backup in old]
