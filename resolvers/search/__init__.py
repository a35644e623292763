"""Search: messages, memories and documents that answer a question, best first.

search.py                      the operation
kinds.py                       what operations know of each kind of result
questions.py, english.py       from a sentence to the words that search goes by
candidates.py, gathering.py    the texts of a scope, and what ranking needs of them
ranking.py, closeness.py       how well a text answers: by its words, and by its vectors
results.py, positions.py       results page by page, and where each stands; its cursor
pages.py, highlights.py, passages.py   the objects of a page, and the parts of texts that are shown
"""
