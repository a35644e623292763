"""Formation: memories and summaries that are made of what was said, by rules and by a chat model.

formation.py                   memories by rules, and extractive summaries
rules.py, languages/           the rules: an engine, and a file of data for each language
dates.py, extracts.py          which day is meant, which sentences sum up
jobs.py, asking.py             what a chat model reads later, and what of its answer is taken
"""
