"""Search: messages, memories and documents that answer a question, best first.

search.py                      the operation
kinds.py                       a description of each kind of result
questions.py, english.py       from a sentence to search terms
candidates.py, gathering.py    selects the texts of a scope, and collects their features for ranking
ranking.py, closeness.py       scores texts by their words, and by their vectors
results.py, positions.py       results page by page; their positions and cursors
pages.py, highlights.py, passages.py   the objects of a page, and the excerpts of texts
"""
