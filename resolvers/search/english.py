"""English word lists for search. Questions in other languages are searched by their words alone."""

from models.stemming import term_of

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
# Not those of words that say little, such as go and good: by measurement their other forms find what nobody asked for.
_irregular = """
arise arose arisen / awake awoke awoken / bear bore borne / beat beaten / bend bent / bet / bite bit bitten /
bleed bled / blow blew blown / break broke broken / breed bred / build built / burn burnt / buy bought /
catch caught / choose chose chosen / cling clung / creep crept / deal dealt / dig dug / dive dove / draw drew drawn /
dream dreamt / drink drank drunk / drive drove driven / eat ate eaten / fall fell fallen / feed fed / fight fought /
flee fled / fly flew flown / forbid forbade forbidden / forget forgot forgotten / forgive forgave forgiven /
freeze froze frozen / grow grew grown / hang hung / hide hid hidden / kneel knelt / lead led / leap leapt /
learn learnt / lend lent / light lit / lose lost / pay paid / prove proven / ride rode ridden / ring rang rung /
rise rose risen / seek sought / sell sold / send sent / sew sewn / shake shook shaken / shave shaven / shine shone /
shoot shot / shrink shrank shrunk / sing sang sung / sink sank sunk / sit sat / sleep slept / slide slid /
speak spoke spoken / speed sped / spell spelt / spend spent / spill spilt / spin spun / spoil spoilt /
spring sprang sprung / stand stood / steal stole stolen / stick stuck / sting stung / stink stank stunk /
strike struck stricken / strive strove striven / swear swore sworn / sweep swept / swell swollen / swim swam swum /
swing swung / teach taught / tear tore torn / throw threw thrown / understand understood /
undergo underwent undergone / wake woke woken / wear wore worn / weave wove woven / weep wept / win won /
wind wound / withdraw withdrew withdrawn / write wrote written / foot feet / tooth teeth / goose geese / mouse mice /
louse lice / ox oxen / die dice / wife wives / knife knives / leaf leaves / loaf loaves / half halves /
shelf shelves / wolf wolves / thief thieves / calf calves / scarf scarves / hoof hooves / cactus cacti /
fungus fungi / nucleus nuclei / radius radii / analysis analyses / crisis crises / diagnosis diagnoses /
hypothesis hypotheses / thesis theses / phenomenon phenomena / criterion criteria / index indices / matrix matrices /
vertex vertices / appendix appendices / medium media / datum data
"""

STOP_WORDS = frozenset(_stop_words.split())

MONTHS = _months.split()

TIME_WORDS = frozenset([*_time_words.split(), *MONTHS])
"""Words of a turn that says when something was."""

OF_SELF = frozenset(("i", "me", "my", "mine", "myself"))
TO_OTHER = frozenset(("you", "your", "yours", "yourself"))

ASKS_WHEN = r"\s*(when|how long|what (date|year|month|day|time))\b"
"""Beginnings of questions that ask for a time."""


def _forms() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for group in map(str.split, _irregular.split("/")):
        for word in dict.fromkeys([*group, term_of(group[0])]):
            found.setdefault(word, []).extend(form for form in group if form != word)
    return found


FORMS = _forms()
"""For a word with irregular forms the others, which no stemmer finds; also by the stem of the plain form."""
