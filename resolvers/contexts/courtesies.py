"""Courtesies: greetings, thanks, farewells and the like, which need no recall and are not worth recalling."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from models.words import UNSPACED, folded, words
from resolvers.search.english import STOP_WORDS

LONGEST, LITTLE, HARDLY = 300, 8, 1
"""Most characters of a courtesy; most further words in a farewell, without the most common ones; and the number of
words up to which a text says hardly anything."""

# A language a line, phrases between commas.
_COURTESIES = """
hi, hello, hey, hiya, yo, hi there, hello there, hey there, greetings, good morning, good afternoon, good evening
good night, goodnight, morning, how are you, how are you doing, how are you today, how are you doing today
how s it going
how is it going, how have you been, how are things, how s everything, what s up, whats up, what s new, sup
nice to see you
good to see you, great to see you, great to hear from you, good to hear from you, nice to hear from you
long time no see
nice to meet you, pleased to meet you, hope you re well, hope you re doing well, hope you are well
i hope you re well
thanks, thank you, thank u, thx, ty, tysm, cheers, many thanks, thanks a lot, thanks a million, thanks a bunch
thanks so much
thank you so much, thank you very much, much appreciated, appreciate it, i appreciate it, i appreciate that
really appreciate it
appreciated, bye, goodbye, good bye, bye bye, bye for now, farewell, see you, see ya, see you later, see you soon
see you tomorrow, see you then, chat soon, speak soon, stay safe, catch up soon, see you around, talk soon
talk later, talk to you soon, talk to you later, ttyl
catch you later, later, take care, take it easy, have a nice day, have a great day, have a good day, have a good one
have a great one, have a wonderful day, have a lovely day, have a nice evening, have a great evening
have a good evening
have a good night, have a nice weekend, have a great weekend, have a good weekend, enjoy your day
enjoy the rest of your day
you too, same to you, likewise, you re welcome, you are welcome, youre welcome, welcome, no problem, no worries
my pleasure
anytime, any time, don t mention it, ok, okay, k, kk, alright, all right, got it, understood, i see, sounds good
sounds great
great, perfect, awesome, cool, nice, wonderful, fantastic, amazing, excellent, brilliant, lovely, wow, yay, nice one
good one
that s great, that s awesome, that s amazing, that s wonderful, that s nice, that s cool, that s perfect, that s all
that s it
that is all, that will be all, that ll be all, that would be all, nothing else, all good, all set, that helps
that helped
that was helpful, very helpful, will do, good luck, congrats, congratulations, well done, happy birthday
you re the best
you re awesome, sure, sure thing, of course, absolutely, definitely, exactly, indeed, true, glad to hear that
glad to hear it
nice talking to you, great talking to you, nice chatting with you, great chatting with you, good talking to you
sorry, no thanks
no thank you, keep in touch, stay in touch, let s stay in touch, let s keep in touch, keep going, keep it up
keep up the good work, keep me posted
means a lot, it means a lot, that means a lot, means a lot to me, let me know how it goes, i ll keep you posted
i ll keep you updated
can t wait, fingers crossed, glad to help, happy to help, glad i could help, totally agree, i agree, i totally agree
you got this
you ve got this, so true, me too, for sure, i m glad, happy for you, so happy for you, proud of you, so proud of you
here s to that
haha, lol, hehe, np, gn, gm, brb, gtg, xoxo, sweet dreams, sleep well, until next time, till next time
see you next time
hallo, moin, servus, gruss gott, guten morgen, guten tag, guten abend, gute nacht, wie geht s, wie gehts
wie geht es dir
wie geht es ihnen, danke, danke schon, dankeschon, vielen dank, herzlichen dank, besten dank, danke dir, danke ihnen
tschuss
tschau, tschuessi, auf wiedersehen, auf wiederhoren, bis bald, bis spater, bis morgen, bis dann, bis gleich
mach s gut
schonen tag, schonen tag noch, schonen abend, schonen abend noch, einen schonen tag, einen schonen tag noch
schones wochenende
gern geschehen, bitte schon, bitte sehr, alles klar, super, prima, toll, passt, in ordnung, verstanden, ja danke
nein danke
bonjour, salut, bonsoir, coucou, merci, merci beaucoup, merci bien, mille mercis, un grand merci, je vous remercie
je te remercie
au revoir, a bientot, a plus, a plus tard, a demain, bonne journee, bonne soiree, bonne nuit, bon week end
comment ca va, ca va
comment vas tu, comment allez vous, de rien, je vous en prie, d accord, parfait, tres bien, entendu
bonne continuation
hola, buenos dias, buen dia, buenas, buenas tardes, buenas noches, que tal, como estas, como esta, como te va
gracias
muchas gracias, mil gracias, muchisimas gracias, adios, hasta luego, hasta pronto, hasta manana, hasta la vista
chao, chau
nos vemos, de nada, vale, perfecto, genial, estupendo, cuidate, que tengas un buen dia, feliz dia, no hay de que
ciao, buongiorno, buonasera, buon giorno, buona sera, salve, come stai, come va, come sta, grazie, grazie mille
tante grazie
molte grazie, mille grazie, arrivederci, a presto, a domani, a dopo, buona giornata, buona serata, buona notte
buonanotte, prego
perfetto, va bene, d accordo, ottimo, ci vediamo
ola, oi, bom dia, boa tarde, boa noite, tudo bem, como vai, obrigado, obrigada, muito obrigado, muito obrigada
brigado, tchau
adeus, ate logo, ate amanha, ate breve, ate mais, valeu, perfeito, otimo, por nada, tenha um bom dia
hoi, dag, goedemorgen, goedemiddag, goedenavond, goedenacht, hoe gaat het, hoe gaat het met je, bedankt, dank je
dank je wel
dank u, dank u wel, dankjewel, dankuwel, hartelijk dank, heel erg bedankt, tot ziens, tot straks, tot later
tot morgen, doei
fijne dag, fijne avond, fijne dag nog, graag gedaan, prima, oke, top
hej, hei, hejsan, god morgon, god morgen, god kveld, tack, tack sa mycket, tusen tack, tak, mange tak, tusen tak
takk
tusen takk, mange takk, hej da, ha det, ha det bra, farvel, vi ses, vi hors, god natt, god nat, varsagod, moi
kiitos, paljon kiitoksia
nakemiin, hyvaa paivaa, hyvaa yota, heippa
czesc, dzien dobry, dobry wieczor, dzieki, dziekuje, dziekuje bardzo, wielkie dzieki, do widzenia, do zobaczenia, pa
dobranoc
miłego dnia, ahoj, dobry den, dekuji, diky, na shledanou, szia, koszonom, viszlat, salut, buna, buna ziua, multumesc
la revedere
привет, здравствуйте, здравствуй, добрый день, доброе утро, добрый вечер, спасибо, спасибо большое, большое спасибо
пока
до свидания, до завтра, до встречи, как дела, спокойной ночи, пожалуйста, хорошо, понятно, отлично, привіт, дякую
до побачення
merhaba, selam, gunaydın, iyi gunler, iyi aksamlar, iyi geceler, tesekkurler, tesekkur ederim, cok tesekkurler
sagol, sag ol
gorusuruz, hosca kal, nasılsın, γεια, γεια σου, γεια σας, καλημερα, καλησπερα, ευχαριστω, ευχαριστω πολυ, αντιο
مرحبا, السلام عليكم, وعليكم السلام, صباح الخير, مساء الخير, شكرا, شكرا جزيلا, شكرا لك, مع السلامة, إلى اللقاء, وداعا
كيف حالك
שלום, תודה, תודה רבה, להתראות, בוקר טוב, नमस्ते, धन्यवाद, बहुत धन्यवाद, शुक्रिया, अलविदा
halo, terima kasih, selamat pagi, selamat siang, selamat malam, sampai jumpa, xin chao, cam on, tam biet, cam on ban
你好, 您好, 你好吗, 你好嗎, 嗨, 谢谢, 谢谢你, 谢谢您, 非常感谢, 多谢, 感谢, 謝謝, 謝謝你, 非常感謝, 感謝, 再见, 再見
拜拜, 早上好, 早安, 下午好, 晚上好
晚安, 好的, 好, 没问题, 不客气, 沒問題, 不客氣, 辛苦了, 明天见, 回头见, 嗯, 了
こんにちは, こんばんは, おはよう, おはようございます, ありがとう, ありがとうございます, ありがとうございました
どうもありがとう, さようなら, じゃあね
またね, おやすみ, おやすみなさい, よろしくお願いします, お願いします, 了解, 了解です, わかりました, どうも
お疲れ様です, お疲れ様でした, はい, です
안녕, 안녕하세요, 감사합니다, 고마워, 고마워요, 고맙습니다, 잘 가, 잘가, 안녕히 가세요, 안녕히 계세요, 네, 좋아요
알겠습니다, 수고하세요
สวัสดี, ขอบคุณ, ขอบคุณมาก, ครับ, ค่ะ, คะ, ลาก่อน
"""
# Those that end a conversation or thank somebody: the rest of such a message is seldom a request.
_ENDS = """
bye, goodbye, good bye, see you, see ya, talk soon, chat soon, speak soon, talk later, ttyl, take care, stay safe
have a great day
have a good day, have a nice day, have a good one, good night, goodnight, talk to you soon, talk to you later
see you soon
see you later, catch you later, until next time, thanks, thank you, thx, cheers, much appreciated, tschuss, bis bald
bis dann
auf wiedersehen, danke, vielen dank, au revoir, a bientot, bonne journee, bonne soiree, merci, adios, hasta luego
nos vemos, gracias
arrivederci, a presto, grazie, tchau, ate logo, obrigado, obrigada, tot ziens, doei, bedankt, dank je, hej da
vi ses, tack, tak, takk
do widzenia, dziekuje, dzieki, до свидания, пока, спасибо, gorusuruz, tesekkurler, tesekkur ederim
"""
# Words that may accompany a courtesy that is not a question.
_BESIDE = """
so, very, much, really, a, lot, again, all, everyone, everybody, guys, folks, you, me, for, your, the, help, now
too, and, well
oh, ah, aw, just, today, tonight, tomorrow, soon, later, there, my, dear, friend, friends, buddy, mate, that, this
it, was, is, s, re, m
helpful, useful, everything, info, information, advice, tips, support, time, have, day, evening, night, weekend
week, i, to, with, of
in, on, at, be, as, such, then, yes, no, yeah, yep, nope, please, man, dude, love, glad, happy, hear, good, kind
support, kindness
dir, ihnen, sehr, noch, auch, fur, die, hilfe, ja, nein, und, vous, te, beaucoup, bien, pour, votre, ton, aide, oui
non, et, mon, ami
por, tu, su, la, ayuda, si, y, mucho, amigo, amiga, per, il, tuo, suo, aiuto, e, molto, pela, sua, ajuda, muito
voor, je, uw, hulp
"""

_between = re.compile(r"[\s\W_]+")
_capital = re.compile(r"\b[^\W\d_a-z][^\W\d_]*")
_unspaced = re.compile(f"[{UNSPACED}]")


class _Phrases(NamedTuple):
    """Phrases by their first word, longest first; those that end a conversation; words that may accompany a courtesy;
    and phrases of scripts without spaces."""

    by_first: dict[str, list[list[str]]]
    ends: frozenset[tuple[str, ...]]
    beside: frozenset[str]
    unspaced: list[str]


@lru_cache(maxsize=1)
def _phrases() -> _Phrases:
    by_first: dict[str, list[list[str]]] = {}
    unspaced: list[str] = []
    for phrase in re.split(r"[,\n]", _COURTESIES):
        if _unspaced.search(phrase):
            unspaced.append(_between.sub("", folded(phrase)))
        elif found := words(phrase):
            by_first.setdefault(found[0], []).append(found)
    for phrases in by_first.values():
        phrases.sort(key=len, reverse=True)
    ends = frozenset(tuple(words(phrase)) for phrase in re.split(r"[,\n]", _ENDS))
    return _Phrases(by_first, ends, frozenset(words(_BESIDE)), sorted(unspaced, key=len, reverse=True))


def is_courtesy(text: str, names: Iterable[str] = ()) -> bool:
    """True if a text has only courtesies, with or without names such as these; also true without any words."""
    if len(text) > LONGEST:
        return False
    if _unspaced.search(text):
        rest = folded(text)
        for phrase in _phrases().unspaced:
            rest = rest.replace(phrase, " ")
        return not _between.sub("", rest)
    found, rest = _without_phrases(words(text), names)
    if "?" not in text:
        rest = [word for word in rest if word not in _phrases().beside]
    if not rest:
        return bool(found) or not any(word.isalnum() for word in words(text))
    # A name that nobody bears here, as in "Bye, Mel".
    capitals = {word for name in _capital.findall(text) for word in words(name)}
    return bool(found) and len(rest) == 1 and rest[0] in capitals


def closes(text: str, names: Iterable[str] = (), *, besides: int = LITTLE) -> bool:
    """True if a text is a farewell or thanks with at most a number of other words."""
    if len(text) > LONGEST:
        return False
    found, rest = _without_phrases(words(text), names)
    little = STOP_WORDS | _phrases().beside
    return not _phrases().ends.isdisjoint(found) and sum(word not in little for word in rest) <= besides


def says_little(text: str, names: Iterable[str] = ()) -> bool:
    """True if a text has hardly a word besides courtesies and the most common words."""
    if len(text) > LONGEST or any(map(str.isdigit, text)) or _unspaced.search(text):
        return False
    little = STOP_WORDS | _phrases().beside
    return sum(word not in little for word in _without_phrases(words(text), names)[1]) <= HARDLY


def _without_phrases(said: list[str], names: Iterable[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The courtesies among the words, and the words that are neither of these nor of a name."""
    known = {word for name in names for word in words(name)}
    found: list[tuple[str, ...]] = []
    rest: list[str] = []
    index = 0
    while index < len(said):
        phrases = _phrases().by_first.get(said[index], ())
        phrase = next((phrase for phrase in phrases if said[index : index + len(phrase)] == phrase), None)
        if phrase is not None:
            found.append(tuple(phrase))
        elif said[index].isalnum() and said[index] not in known:
            rest.append(said[index])
        index += len(phrase or " ")
    return found, rest
