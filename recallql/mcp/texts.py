"""The results of tools as texts that a language model reads. Long ones are shortened, and say how to get the rest."""

from recallql.mcp.results import (
    Added,
    Data,
    Forgotten,
    Found,
    ListedSession,
    ListedSessions,
    Packed,
    ReadMessage,
    ReadSession,
    Recalled,
    Remembered,
)

ITEM_CHARACTERS = 4_000
"""The characters of one message, memory or passage; the structured result has all of them."""

ALL_CHARACTERS = 60_000
"""The characters of all items of a text together."""


def of_added(added: Added) -> str:
    messages = added["messages"]
    return f"Stored {_counted(len(messages), 'message')} in session {added['session_id']}."


def of_remembered(memory: Remembered) -> str:
    return f"Remembered as {memory['kind']}, id {memory['id']}."


def of_forgotten(forgotten: Forgotten) -> str:
    return f"Forgot the memory {forgotten['forgotten_id']}."


def of_recalled(recalled: Recalled) -> str:
    results = recalled["results"]
    if not results:
        return "Nothing was found. Try other words, or leave `session_id` out."
    more = "; there are more: give a higher `limit`" if recalled["more"] else ""
    items = [f"{number}. {_head(each)}\n{_shortened(each['content'])}" for number, each in enumerate(results, 1)]
    return f"{_counted(len(results), 'result')}, best first{more}.\n\n{_joined(items)}"


def of_packed(packed: Packed) -> str:
    dropped = packed["dropped_messages"]
    left_out = f"\n\n({_counted(dropped, 'older message')} did not fit into {packed['max_tokens']} tokens.)"
    # They are within the budget that was asked for.
    said = "\n\n".join(_said(message, len(message["content"])) for message in packed["messages"])
    parts = (packed["text"], f"## The conversation\n\n{said}" if said else "")
    return ("\n\n".join(filter(None, parts)) or "Nothing is known yet.") + (left_out if dropped else "")


def of_sessions(listed: ListedSessions) -> str:
    if not listed["sessions"]:
        return "There are no sessions."
    more = f"\n\nThere are more: call again with `after` {listed['next']}." if "next" in listed else ""
    return "\n".join(f"- {_session(each)}" for each in listed["sessions"]) + more


def of_session(session: ReadSession) -> str:
    lines = [f"Session {_session(session)}"]
    if "situation" in session:
        lines.append(f"Situation: {_shortened(session['situation'])}")
    if "summary" in session:
        lines.append(f"Summary: {_shortened(session['summary'])}")
    if "earlier" in session:
        lines.append(f"There are earlier messages: call again with `before` {session['earlier']}.")
    # If there are too many, the newest are those to keep.
    kept: list[str] = []
    room = ALL_CHARACTERS
    for message in reversed(session["messages"]):
        said = f"#{message['sequence']} {_said(message)}"
        room -= len(said)
        if room < 0 and kept:
            left_out = _counted(len(session["messages"]) - len(kept), "message")
            kept.append(f"({left_out} before these did not fit; ask with a lower `last`, and page with `before`.)")
            break
        kept.append(said)
    return "\n\n".join(["\n".join(lines), *reversed(kept)])


def of_user(user: Data) -> str:
    """A user as a page in Markdown."""
    parts = [f"# {user['name'] or user['userId']}", f"userId: {user['userId']}"]
    if user["about"]:
        parts.append(_shortened(user["about"]))
    if user["summary"]:
        parts.append(f"## Summary\n\n{_shortened(user['summary']['content'])}")
    if memories := user["memories"]["nodes"]:
        lines = "\n".join(f"- {each['kind']} ({each['id']}): {_shortened(each['content'])}" for each in memories)
        more = "\n- …: there are more; ask `recall`" if user["memories"]["pageInfo"]["hasNextPage"] else ""
        parts.append(f"## What is remembered, newest first\n\n{lines}{more}")
    return "\n\n".join(parts)


def _head(each: Found) -> str:
    """What a result is: its type, and whose it is."""
    words: list[str] = [each["type"]]
    if "kind" in each:
        words.append(each["kind"])
    if "role" in each:
        words.append(f"by {each['role']}")
    if "name" in each:
        words.append(f"({each['name']})")
    if "title" in each:
        words.append(f"{each['title']!r}")
    if "about" in each:
        words.append(f"about {each['about']}")
    places = [f"user {each['user_id']}"] if "user_id" in each else []
    if "session_id" in each:
        place = f" #{each['sequence']}" if "sequence" in each else ""
        places.append(f"session {each['session_id']}{place}")
    valid = [f"from {_time(each['valid_from'])}"] if "valid_from" in each else []
    valid += [f"until {_time(each['valid_until'])}"] if "valid_until" in each else []
    places += [f"true {' '.join(valid)}"] if valid else []
    # Only a memory's id is of use for a model.
    id = [f"id {each['id']}"] if each["type"] == "memory" else []
    return ", ".join([" ".join(words), *places, _time(each["created_at"]), *id])


def _session(session: ListedSession | ReadSession) -> str:
    title = f" {_shortened(session['title'], 200)!r}" if "title" in session else ""
    user = f", user {session['user_id']}" if "user_id" in session else ""
    ended = f", ended {_time(session['ended_at'])}" if "ended_at" in session else ""
    return f"{session['session_id']}{title}{user}, last active {_time(session['last_activity_at'])}{ended}"


def _said(message: ReadMessage, most: int = ITEM_CHARACTERS) -> str:
    name = f" ({message['name']})" if "name" in message else ""
    return f"{message['role']}{name}, {_time(message['created_at'])}:\n{_shortened(message['content'], most)}"


def _joined(items: list[str]) -> str:
    """Items one below the other, as many as there is room for, but at least one."""
    kept: list[str] = []
    room = ALL_CHARACTERS
    for item in items:
        room -= len(item)
        if room < 0 and kept:
            kept.append(f"({_counted(len(items) - len(kept), 'result')} did not fit; the structured result has all.)")
            break
        kept.append(item)
    return "\n\n".join(kept)


def _shortened(text: str, most: int = ITEM_CHARACTERS) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]} [… {len(text) - most} more characters, which the structured result and the API have]"


def _time(time: str) -> str:
    """A time to the minute, as in `2026-01-31 12:00 UTC`."""
    return f"{time[:10]} {time[11:16]} UTC"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
