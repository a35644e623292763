"""Rules for statements of users about themselves: a file for each language, with the words around statements."""

from resolvers.formation.languages.rule import Language, Rule, load

__all__ = ["LANGUAGES", "Language", "Rule"]

LANGUAGES: tuple[Language, ...] = tuple(load(name) for name in ("english", "german", "spanish", "french"))
