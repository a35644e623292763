"""The cache of the process: bounded, and what is used stays."""

from recallql.cache import LruCache


def test_the_least_recently_used_makes_room() -> None:
    cache: LruCache[int, str] = LruCache(3)
    for number in range(3):
        cache.put(number, f"{number}")
    assert cache.get(0) == "0"
    cache.put(3, "3")
    assert [cache.get(number) for number in range(4)] == ["0", None, "2", "3"]


def test_a_value_that_is_put_again_counts_as_used() -> None:
    cache: LruCache[str, int] = LruCache(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, value)
    assert [cache.get(key) for key in "abc"] == [3, None, 4]
