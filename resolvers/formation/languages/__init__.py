"""Rules for what users say of themselves: a file for each language, with the words that stand around statements."""

from resolvers.formation.languages.rule import Language, Rule, load

__all__ = ["LANGUAGES", "Language", "Rule"]

LANGUAGES: tuple[Language, ...] = tuple(load(name) for name in ("english", "german", "spanish", "french"))
