"""Asks: the sentences of a text that ask for something, in the languages whose words are here.

They identify a question anywhere: before, within or after a long text that somebody pasted.
"""

import re

from models.words import folded, words

LONGEST_SENTENCE = 400
"""Most characters of a sentence that asks: of a longer one the last ones, before the question mark."""

# The first words of sentences that ask, with and without a question mark.
_INTERROGATIVES = """
what whats what's who whom whose which when where why how
was wer wen wem wessen welche welcher welches welchen welchem wann wo wohin woher wozu warum wieso weshalb wie
wieviel
que qu quoi quel quelle quels quelles qui quand où ou pourquoi comment combien est-ce
qué quién quiénes cuál cuáles cuándo dónde adónde cómo cuánto cuánta cuántos cuántas por-qué
che chi quale quali quando dove perché come quanto quanta quanti quante cosa
qual quais quem onde por-que como quantos quantas
wat wie welke welk wanneer waar waarom hoe hoeveel
vad vem vilken vilket vilka när var varför hur hvad hvem hvilken hvornår hvor hvorfor hvordan mikä kuka milloin
missä miksi miten
co kto kogo jaki jaka jakie kiedy gdzie dlaczego jak ile czy kdo kdy kde proč kolik
что кто кого какой какая какое какие когда где куда откуда почему зачем как сколько чей
ne kim nerede nereye neden niçin nasıl kaç hangi mi
ما ماذا من متى أين لماذا كيف كم هل أي
מה מי מתי איפה למה איך כמה האם
क्या कौन कब कहाँ क्यों कैसे कितना
apa siapa kapan dimana mengapa bagaimana berapa
τι ποιος ποια ποιο πότε πού γιατί πώς πόσο
"""
# Verbs with which something is asked for.
_REQUESTS = """
remind tell show give explain find list suggest recommend write make create summarize summarise schedule compare
describe
translate plan draft fix help please recall remember forget need want wondering
erinnere sag sage zeig zeige gib erkläre finde schreib schreibe erstelle empfiehl übersetze hilf bitte brauche suche
möchte
dis dites montre montrez donne donnez explique expliquez trouve écris traduis aide aidez rappelle cherche voudrais
dime di muestra muéstrame dame explica explícame encuentra escribe traduce ayuda ayúdame recuérdame busco necesito
quiero
dimmi mostrami dammi spiegami trova scrivi traduci aiutami ricordami cerco vorrei
diga mostre explique escreva ajude lembre preciso quero
скажи скажите покажи покажите расскажи расскажите объясни найди напиши помоги помогите напомни напомните посоветуй
"""
_UNSPACED_ASKS = re.compile(
    "什么|什麼|谁|誰|哪|怎么|怎麼|怎样|为什么|為什麼|为何|多少|几个|幾個|吗|嗎|呢|何|どこ|いつ|なぜ|どう|どの|どれ|ですか|ますか|教えて|ください|请|請|帮我"
    "|무엇|뭐|누구|어디|언제|왜|어떻게|얼마|까요|나요|알려|อะไร|ใคร|ที่ไหน|เมื่อไหร่|ทำไม|อย่างไร|ไหม"
)
_sentence = re.compile(r"(?:[^.!?…。！？؟\n]|[.!?](?=[^\s\"')\]»”]))+[.!?…。！？؟]*")
_asked = re.compile(r"[?？؟]+[\"')\]»”\s]*$")


def _plain(text: str) -> frozenset[str]:
    return frozenset(word for line in text.split() for word in words(folded(line))[:1])


_interrogatives, _requests = _plain(_INTERROGATIVES), _plain(_REQUESTS)


def sentences_that_ask(text: str) -> list[str]:
    """The sentences that ask, those first that are most likely the purpose of the text.

    The last one with a question mark comes first, then the first one, then the others; then those that begin as
    questions do, the last ones first.
    """
    marked: list[str] = []
    begun: list[str] = []
    for found in _sentence.finditer(text):
        sentence = found[0].strip()
        if _asked.search(sentence[-8:]):
            marked.append(sentence[-LONGEST_SENTENCE:])
        elif _begins_to_ask(sentence[:LONGEST_SENTENCE]):
            begun.append(sentence[:LONGEST_SENTENCE])
    return list(dict.fromkeys([*marked[-1:], *marked[:1], *reversed(marked), *reversed(begun)]))


def _begins_to_ask(sentence: str) -> bool:
    first = words(sentence[:80])[:4]
    return bool(first and first[0] in _interrogatives) or not _requests.isdisjoint(first) or _is_unspaced_ask(sentence)


def _is_unspaced_ask(sentence: str) -> bool:
    return not sentence.isascii() and _UNSPACED_ASKS.search(sentence) is not None
