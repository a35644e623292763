"""Contexts: what goes into a prompt, of a session or of a user.

contexts.py                    the operation
windows.py, exchanges.py       the newest messages; calls of tools and their answers stay together
intents.py, asks.py, courtesies.py, narrowing.py   what the newest turn asks for
recall.py, knowledge.py        what was said earlier, and what is known
prompts.py                     as many of them as the budget of tokens holds
"""
