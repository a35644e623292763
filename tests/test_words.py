"""Words and their stems, which texts and queries are taken apart into."""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.stemming import term_of
from models.words import words
from resolvers.search.questions import beginning

# The parts


@settings(max_examples=300, deadline=None)
@given(st.text("abcdeghilmnorstuyz", min_size=1, max_size=14) | st.text("aeilstbyng", min_size=3, max_size=9))
def test_every_word_begins_as_its_stem_says(word: str) -> None:
    assert word.startswith(beginning(term_of(word)))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
@example("00\U0001d608")
def test_words_are_the_same_taken_apart_twice(text: str) -> None:
    once = words(text)
    assert all(word and not word.isspace() and " " not in word for word in once)
    spaced_again = [word for word in once if len(word) > 2 and word.isascii()]
    assert [part for word in spaced_again for part in words(word)] == spaced_again


def test_searches_in_several_threads_stem_alike() -> None:
    said = [
        f"{stem}{ending}" for stem in ("hik", "relat", "happi", "organ") for ending in ("ing", "ed", "ization", "ness")
    ]
    alone = [term_of(word) for word in said]

    async def together() -> list[list[str]]:
        term_of.cache_clear()
        return await asyncio.gather(*(asyncio.to_thread(lambda: [term_of(word) for word in said]) for _ in range(8)))

    assert all(each == alone for each in asyncio.run(together()))
