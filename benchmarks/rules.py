"""What the rules of memory formation find in conversations, to be judged by eye: `python -m benchmarks.rules FOLDER`.

FOLDER holds `conversations.ndjson`, lines of the import format. With `--role ASSISTANT` the other speakers are taken
for the users, which doubles what there is to judge.
"""

import argparse
import json
from pathlib import Path
from time import process_time

from resolvers.rules import claims_in


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--role", default="USER")
    given = arguments.parse_args()
    with (given.folder / "conversations.ndjson").open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    said = [line for line in lines if line["type"] == "message" and line["role"] == given.role]
    started = process_time()
    found = [(line, claim) for line in said for claim in claims_in(line["content"])]
    spent = process_time() - started
    for line, claim in found:
        print(f"{line['sessionId']}  {claim.kind}  {claim.subject or '-'}  {claim.content}")
    print(f"{len(found)} statements in {len(said)} messages; {spent / len(said) * 1e6:.1f} µs CPU a message")


if __name__ == "__main__":
    main()
