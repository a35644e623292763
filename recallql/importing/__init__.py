"""Imports of other systems' memory: translators of their files into lines of `docs/import-export.md`.

A translator is a generator of lines that knows nothing of the database: `recallql/commands/archive.py` checks and
imports what it yields, as if somebody had written these lines into a file.

translating.py    turns a source into a file of lines
reading.py        JSON and JSON lines of any size, one value at a time
source.py         what a translator reads, and what it leaves out
openai.py, mem0.py, chatgpt.py, chats.py, zep.py, julep.py, langgraph.py, honcho.py, letta.py   a system each
"""
