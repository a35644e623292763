"""Measures the content of contexts and summaries: `python -m benchmarks.contexts FOLDER…`.

A folder is a data set as for `benchmarks.recall`. A turn is evidence if it answers any question of the data set, and
filler if it has at most three words that are neither common nor those of greetings, thanks and praise; this list is
independent of the server's. `--show N` prints N contexts to be read as a prompt's author would.
"""

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.process import Server
from benchmarks.recall import SETS, Question, serving
from models.words import words
from resolvers.formation.extracts import choose, sentences_of
from resolvers.search.english import STOP_WORDS

BUDGETS = (1000, 2000)
FIELDS = "text tokenCount memories { content } recalled { messageId content session { user { userId } } }"
OF_USER = f"""query OfUser($query: String!, $userId: String!, $budget: Int!) {{
  user(userId: $userId) {{ context(query: $query, maxTokens: $budget) {{ {FIELDS} }} }} }}"""
OF_SESSION = f"""query OfSession($sessionId: String!, $budget: Int!) {{
  session(sessionId: $sessionId) {{ context(maxTokens: $budget, lastMessages: 10) {{ {FIELDS} }} }} }}"""
_small_talk = """
    hey hi hello wow oh ah yeah yes yep no nope sure ok okay thanks thank appreciate appreciated bye goodbye see
    ya later soon talk chat care take great good awesome amazing cool nice wonderful fantastic perfect lovely
    beautiful love loved glad happy excited proud sounds sound really totally definitely absolutely exactly agree
    right true well luck enjoy fun best keep going support means mean lot let know hope day night weekend welcome
    problem friend friends guys inspiring incredible feel feeling hear hearing thing things much always wait look
    looking forward way think like get got make makes
"""
SMALL_TALK = STOP_WORDS | set(_small_talk.split())


def is_filler(text: str, names: set[str]) -> bool:
    plain = re.sub(r"\[[^\]]*\]", " ", text)
    said = [word for word in words(plain) if word not in SMALL_TALK and word not in names]
    return len(said) <= 3 and not any(character.isdigit() for character in text) and "[" not in text


def lines_of(
    data: Path,
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str], set[tuple[str, str]], list[Question]]:
    """The messages of each session, its user, the turns that are evidence, and the questions."""
    sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    owners: dict[str, str] = {}
    for line in (data / "conversations.ndjson").open(encoding="utf-8"):
        row = json.loads(line)
        if row["type"] == "session":
            owners[row["sessionId"]] = row["userId"]
        elif row["type"] == "message":
            sessions[row["sessionId"]].append(row)
    questions = [json.loads(line) for line in (data / "questions.ndjson").open(encoding="utf-8")]
    asked = [question for question in questions if question["category"] != "adversarial" and question["evidence"]]
    evidence = {(question["userId"], id) for question in asked for id in question["evidence"]}
    return sessions, owners, evidence, asked


def summaries(data: Path) -> str:
    """For each session the share of evidence among the turns chosen for extractive summaries, compared with chance."""
    sessions, owners, evidence, _ = lines_of(data)
    chosen, every = list[bool](), list[bool]()
    for session, rows in sessions.items():
        lines = [
            line._replace(is_machine=row["role"] == "ASSISTANT" and "name" not in row)
            for place, row in enumerate(rows)
            for line in sentences_of(place, row["content"])
        ]
        own = [(owners[session], row["messageId"]) in evidence for row in rows]
        chosen += [own[line.sequence] for line in choose(lines, len(rows))]
        every += own
    return f"summaries: {len(chosen)} turns chosen, {mean(chosen):.3f} are evidence; of all turns {mean(every):.3f}"


def contexts(data: Path, server: Server, shown: int) -> Iterator[str]:
    sessions, owners, evidence, asked = lines_of(data)
    names = {word for rows in sessions.values() for row in rows for word in words(row.get("name") or "")}
    places = {(owners[session], row["messageId"]) for session, rows in sessions.items() for row in rows}
    share = len(evidence & places) / len(places)
    yield f"{data.name}: {len(asked)} questions, of all turns {share:.3f} are evidence"

    def figures(found: list[dict[str, Any]], users: list[str]) -> str:
        quoted = [(user, turn) for user, context in zip(users, found, strict=True) for turn in context["recalled"]]
        fillers = mean(is_filler(turn["content"], names) for _, turn in quoted) if quoted else 0
        hits = mean((user, turn["messageId"]) in evidence for user, turn in quoted) if quoted else 0
        tokens = mean(context["tokenCount"] for context in found)
        return f"filler {fillers:.3f}  evidence {hits:.3f}  quoted {len(quoted) / len(found):.1f}  tokens {tokens:.0f}"

    for budget in BUDGETS:
        variables = [{"query": q["question"], "userId": q["userId"], "budget": budget} for q in asked]
        start = server.cpu_seconds()
        found = [
            server.ask({"operationName": "OfUser", "query": OF_USER, "variables": one})["user"]["context"]
            for one in variables
        ]
        spent = (server.cpu_seconds() - start) / len(found) * 1000
        inside = [{m["messageId"] for m in context["recalled"] if m["content"] in context["text"]} for context in found]
        wanted = [set(question["evidence"]) for question in asked]
        covered = mean(own <= there for own, there in zip(wanted, inside, strict=True))
        of_it = mean(len(own & there) / len(own) for own, there in zip(wanted, inside, strict=True))
        users = [question["userId"] for question in asked]
        yield f"question, {budget}: coverage {covered:.3f}  share {of_it:.3f}  {figures(found, users)}  ms {spent:.1f}"
        if budget == BUDGETS[0]:
            for place in random.Random(7).sample(range(len(found)), shown):
                yield f"\n=== {asked[place]['question']}\n{found[place]['text']}\n"
    ids = list(sessions)
    found = [
        server.ask({"operationName": "OfSession", "query": OF_SESSION, "variables": {"sessionId": id, "budget": 2000}})[
            "session"
        ]["context"]
        for id in ids
    ]
    yield f"end of a session, no query, 2000: {figures(found, [owners[id] for id in ids])}"
    for place in random.Random(7).sample(range(len(ids)), shown):
        last = [row["content"] for row in sessions[ids[place]][-2:]]
        yield f"\n=== {ids[place]}: {last}\n{found[place]['text'][:6000]}\n"


def main(options: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contexts", description=__doc__)
    parser.add_argument("data", nargs="*", type=Path, help="folders of data sets")
    parser.add_argument("--show", type=int, default=0, help="contexts to print")
    given = parser.parse_args(options)
    for data in given.data or [folder for folder in SETS if folder.exists()]:
        with serving(data, {"RECALLQL_EMBEDDINGS": "off"}) as server:
            for line in contexts(data, server, given.show):
                print(line, flush=True)
        print(summaries(data) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
