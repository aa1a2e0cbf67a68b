"""The phrase that names where two vocabularies differ."""

from __future__ import annotations

from ptm.text.vocabulary import first_difference


def test_the_first_token_that_differs_is_named() -> None:
    assert first_difference(("a", "b", "c"), ("a", " ", "d")) == "token 1 is 'b' there and ' ' here"


def test_a_vocabulary_that_only_goes_on_is_named_by_its_size() -> None:
    assert first_difference(("a", "b"), ("a",)) == "2 tokens there and 1 here"
