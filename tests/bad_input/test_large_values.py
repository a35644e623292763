"""Too much of something: keys, texts, batches, nesting, and numbers that JSON has not."""

import json
import math
import re
from typing import Any

import pytest

from tests.bad_input.targets import MEBIBYTE, MUTATIONS, OPERATIONS, Target
from tests.documents import ERRORS


def test_keys_have_at_most_512_characters(target: Target) -> None:
    for key in ("", "x" * 513, "🦆" * 513, "x" * MEBIBYTE):
        wanted = {"INVALID"} if not key else {"INVALID", "TOO_LARGE"}
        message = {"role": "USER", "content": "c", "messageId": key}
        for mutation, fields, path in (
            ("createUser", {"userId": key}, ["userId"]),
            ("createSession", {"sessionId": key}, ["sessionId"]),
            ("addMessages", {"sessionId": key, "messages": [{"role": "USER", "content": "c"}]}, ["sessionId"]),
            ("addMessages", {"sessionId": "here", "messages": [message]}, ["messages", "0", "messageId"]),
        ):
            (error, *_) = target.user_errors(mutation, **fields)
            assert error[0] in wanted
            assert error[1] == path
    target.mutate("createUser", userId="🦆" * 512)
    assert target.ask(OPERATIONS["user"], {"x": "🦆" * 512}) == {"data": {"user": {"userId": "🦆" * 512}}}


def test_too_large_texts_are_refused(target: Target) -> None:
    large, huge = "x" * (64 * 1024 + 1), "x" * (MEBIBYTE + 1)
    message = {"role": "USER", "content": "c"}
    for mutation, fields, path in (
        ("createUser", {"about": large}, ["about"]),
        ("createSession", {"situation": large}, ["situation"]),
        ("createAgent", {"name": "n", "instructions": large}, ["instructions"]),
        ("createUser", {"metadata": {"a": large}}, ["metadata"]),
        ("createUser", {"metadata": {large: 1}}, ["metadata"]),
        ("createUser", {"metadata": {"a": [0] * 40_000}}, ["metadata"]),
        (
            "addMessages",
            {"sessionId": "here", "messages": [message, message | {"content": huge}]},
            ["messages", "1", "content"],
        ),
        ("addMessages", {"sessionId": "here", "messages": [message | {"parts": [large]}]}, ["messages", "0", "parts"]),
        (
            "addMessages",
            {"sessionId": "here", "messages": [message | {"metadata": {"a": large}}]},
            ["messages", "0", "metadata"],
        ),
        ("updateMessage", {"id": target.message, "content": huge}, ["content"]),
        ("updateMessage", {"id": target.message, "metadata": {"a": large}}, ["metadata"]),
        ("createDocument", {"userId": "here", "title": "t", "content": huge}, ["content"]),
    ):
        assert ("TOO_LARGE", path) in target.user_errors(mutation, **fields)


def test_a_batch_has_one_to_one_hundred_messages(target: Target) -> None:
    message = {"role": "USER", "content": "c"}
    for count in (0, 101, 1000):
        (error, *_) = target.user_errors("addMessages", sessionId="batches", messages=[message] * count)
        assert error[0] in ({"INVALID"} if count == 0 else {"TOO_LARGE", "INVALID"})
        assert error[1] == ["messages"]
    assert target.ask(OPERATIONS["session"], {"x": "batches"}) == {"data": {"session": None}}
    target.mutate("addMessages", sessionId="batches", messages=[message] * 100, formMemories=False)


def test_at_most_one_hundred_ids_are_looked_up(target: Target) -> None:
    assert target.codes(OPERATIONS["nodes"], {"x": [target.user] * 101}) == {"BAD_USER_INPUT"}
    assert target.ask(OPERATIONS["nodes"], {"x": [target.user] * 100}) == {
        "data": {"nodes": [{"id": target.user}] * 100}
    }
    assert target.ask(OPERATIONS["nodes"], {"x": []}) == {"data": {"nodes": []}}


def test_deep_json_in_variables_is_refused_clearly(target: Target) -> None:
    for depth in (33, 100, 900, 5000):
        metadata: Any = "[" * (depth - 1) + "]" * (depth - 1)
        for text in (f'{{"a": {metadata}}}', '{"a":' * depth + "1" + "}" * depth):
            for name in ("createUser", "updateUser"):
                body = (
                    f'{{"query": "{MUTATIONS[name]}", "variables": {{"x": {{"userId": "here", "metadata": {text}}}}}}}'
                )
                answer = target.send(body.encode()).json()
                errors = answer.get("errors") or answer["data"][name]["userErrors"]
                assert errors, depth
                if depth == 33 and "data" in answer:
                    assert [(error["code"], error["path"]) for error in errors] == [("TOO_LARGE", ["metadata"])]
            for name in ("users", "sessions", "messages", "memories", "documents"):
                body = f'{{"query": "{OPERATIONS[name]}", "variables": {{"x": {{"metadata": {text}}}}}}}'
                if '"' not in OPERATIONS[name]:
                    target.send(body.encode())


def test_deep_json_in_a_document_is_refused_clearly(target: Target) -> None:
    for depth in (33, 100, 900, 5000, 100_000):
        for literal in ("{a: " * depth + "1" + "}" * depth, "{a: " + "[" * depth + "]" * depth + "}", "[" * depth):
            document = f"mutation {{ createUser(input: {{metadata: {literal}}}) {{ user {{ id }} {ERRORS} }} }}"
            answer = target.ask(document)
            assert answer.get("errors") or answer["data"]["createUser"]["userErrors"], depth
            target.ask(f"{{ users(filter: {{metadata: {literal}}}) {{ totalCount }} }}")


NUMBERS = [
    *("1e400", "-1e400", "1e-400", "1E+2", "-0", "-0.0", "1.0", "1e5", "123456789.123456789", "0." + "1" * 5000),
    *(f"{2**53 + 1}", f"{2**63}", f"{-(2**63) - 1}", f"{2**64}", f"{10**30}", f"{10**400}"),
    *("1" * 5000, "-" + "9" * 20_000, "1e" + "9" * 1000),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
def test_a_number_in_metadata_is_kept_as_it_is_or_refused_clearly(target: Target, number: str) -> None:
    mutation = f"mutation ($m: JSON) {{ createUser(input: {{metadata: $m}}) {{ user {{ metadata }} {ERRORS} }} }}"
    body = f'{{"query": "{mutation}", "variables": {{"m": {{"n": [{number}]}}}}}}'.encode()
    literal = mutation.replace("($m: JSON)", "").replace("$m", f"{{n: [{number}]}}")
    for response in (target.send(body), target.send({"query": literal})):
        answer = response.json()
        if answer.get("errors") or answer["data"]["createUser"]["userErrors"]:
            continue
        # The number as it came back, compared without a limit on digits and without Python's floats in between.
        (given,) = re.findall(r'"n":\s*\[\s*([^\]\s]+)\s*\]', response.text)
        assert same_number(given, number), f"{number[:40]} came back as {given[:40]}"
    for name in ("users", "messages", "memories", "documents"):
        body = json.dumps({"query": OPERATIONS[name], "variables": {"x": {"metadata": {"n": ["@"]}}}})
        target.send(body.replace('"@"', number).encode())


def same_number(one: str, other: str) -> bool:
    """Integers are the same exactly, and fractions are when they are the same double."""
    if re.fullmatch(r"-?\d+", one) and re.fullmatch(r"-?\d+", other):
        return one.removeprefix("-") == other.removeprefix("-") and (one[0] == other[0] or one in ("0", "-0"))
    return math.isfinite(float(one)) and float(one) == float(other)


def test_numbers_that_json_has_not_are_not_taken_from_documents_either(target: Target) -> None:
    for literal in ("1e400", "-1e400", "1e99999"):
        fields = f'userId: "here", kind: FACT, content: "c", rating: {literal}'
        document = f"mutation {{ createMemory(input: {{{fields}}}) {{ {ERRORS} }} }}"
        answer = target.ask(document)
        assert answer.get("errors") or answer["data"]["createMemory"]["userErrors"]
