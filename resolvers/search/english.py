"""English word lists for search. Questions in other languages are searched by their words alone."""

_stop_words = """
a about above after again against all am an and any are aren as at be because been before being below between both but
by can cannot could couldn d did didn do does doesn doing don down during each few for from further had hadn has hasn
have haven having he her here hers herself him himself his how i if in into is isn it its itself ll m me more most mustn
my myself no nor not of off on once only or other ought our ours ourselves out over own re s same she should shouldn so
some such t than that the their theirs them themselves then there these they this those through to too under until up ve
very was wasn we weren were what when where which while who whom why will with won would wouldn you your yours yourself
yourselves
"""
_months = "january february march april may june july august september october november december"
_time_words = """
yesterday today tonight tomorrow last next ago day days week weeks weekend month months year years morning night
recently since monday tuesday wednesday thursday friday saturday sunday
"""

STOP_WORDS = frozenset(_stop_words.split())

MONTHS = _months.split()

TIME_WORDS = frozenset([*_time_words.split(), *MONTHS])
"""Words of a turn that says when something was."""

OF_SELF = frozenset(("i", "me", "my", "mine", "myself"))
TO_OTHER = frozenset(("you", "your", "yours", "yourself"))

ASKS_WHEN = r"\s*(when|how long|what (date|year|month|day|time))\b"
"""Beginnings of questions that ask for a time."""
