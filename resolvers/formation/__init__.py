"""Formation: memories and summaries of messages, by rules and by a chat model.

formation.py                   memories by rules, and extractive summaries
rules.py, languages/           the rules: an engine, and a file of data for each language
dates.py, extracts.py          dates for relative words; sentences for summaries
jobs.py, asking.py             the backlog of a chat model; its requests and answers
"""
