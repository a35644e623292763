"""Texts, ids and media in a message's `parts` and `tool_calls`, in the formats of model APIs.

A block's type is its `type` or, without one, its key: `{"toolUse": {…}}` is a block of type `tool_use`. Text counts as
the speaker's own (plain text), as said (any other text, refusals, transcripts) or as an aside: reasoning, tool calls,
tool results, texts of attached files.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import orjson

from models.values import is_list, is_object

DEEPEST = 32
"""Levels of nested objects and lists that are read."""

LONGEST = 64 * 1024
"""Most characters read of the texts of one kind."""

MEDIA_TOKENS = {"image": 1000, "audio": 500, "video": 5000, "file": 2000}
"""Estimated tokens of an image, a sound, a video and a file without text, of any size; clients may give their own."""

LOW_DETAIL = 85
"""Tokens of an image with `detail: "low"`."""


class Voice(IntEnum):
    """The ways in which a text counts; a text within an aside is an aside too."""

    OWN = 0
    SAID = 1
    ASIDE = 2


@dataclass
class Inside:
    """The content of parts or tool calls.

    `own` are those of the `said` that are plain text. `calls` are the ids of calls that wait for an answer, `answers`
    those of the calls that are answered. `sent` are the calls as JSON and `media` the tokens of non-text content: a
    prompt has these, `said` and `aside`; `called` are the calls as searchable texts.
    """

    own: list[str] = field(default_factory=list[str])
    said: list[str] = field(default_factory=list[str])
    aside: list[str] = field(default_factory=list[str])
    called: list[str] = field(default_factory=list[str])
    sent: list[str] = field(default_factory=list[str])
    calls: list[str] = field(default_factory=list[str])
    answers: list[str] = field(default_factory=list[str])
    media: int = 0


_PLAIN = frozenset(("", "text", "input_text", "message"))
_THOUGHTS = frozenset(
    ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "reasoning_content", "summary_text", "thought")
)
_MEDIA = frozenset(
    (
        *("image", "image_url", "image_file", "input_image", "output_image", "image_generation_call"),
        *("computer_screenshot", "screenshot", "audio", "audio_url", "input_audio", "output_audio"),
        *("video", "video_url", "input_video", "file", "file_url", "input_file", "document", "document_url"),
        *("media", "inline_data", "file_data", "text_plain", "container_upload", "resource"),
    )
)
_ANSWERED_INSIDE = frozenset(("mcp_call", "code_interpreter_call", "file_search_call", "web_search_call"))
_OTHER_CALLS = frozenset(
    ("function", "custom", "tool_call_chunk", "tool_invocation", "dynamic_tool", "executable_code")
)

_SAID_IN = ("text", "value", "refusal", "transcript", "content", "parts", "children", "elements")
_FOUND_IN = (
    *_SAID_IN,
    *(
        "thinking",
        "reasoning",
        "reasoning_text",
        "reasoningText",
        "summary",
        "output",
        "outputs",
        "result",
        "results",
        "response",
    ),
    *("title", "stdout", "stderr", "logs", "code", "json", "error"),
)
"""Fields with the texts of a block: of any block, and of an aside."""

_ENVELOPE = frozenset(
    (
        *("type", "id", "call_id", "tool_call_id", "tool_use_id", "toolUseId", "toolCallId", "name", "role", "status"),
        *("is_error", "data", "signature", "encrypted_content", "url", "uri", "cache_control"),
    )
)
"""Fields without text, in a block that has none of the fields above."""

_ARGUMENTS = ("arguments", "input", "args", "parameters", "action", "code", "queries", "query")
_OUTCOMES = ("output", "outputs", "result", "results")
_CALL_IDS = ("call_id", "tool_call_id", "toolCallId", "toolUseId", "id")
_ANSWERED_IDS = ("tool_use_id", "toolUseId", "call_id", "tool_call_id", "toolCallId", "id")

_camel = re.compile("(?<=[a-z])(?=[A-Z])")
_blob = re.compile(r"[A-Za-z0-9+/=_\-\s]{200,}")


def read_parts(kept: str) -> Inside:
    """Reads the `parts` of a message, given as stored JSON text."""
    reader = _Reader()
    reader.read(orjson.loads(kept), Voice.OWN, 1)
    return reader.found


def read_calls(kept: str) -> Inside:
    """Reads the `tool_calls` of a message, given as stored JSON text."""
    reader = _Reader()
    calls = orjson.loads(kept)
    for call in calls if is_list(calls) else [calls]:
        if is_object(call):
            reader.read_call(*_unwrapped(call))
    return reader.found


def texts_beside(content: str, parts: Inside | None, calls: Inside | None) -> tuple[str | None, str | None]:
    """The values of `messages.parts_text` and `messages.aside`: the text said besides the content, and the asides."""
    said = beside(content, parts.said) if parts else []
    asides = [*calls.called, *calls.aside] if calls else []
    if parts:
        asides += parts.aside if has_calls_of(calls, parts) else [*parts.called, *parts.aside]
    return _joined(said), _joined(asides)


def has_calls_of(calls: Inside | None, parts: Inside) -> bool:
    """True if the tool calls equal those in the parts: some clients write them in both places."""
    return calls is not None and len(parts.called) == len(parts.calls) and set(parts.calls) <= set(calls.calls)


def beside(content: str, said: list[str]) -> list[str]:
    """Texts of parts without those that repeat the content: some clients write it in both places."""
    whole = content.strip()
    if whole and whole in ("".join(said).strip(), "\n".join(said).strip()):
        return []
    return [text for text in said if text.strip() != whole]


def _joined(texts: Iterable[str]) -> str | None:
    return "\n".join(texts)[:LONGEST] or None


def _kind(name: object) -> str:
    """A type in snake_case, whatever the case in its API."""
    return _camel.sub("_", name).lower().replace("-", "_") if isinstance(name, str) else ""


def _is_call(kind: str) -> bool:
    return kind.endswith(("tool_use", "_call")) or kind in _OTHER_CALLS


def _is_answer(kind: str) -> bool:
    return kind.endswith(("_result", "_output", "_response"))


def _is_known(kind: str) -> bool:
    return kind in _MEDIA or kind in _THOUGHTS or _is_call(kind) or _is_answer(kind)


def _unwrapped(block: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The type of a block and the block itself, which may be the value of its type."""
    kind = _kind(block.get("type"))
    if kind:
        if _is_call(kind) or _is_answer(kind):
            # Some APIs have both: `{"type": "tool-invocation", "toolInvocation": {…}}`.
            inner = next((block[name] for name in block if _kind(name) == kind), None)
            return kind, {**block, **inner} if isinstance(inner, dict) else block
        return kind, block
    for name, inner in block.items():
        if isinstance(inner, dict) and _is_known(_kind(name)):
            return _kind(name), {**{id: block[id] for id in _CALL_IDS if id in block}, **inner}
    return kind, block


def _is_wrapper(block: Mapping[str, Any]) -> bool:
    """True if a block without a type only contains other blocks, or a text."""
    return isinstance(block.get("content"), list) or block.keys() - _ENVELOPE <= {"text", "json"}


def _first(block: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((block[name] for name in names if block.get(name) is not None), None)


def _is_blob(text: str) -> bool:
    """True for encoded bytes, which contain no words."""
    if text.startswith("data:") and ";base64," in text[:200]:
        return True
    return _blob.fullmatch(text) is not None and min(map(len, text.split()[:-1]), default=len(text)) >= 60


def _plain(value: Any, level: int = 1) -> str:
    """A JSON value as words: a tool's arguments or result."""
    if isinstance(value, str):
        return "" if _is_blob(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if level > DEEPEST or value is None:
        return ""
    if is_list(value):
        return ", ".join(filter(None, (_plain(item, level + 1) for item in value)))
    return ", ".join(f"{name}: {_plain(item, level + 1)}" for name, item in value.items())


def _spelled(text: str) -> str:
    """A text; if it is JSON, its words, since characters may be escaped in JSON."""
    if text[:1] in ("{", "["):
        try:
            return _plain(orjson.loads(text))
        except orjson.JSONDecodeError:
            pass
    return "" if _is_blob(text) else text


class _Reader:
    def __init__(self) -> None:
        self.found = Inside()

    def read(self, value: Any, voice: Voice, level: int) -> None:
        if isinstance(value, str):
            self._keep(value, voice)
        elif level > DEEPEST:
            return
        elif is_list(value):
            for item in value:
                self.read(item, voice, level + 1)
        elif is_object(value):
            self._read_block(value, voice, level + 1)
        elif voice is Voice.ASIDE:
            self._keep(_plain(value), voice)

    def _keep(self, text: str, voice: Voice) -> None:
        if voice is Voice.ASIDE:
            text = _spelled(text)
        if not text.strip():
            return
        if voice is Voice.ASIDE:
            self.found.aside.append(text)
            return
        self.found.said.append(text)
        if voice is Voice.OWN:
            self.found.own.append(text)

    def _read_block(self, block: Mapping[str, Any], voice: Voice, level: int) -> None:
        kind, block = _unwrapped(block)
        if kind in _MEDIA:
            self._read_medium(kind, block, level)
        elif _is_answer(kind):
            self.read_answer(block, level)
        elif _is_call(kind) or (kind.startswith("tool_") and "input" in block):
            self.read_call(kind, block, level)
        elif kind in _THOUGHTS or block.get("thought") is True:
            self._read_fields(block, Voice.ASIDE, level)
        elif voice is Voice.ASIDE and not kind and not _is_wrapper(block):
            self._keep(_plain(block, level), voice)
        else:
            relayed = kind not in _PLAIN or _kind(block.get("role")) not in ("", "user", "human")
            self._read_fields(block, max(voice, Voice.SAID) if relayed else voice, level)

    def _read_fields(self, block: Mapping[str, Any], voice: Voice, level: int) -> None:
        names = _FOUND_IN if voice is Voice.ASIDE else _SAID_IN
        there = [block[name] for name in names if name in block]
        for value in there:
            self.read(value, voice, level)
        if voice is Voice.ASIDE and not there:
            self._keep(_plain({name: block[name] for name in block if name not in _ENVELOPE}, level), voice)

    def _read_medium(self, kind: str, block: Mapping[str, Any], level: int) -> None:
        before = len(self.found.aside)
        inner = block.get(kind)
        for each in (block, inner) if is_object(inner) else (block,):
            self.read(each.get("transcript"), Voice.SAID, level)
            for text in (each.get("text"), each.get("content"), _source_text(each.get("source"))):
                self.read(text, Voice.ASIDE, level)
        if len(self.found.aside) == before:
            self.found.media += _media_tokens(kind, block)
        elif isinstance(block.get("title"), str):
            self._keep(block["title"], Voice.ASIDE)

    def read_call(self, kind: str, block: Mapping[str, Any], level: int = 1) -> None:
        inner = next((block[name] for name in ("function", "custom") if isinstance(block.get(name), dict)), block)
        name, given = _first(inner, ("name", "toolName", "tool_name")), _first(inner, _ARGUMENTS)
        name = name if isinstance(name, str) else kind
        words = _spelled(given) if isinstance(given, str) else _plain(given, level)
        self.found.called.append(f"{name} {words}".rstrip())
        self.found.sent.append(orjson.dumps([name, given]).decode())
        own = _first(block, _CALL_IDS)
        outcomes = [block[name] for name in _OUTCOMES if block.get(name) is not None]
        for outcome in outcomes:
            self.read(outcome, Voice.ASIDE, level)
        if isinstance(own, str) and not outcomes and kind not in _ANSWERED_INSIDE:
            self.found.calls.append(own)

    def read_answer(self, block: Mapping[str, Any], level: int) -> None:
        if isinstance(own := _first(block, _ANSWERED_IDS), str):
            self.found.answers.append(own)
        self._read_fields(block, Voice.ASIDE, level)


def _source_text(source: Any) -> Any:
    """The text of a file that is given as text."""
    if not is_object(source):
        return None
    return source.get("data") if source.get("type") == "text" else source.get("text") or source.get("content")


def _media_tokens(kind: str, block: Mapping[str, Any]) -> int:
    inner = next((block[name] for name in (kind, "image_url") if isinstance(block.get(name), dict)), block)
    if "low" in (block.get("detail"), inner.get("detail")):
        return LOW_DETAIL
    mime = _first(inner, ("mime_type", "mimeType", "media_type", "mediaType"))
    named = f"{kind} {mime}" if isinstance(mime, str) else kind.replace("screenshot", "image")
    return next((tokens for name, tokens in MEDIA_TOKENS.items() if name in named), MEDIA_TOKENS["file"])
