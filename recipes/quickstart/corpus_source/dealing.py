"""Reproducible, even-handed choice among facts and wordings.

A plain ``random.choice`` would mention some facts far more often than others. The dealer instead
treats every inventory as a deck of cards: it deals all of them in a shuffled order before any
comes a second time, so that each fact and each wording receives its fair share of the corpus.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

Card = TypeVar("Card", bound=Hashable)


class Dealer:
    """Deals from tuples of facts and patterns; the seed alone determines every result."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._decks: dict[tuple[Hashable, ...], list[int]] = {}

    def one(self, items: tuple[Card, ...]) -> Card:
        """The next item of the shuffled deck that belongs to ``items``."""
        deck = self._decks.setdefault(items, [])
        if not deck:
            deck.extend(range(len(items)))
            self._random.shuffle(deck)
        return items[deck.pop()]

    def some(self, items: tuple[Card, ...], count: int) -> list[Card]:
        """``count`` different items, or all of them if there are fewer."""
        chosen: list[Card] = []
        while len(chosen) < min(count, len(set(items))):
            item = self.one(items)
            if item not in chosen:
                chosen.append(item)
        return chosen

    def other(self, items: tuple[Card, ...], *excluded: Card) -> Card:
        """The next item that is none of ``excluded``."""
        while (item := self.one(items)) in excluded:
            pass
        return item

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return self._random.randint(low, high)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def say(self, patterns: tuple[str, ...], *facts: NamedTuple, **words: str) -> str:
        """The next wording of ``patterns``, filled from the fields of ``facts`` and ``words``."""
        fields: dict[str, str] = {}
        for fact in facts:
            fields.update(fact._asdict())
        fields.update(words)
        text = self.one(patterns).format(**fields)
        return text[0].upper() + text[1:]

    def say_all(self, groups: list[tuple[str, ...]], *facts: NamedTuple, **words: str) -> list[str]:
        """One wording from each of ``groups``, in order."""
        return [self.say(group, *facts, **words) for group in groups]


DocumentKind = Callable[[Dealer], str]
"""A kind of document: writes one document with the choices that the dealer makes."""
