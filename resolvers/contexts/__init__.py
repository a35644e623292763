"""Contexts: the text and messages for a prompt, of a session or of a user.

contexts.py                    the operation
windows.py, exchanges.py       the newest messages; keeps tool calls and their results together
intents.py, asks.py, courtesies.py, narrowing.py   the query, from the newest turn
recall.py, knowledge.py        earlier messages and documents, and memories
latest.py                      what was said last in other sessions
prompts.py                     fits them into the budget of tokens
chats.py                       the result as chat messages
"""
