"""Memories that rules find in a message: in the user's own words, and only if plainly said about oneself."""

from time import process_time

import pytest

from resolvers.formation.extracts import sentences_of
from resolvers.formation.languages import LANGUAGES, Language, Rule
from resolvers.formation.rules import CLAIMS_OF_MESSAGE, LONGEST_TEXT, STARTS_OF_SENTENCE, claims_in, ends

STATED = {
    "My name is Ada.": ("name", "My name is Ada"),
    "hi, my name is Łukasz": ("name", "my name is Łukasz"),
    "My last name's Lovelace!": ("last name", "My last name's Lovelace"),
    "Please call me Bob.": ("form of address", "call me Bob"),
    "My pronouns are they/them.": ("pronouns", "My pronouns are they/them"),
    "I live in San Francisco, California.": ("home", "I live in San Francisco, California"),
    "I currently live near St. Louis.": ("home", "I currently live near St. Louis"),
    "I’m living in Köln at the moment.": ("home", "I’m living in Köln at the moment"),
    "I recently moved to New York for work, it's big.": ("home", "I recently moved to New York for work"),
    "Well, I've just moved to Lisbon :)": ("home", "I've just moved to Lisbon"),
    "I'm originally from Brazil.": ("origin", "I'm originally from Brazil"),
    "I was born in Lagos, Nigeria.": ("place of birth", "I was born in Lagos, Nigeria"),
    "I grew up in Ohio.": ("grew up", "I grew up in Ohio"),
    "I work as an account manager at Siemens.": ("job", "I work as an account manager at Siemens"),
    "I'm a senior data scientist.": ("job", "I'm a senior data scientist"),
    "I am a freelance photographer based in Oslo.": ("job", "I am a freelance photographer based in Oslo"),
    "I work at Google as a designer.": ("employer", "I work at Google as a designer"),
    "I just started a new job at Spotify.": ("employer", "I just started a new job at Spotify"),
    "I study physics at MIT.": ("studies", "I study physics at MIT"),
    "I've been vegetarian since 2010.": ("diet", "I've been vegetarian since 2010"),
    "I'm lactose intolerant.": (None, "I'm lactose intolerant"),
    "I have a peanut allergy.": (None, "I have a peanut allergy"),
    "I'm allergic to peanuts, shellfish and pollen, so no.": (
        "allergy: peanut shellfish and pollen",
        "I'm allergic to peanuts, shellfish and pollen",
    ),
    "I prefer tea to coffee in the morning.": (None, "I prefer tea to coffee in the morning"),
    'My all-time favourite book is "Dune".': ("favourite book", 'My all-time favourite book is "Dune"'),
    "My favorite movie is The Matrix.": ("favourite movie", "My favorite movie is The Matrix"),
    "My birthday is on 12 March 1988.": ("birthday", "My birthday is on 12 March 1988"),
    "I'm 42 years old.": ("age", "I'm 42 years old"),
    "I'm married.": ("marital status", "I'm married"),
    "My wife's name is Carla.": ("wife's name", "My wife's name is Carla"),
    "My two cats are named Salt and Pepper.": (None, "My two cats are named Salt and Pepper"),
    "I have three kids.": ("number of kids", "I have three kids"),
    "I speak French and German.": (None, "I speak French and German"),
    "I like hiking and swimming.": ("taste: hike and swim", "I like hiking and swimming"),
    "I live in Boston and was wondering if you could recommend a bar?": ("home", "I live in Boston"),
    "I'm a 32-year-old software engineer from Seattle": ("job", "I'm a 32-year-old software engineer from Seattle"),
    "I'm a nurse, can you tell me about night shifts?": ("job", "I'm a nurse"),
    "I have a dog named Luna, so if she barks I wake up.": (None, "I have a dog named Luna"),
    "    Thanks!\nI'm vegan.": ("diet", "I'm vegan"),
}

NOTHING = [
    "I live in Paris, said the cat.",
    "My name is Bob, he said.",
    "I live in Rome (not really).",
    "I am allergic to nothing.",
    "I live in Turin but moved to Rome.",
    "I am a language model.",
    "I'm a helpful assistant.",
    "You are a doctor. My name is Alice.",
    "Which one is right?\n1. I live in Rome.\n2. I work at Fiat.\n- I'm vegan.",
    "I work at Christmas.",
    "I work at Nights",
    "I moved to Claude from ChatGPT.",
    "I moved to Marketing last year.",
    "Let's play! My name is Robin Hood.",
    "I live in Rome, but not any more.",
    "I live in Rome or Milan?",
    "I live in Rome, what do you think?",
    "I live in Rome but I don't work there anymore.",
    "I'm a nurse, would you say?",
    "I work at Google in my dreams.",
    "If I lived in Rome I would be happy.",
    "I wish I lived in Rome.",
    "If I move, I live in Rome.",
    "My friend says I live in Rome.",
    'She said, "I live in Rome."',
    "I don't live in Rome.",
    "I never work at Google.",
    "Do I live in Rome?",
    "I live in Rome, don't I?",
    "I live in Rome, right?",
    "Pretend I live in Rome.",
    "Translate: I live in Rome.",
    'Translate "I live in Rome" to French',
    "`I live in Rome`",
    "> I live in Rome",
    "I live in fear.",
    "I live in the moment.",
    "I live in a bubble.",
    "I moved to the next step.",
    "I moved to tears.",
    "I moved to React from Angular.",
    "I moved to Python 3 last week.",
    "I've moved to AWS.",
    "I work at night.",
    "I work for hours.",
    "I work at home.",
    "I work in progress.",
    "I work as hard as I can.",
    "I'm a good writer.",
    "I'm a big fan.",
    "I'm a doctor's daughter.",
    "I'm not a doctor.",
    "I'm from the future.",
    "I was from Rome.",
    "My name is on the list.",
    "My name is not important.",
    "My name is mud.",
    "I'm 5 minutes away.",
    "I'm 34 weeks pregnant.",
    "My birthday is next week.",
    "My birthday is coming up.",
    "I'm allergic to it.",
    "I prefer it.",
    "I prefer the second one.",
    "I prefer not to say.",
    "I prefer your version.",
    "I'd prefer tea.",
    "I would prefer tea.",
    "I love you.",
    "I love it.",
    "I love your idea.",
    "I love this.",
    "I love hearing about your day.",
    "I'd like cookies.",
    "I'd love going there.",
    "I used to love playing football.",
    "My favourite part is the ending.",
    "My favourite one is this.",
    "My favourite band is playing tonight.",
    "My favorite color isn't blue.",
    "Is my favourite colour blue?",
    "When I was a kid, I lived in Rome.",
    "My name was Ada.",
    "In my dream I live in Rome.",
    "In the story, I live in Paris.",
    "I think I live in Rome.",
    "He thinks I live in Rome.",
    "My brother lives in Rome.",
    "My brother, who lives in Rome, says I work at Google.",
    "My wife's name is a secret.",
    "My dog is named after a king.",
    "I have a dog in this fight.",
    "I have two questions.",
    "I have a cold.",
    "I have a son of a bitch problem.",
    "I am single-handedly doing it.",
    "I'm engaged in politics.",
    "I'm married to my job.",
    "I speak for everyone.",
    "I speak Latin? no.",
    "I'm a vegetarian if there is no meat.",
    "Maybe I'm a vegetarian.",
    "I'm a student of life.",
    "I'm the manager of nothing",
    "I am going to be a teacher.",
    "I want to be a teacher.",
    "Dear Sir, my name is Bob and I live in Lagos.",
    "Write a cover letter: my name is Bob.",
    "My email says: I live in Rome.",
    "You said I live in Rome.",
    "As if I live in Rome.",
    "Suppose I live in Rome.",
    "Let's say I live in Rome.",
    "Unless I live in Rome, no.",
    "I almost moved to Rome.",
    "I live in London until May.",
    "I lived in Rome.",
    "I moved to Monday.",
    "I live in JSON land.",
    "call me maybe",
    "Call me Monday?",
    "Call me later.",
    "Call me when you can.",
    "Call me Tomorrow",
    "Should I say I work at Google?",
    "My favourite is pizza.",
    "I like how it works.",
    "I like that.",
    "I enjoy talking to you.",
    "I'm a Python developer wannabe",
    "def f():\n    # I live in Rome",
    "    I live in Rome",
    "The prompt says 'I live in Rome'.",
    "“I live in Rome” is what he wrote.",
    "Lyrics - I live in Rome",
    "I have a dog? No.",
    "I have a horse to sell.",
    "I go by train.",
    "I go by the book.",
    "I got engaged in a debate.",
    "I'm divorced from reality.",
    "I'm from Mars lol",
    "Assistant, I live in Rome is a sentence.",
    "I turned 30 degrees left.",
    "I turned 40 pages.",
    "I am 90 percent sure.",
    "I'm living in hell.",
    "I'm living my best life.",
    "I work for Free.",
    "I work for myself.",
    "I study at night.",
    "I'm studying for my exam at night",
    "I'm based.",
    "I'm located on the second floor.",
    "I love Mondays lol",
    "I just moved to Chapter 3.",
    "I've moved to Option B.",
    "I'm an only child.",
    "I am the child of immigrants.",
    "I'm a model citizen.",
    "I'm a cook at heart.",
    "I'm a trainer in training",
    "I have one child process running.",
    "I have two dogs barking outside.",
    "My cat is called in by the vet.",
    "I hate errors like this.",
]


RULES = [(language, rule) for language in LANGUAGES for rule in language.rules]


def name_of(part: object) -> str:
    return part if isinstance(part, str) else str(getattr(part, "name", part))


@pytest.mark.parametrize("text", STATED)
def test_what_users_say_of_themselves_is_found_in_their_words(text: str) -> None:
    (claim,) = claims_in(text)
    assert (claim.subject, claim.content) == STATED[text]
    assert claim.content in text


@pytest.mark.parametrize(("language", "rule"), RULES, ids=name_of)
def test_each_rule_finds_its_examples_and_no_rule_those_that_it_passes_over(language: Language, rule: Rule) -> None:
    assert rule.matches
    assert rule.passes
    for text in rule.matches:
        assert language.prefilter.search(text, text.replace("'", " ").replace("’", " ").split())
        found = [claim for claim in claims_in(text) if rule.statement.match(claim.content)]
        assert [(claim.kind, claim.denies, claim.content in text) for claim in found] == [
            (rule.kind, rule.denies, True)
        ]
    for text in rule.passes:
        assert claims_in(text) == [], text


def test_several_statements_of_a_message_are_found_in_their_order() -> None:
    said = (
        "Hi! My name is Ada and I live in Turin with my two cats, but I work at Fiat. My dog's name is Rex; I'm vegan."
    )
    assert [claim.content for claim in claims_in(said)] == [
        "My name is Ada",
        "I live in Turin with my two cats",
        "I work at Fiat",
        "My dog's name is Rex",
        "I'm vegan",
    ]


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_unreal_reported_asked_or_no_fact_is_passed_over(text: str) -> None:
    assert claims_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "I'm vegan. I'm not vegan any more.",
        "I no longer live in Rome. I live in Rome.",
        "Ich bin vegan. Ich bin nicht mehr vegan.",
        "I live in Rome. I live in Kiel.",
    ],
)
def test_what_a_message_says_and_denies_is_passed_over(text: str) -> None:
    assert claims_in(text) == []


@pytest.mark.parametrize(
    "pasted",
    [
        "Fix this:\n\nI live in Rome.\nMy name is Bob.",
        "```\nI live in Rome.\n```",
        "~ nothing ~\n> I live in Rome.\n> My name is Bob.",
        "He wrote “I live in Rome. My name is Bob.” to us.",
        "I live in Rome. " + "And so on. " * (LONGEST_TEXT // 10),
        "Dear Ms. Smith,\nmy name is Bob.\nI live in Lagos.\nKind regards",
        "Can you proofread my text? My name is Bob. I live in Lagos.",
    ],
)
def test_what_was_pasted_is_not_the_users_own(pasted: str) -> None:
    assert claims_in(pasted) == []


LETTER = "Hello, my name is Greta and I live in Kiel."
RELAYED = [
    f"Please reply to this mail.\n\n{LETTER}",
    f"{LETTER}\n\nPlease reply to this mail.",
    f"Can you answer this customer?\n{LETTER}",
    f"What should I reply?\n\n{LETTER} Thanks!",
    f"Summarize the following.\n\n{LETTER}",
    f"Summarise this.\n\n{LETTER}",
    f"Translate into German.\n\n{LETTER}",
    f"Proofread, please.\n\n{LETTER}",
    f"Make it sound more professional. {LETTER}",
    f"I got this message yesterday.\n\n{LETTER}",
    f"This is the email I got.\n\n{LETTER}",
    f"Any thoughts?\n\n{LETTER}",
    "What do you make of it?\n\nDear team,\nI'm Greta. I live in Kiel. I'm vegan.",
    "Is that polite?\n\nI live in Kiel.\n\nKind regards\nGreta",
    "I live in Kiel and I'm vegan.\n\nBest,\nGreta",
    "On Mon, 3 May 2024 at 10:12, Greta Berg <greta@example.com> wrote:\n> I live in Kiel.\nI'm vegan.",
    "On Mon, Greta Berg\nwrote:\nI live in Kiel.",
    "Greta wrote:\nI live in Kiel.",
    "Greta wrote\n\nI live in Kiel. I'm vegan.",
    "Greta: I live in Kiel.\nBob: I'm vegan.",
    "---------- Forwarded message ----------\nI live in Kiel.",
    "-----Original Message-----\nI live in Kiel.",
    "Begin forwarded message\n\nI live in Kiel.",
    "From: greta@example.com\nSubject: Hi\n\nI live in Kiel.",
    "See below\n---\nI live in Kiel.\nI'm vegan.",
    "> I live in Kiel.\n> I'm vegan.",
    "Some sentences to learn.\n\n1. I live in Kiel.\n2. I'm vegan.",
    "Example sentences.\nI live in Kiel.\nI live in Rome.",
    "Here are some examples. I live in Kiel. I'm vegan.",
    "I live in Kiel.\nI live in Rome.\nI live in Paris.",
    "Which sentence is correct?\nI live in Kiel.",
    "```\nI live in Kiel.\n```",
    "~~~\nI live in Kiel.\n~~~",
    "print('x')\n    I live in Kiel.\n",
    'She said "Hi.\nI live in Kiel.\nI\'m vegan." and left.',
    "She wrote “Hi.\nI live in Kiel.\nI'm vegan.” and left.",
    "Pretend you are my pen friend. I live in Kiel.",
    "You are a pirate. I live in Kiel.",
    "Let's role-play. I'm a nurse.",
    "Imagine I moved house. I live in Kiel.",
    "Chapter 1\n\nI was born in Kiel. I'm a nurse.",
    "Once upon a time there was a girl. I live in Kiel, she sang.",
    "I live in Kiel / I love the rain and the sea / I'm vegan",
    "♪ I live in Kiel ♪",
    "Write a poem. I live in Kiel.",
    "My sister says I live in Kiel.",
    "My sister told me that I live in Kiel.",
    "<greta> I live in Kiel.",
    "Übersetze das bitte.\n\nIch heiße Greta und ich wohne in Kiel.",
    "Bitte antworte auf diese Mail.\n\nHallo, ich heiße Greta und wohne in Kiel.",
    "Was soll ich antworten?\n\nIch wohne in Kiel.",
    "Ich wohne in Kiel.\n\nMit freundlichen Grüßen\nGreta",
    "Am 3. Mai 2024 schrieb Greta:\nIch wohne in Kiel.",
    "Traduce esto al inglés. Vivo en Madrid.",
    "Responde a este correo.\n\nHola, me llamo Lucía.",
    "Traduis ce texte.\n\nJ'habite à Lyon.",
    "Réponds à ce mail.\n\nBonjour, je m'appelle Ada.",
    "How would you respond?\n\nI'm vegan and I hate mushrooms.",
    "Reply to this email:\nHello, my name is Greta and I live in Kiel.",
    "Reply to Greta.\n\nHello, my name is Greta and I live in Kiel.",
    "Draft a reply.\n\nHello, my name is Greta and I live in Kiel.",
    "Write back to her politely.\n\nI'm vegan. I live in Kiel.",
    "Please shorten this.\n\nI'm a nurse. I live in Kiel.",
    "Can you turn this into bullet points?\n\nI'm a nurse. I live in Kiel.",
    "What is the sentiment of the following text?\n\nI love pizza.",
    "Classify the sentiment.\n\nI love pizza.",
    "Extract the names.\n\nMy name is Greta. I live in Kiel.",
    "Is there a mistake in it?\n\nI live in Kiel since 2010.",
    "Explain this sentence.\n\nI live in Kiel.",
    "What does it mean?\n\nI live in Kiel.",
    "My landlord sent me this.\n\nI live in Kiel. I'm vegan.",
    "A customer writes\n\nI live in Kiel. I'm allergic to nuts.",
    "Customer message\n\nI live in Kiel. I'm allergic to nuts.",
    "I need help with my dating profile.\n\nI'm a nurse. I love hiking.",
    "Here's my bio.\n\nI'm a nurse. I love hiking.",
    "Improve my introduction.\n\nMy name is Greta. I'm a nurse.",
    "Test sentence\nI live in Kiel.",
    "Dialogue\nAnna - I live in Kiel.\nBen - I'm vegan.",
    "In my novel, the hero speaks. I live in Kiel.",
    "Let's write a story. I'm a knight. I live in Rome.",
    "Act like a tourist guide. I live in Rome.",
    "You are my girlfriend. I live in Rome.",
    "Simulate a customer. I'm allergic to nuts.",
    "Say it in French. I live in Rome.",
    "How do you say I live in Rome in French?",
    "How do I say in German that I live in Rome?",
    "Repeat after me. I live in Rome.",
    "Tweet draft. I love pizza.",
    "Caption ideas. I love hiking.",
    "Speech to text test. I live in Rome.",
    "SUBJECT Re: hi\nI live in Rome.",
    "fwd\n\nI live in Rome.",
    "FW: hello\n\nI live in Rome.",
    "Betreff: Hallo\n\nIch wohne in Kiel.",
    "Kannst du das beantworten?\n\nIch wohne in Kiel.",
    "Contesta este mensaje\n\nVivo en Madrid.",
    "Peux-tu corriger ?\n\nJ'habite à Lyon.",
    "Exercise 3\nMy name is Peter. I live in Ulm.",
    "Help me with my homework:\nI live in Ulm.",
    "Ticket #123\nMy name is Peter. I live in Ulm.",
    "Tell me a short story. My name is Peter.",
    "What's wrong here? I am living in Ulm since two years.",
    "Which language is this? Je m'appelle Marie.",
    "Übung 3\nIch heiße Peter. Ich wohne in Ulm.",
    "Hilfst du mir bei dieser Übung?\nIch wohne in Ulm.",
    "Erzähl mir eine Geschichte. Ich heiße Rotkäppchen.",
    "Was ist hier falsch? Ich wohne in Ulm seit zwei Jahre.",
    "Ejercicio 3\nMe llamo Pedro. Vivo en Quito.",
    "¿Me ayudas con este ejercicio?\nVivo en Madrid.",
    "Cuéntame un cuento. Me llamo Caperucita.",
    "¿Qué error hay aquí? Vivo en Madrid desde dos años.",
    "¿Está bien escrito esto?\n\nMe llamo Eva y vivo en Vigo.",
    "Exercice 2\nJe m'appelle Luc. J'habite à Lille.",
    "Peux-tu m'aider avec cet exercice ?\nJ'habite à Lille.",
    "Quelle langue est-ce ? Ich wohne in Köln.",
    "I live in Ulm - no wait, that's wrong.",
    "I'm vegan, my sister announced.",
]


@pytest.mark.parametrize("text", RELAYED)
def test_relayed_text_is_nobodys_statement(text: str) -> None:
    assert claims_in(text) == []


OWN = {
    "I'm vegan. Can you answer a question?": ["I'm vegan"],
    "What can I cook?\n\nI'm allergic to nuts.": ["I'm allergic to nuts"],
    "Recommend a book.\n\nI love fantasy novels.": ["I love fantasy novels"],
    "A bit about me: I live in Kiel. I'm vegan.": ["I live in Kiel", "I'm vegan"],
    "I live in Kiel. For example, the harbour is near.": ["I live in Kiel"],
    "I'm allergic to nuts.\n\nWhat can I cook?": ["I'm allergic to nuts"],
    "I went strict vegan.": ["I went strict vegan"],
    "I moved to Turin. I live in Turin now.": ["I moved to Turin", "I live in Turin"],
    "I don't live in Rome any more, I moved to Milan.": ["I moved to Milan"],
    "Thanks!\n\nI live in Kiel.": ["I live in Kiel"],
    "I exercise a lot.\nI live in Kiel.": ["I live in Kiel"],
    "My kids have homework today.\nI live in Kiel.": ["I live in Kiel"],
}


@pytest.mark.parametrize("text", OWN)
def test_what_stands_beside_a_statement_does_not_hide_it(text: str) -> None:
    assert [claim.content for claim in claims_in(text)] == OWN[text]


@pytest.mark.parametrize(
    "text",
    ["我叫小明。我住在北京。", "Меня зовут Ада, я живу в Турине.", "Mi chiamo Ada e vivo a Torino.", "🙂", "", "\n"],
)
def test_other_languages_have_no_rules(text: str) -> None:
    assert claims_in(text) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("I love mushrooms.", "I hate mushrooms."),
        ("I love wild mushrooms.", "I can't stand wild mushrooms, sorry."),
        ("I like hiking.", "I don't like hiking any more."),
        ("I'm vegetarian.", "I'm not vegetarian any more."),
        ("I'm allergic to the cats.", "I'm not allergic to cats any more."),
        ("I live in Rome.", "I no longer live in Rome."),
        ("I work at Google.", "I quit my job at Google."),
        ("I'm married.", "I'm not married any more."),
        ("I'm not vegetarian any more.", "I'm vegetarian again."),
        ("Ich liebe Pilze.", "Ich hasse Pilze."),
        ("Ich liebe Pilze.", "Ich mag keine Pilze mehr."),
        ("Ich bin Vegetarier.", "Ich bin kein Vegetarier mehr."),
        ("Me encanta el jazz.", "Odio el jazz."),
        ("J'adore les champignons.", "Je n'aime pas les champignons."),
    ],
)
def test_a_contradiction_ends_what_was_said_of_the_same_thing(older: str, newer: str) -> None:
    (before,), (after,) = claims_in(older), claims_in(newer)
    assert before.subject is not None
    assert before.subject == after.subject
    assert ends(newer, older, before.subject)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("I love mushrooms.", "I hate olives."),
        ("I'm vegan.", "I'm not vegetarian any more."),
        ("I live in Rome.", "I don't live in Milan any more."),
        ("I work at Google.", "I no longer work at Fiat."),
    ],
)
def test_what_denies_another_thing_ends_nothing(older: str, newer: str) -> None:
    (before,), (after,) = claims_in(older), claims_in(newer)
    assert before.subject is not None
    assert before.subject != after.subject or not ends(newer, older, before.subject)


def test_a_sentence_that_says_more_than_anybody_would_says_nothing() -> None:
    assert claims_in("I'm vegan, " * STARTS_OF_SENTENCE + "really.") != []
    assert claims_in("I'm vegan, " * (STARTS_OF_SENTENCE + 1) + "really.") == []
    cats = [
        f"My cat's name is {name}." for name in ("Alma", "Bea", "Cleo", "Dot", "Eve") for name in (name, name + "x")
    ]
    dogs = [cat.replace("cat", "dog") for cat in cats]
    assert len(claims_in(" ".join([*cats, *dogs, "I'm vegan."]))) == CLAIMS_OF_MESSAGE


@pytest.mark.parametrize(
    "piece",
    [
        "I live in A",
        "my favourite a ",
        "I'm a b ",
        "I have a b c ",
        "'",
        "[",
        "I love a",
        "my a b is c",
        "I prefer a, and b ",
        "I'm vegan, ",
        "I'm vegan. ",
        "I'm vegan? ",
        "I'm vegan and and ",
        "I live in Rome and ",
        "My cat's name is Rex; ",
        "not " + "I'm vegan, " * STARTS_OF_SENTENCE + ". ",
        "a b c " * 300 + ", I'm vegan" * STARTS_OF_SENTENCE,
        "\n",
        "mean ",
        "ich wohne in A ",
        "me gusta el a ",
        "j'aime le a ",
    ],
)
def test_a_hostile_text_takes_little_time(piece: str) -> None:
    text = (piece * LONGEST_TEXT)[: LONGEST_TEXT - 10] + "I'm vegan."
    started = process_time()
    for _ in range(20):
        claims_in(text)
        sentences_of(1, text + text)
    assert process_time() - started < 0.5


@pytest.mark.parametrize(
    "piece", ["I live in A ", "my a ", "I'm a b ", '"', "> ", "I wrote ", "a: ", "\nhi ", " / ", "I "]
)
def test_a_text_of_a_mebibyte_takes_little_time(piece: str) -> None:
    text = piece * (1024 * 1024 // len(piece))
    started = process_time()
    assert claims_in(text) == []
    assert process_time() - started < 0.1
