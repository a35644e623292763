"""Query plans of statements, and the steps in them that would cost more the more is stored."""

import contextlib
import re
from pathlib import Path

from models.sqlite.database import connect


def plans(path: Path, texts: list[str]) -> dict[str, list[str]]:
    """The query plan of each statement."""
    found: dict[str, list[str]] = {}
    with contextlib.closing(connect(path)) as connection:
        for text in dict.fromkeys(texts):
            names = set(re.findall(r":(\w+)", text))
            values = {name: "[]" if name == "parents" or text.count(f"json_each(:{name})") else None for name in names}
            rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
            found[text] = [row[3] for row in rows]
    return found


def scans(plan: list[str]) -> list[str]:
    """The steps that go through the whole of a table or of an index; lists that were bound as JSON don't count, nor do
    the rows of a subquery, which has steps of its own."""
    subqueries = {step.removeprefix("CO-ROUTINE ") for step in plan if step.startswith("CO-ROUTINE ")}
    return [
        step
        for step in plan
        if step.startswith("SCAN")
        and "VIRTUAL TABLE" not in step
        and "CONSTANT ROW" not in step
        and step.removeprefix("SCAN ") not in subqueries
    ]


def sorts(plan: list[str]) -> list[str]:
    return [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step and "LAST TERM" not in step]


def walks(plan: list[str]) -> list[str]:
    """The steps that go through the rows of a whole project, or of a range of it: those of an owner are to be found by
    the owner's index. The index of words has one row for each project."""
    return [step for step in plan if re.search(r"\(project=\?(?! AND \w+=\?)", step) and "indexed_projects" not in step]
