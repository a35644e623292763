"""The migrations of a folder, which are Python: loaded once in a process, however many databases it opens."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory


def config_of(folder: Path) -> Config:
    """The settings with which Alembic runs the migrations of this folder."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def revisions(folder: Path) -> ScriptDirectory:
    """The migrations of this folder as they are now."""
    return ScriptDirectory.from_config(config_of(folder))
