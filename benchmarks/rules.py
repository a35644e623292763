"""Lists the statements that the rules of memory formation find, and measures their share of the later questions.

`python -m benchmarks.rules FOLDER` reads `conversations.ndjson` there, lines of the import format, and prints each
statement that rules find. With `questions.ndjson` it also counts the turns that answer questions, and those of them
with a statement. `--users` selects some users, and `--roles USER ASSISTANT` includes those who speak as ASSISTANT.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from time import process_time
from typing import Any

from resolvers.formation.rules import claims_in


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--roles", nargs="+", default=["USER"])
    arguments.add_argument("--users", nargs="+", help="the ids of the users whose conversations are read; default: all")
    given = arguments.parse_args()
    lines = _lines(given.folder / "conversations.ndjson")
    owners = {line["sessionId"]: line["userId"] for line in lines if line["type"] == "session"}
    wanted = given.users or set(owners.values())
    said = [line for line in lines if line["type"] == "message" and line["role"] in given.roles]
    said = [line for line in said if owners[line["sessionId"]] in wanted]
    for line in said:
        claims_in(line["content"])  # once before, so that patterns are compiled
    started = process_time()
    found = [(line, claims_in(line["content"])) for line in said]
    spent = process_time() - started
    for line, claims in found:
        for claim in claims:
            print(f"{line['sessionId']}  {claim.kind}  {claim.subject or '-'}  {claim.content}")
    count = sum(len(claims) for _, claims in found)
    print(f"{count} statements in {len(said)} messages; {spent / len(said) * 1e6:.1f} µs CPU a message")
    if (given.folder / "questions.ndjson").exists():
        stated = {(owners[line["sessionId"]], line["messageId"]): bool(claims) for line, claims in found}
        _count_evidence(_lines(given.folder / "questions.ndjson"), stated)


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _count_evidence(questions: Iterable[dict[str, Any]], stated: dict[tuple[str, str], bool]) -> None:
    evidence = {
        (question["userId"], str(turn))
        for question in questions
        if question["category"] != "adversarial"
        for turn in question["evidence"]
    }
    known = [stated[turn] for turn in evidence if turn in stated]
    others = [has for turn, has in stated.items() if turn not in evidence]
    print(
        f"{sum(known)} of {len(known)} turns on which answers rest have a statement ({sum(known) / len(known):.1%}), "
        f"and {sum(others)} of {len(others)} other turns ({sum(others) / len(others):.1%})"
    )


if __name__ == "__main__":
    main()
