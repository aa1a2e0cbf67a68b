"""Tags and their schemes: entities as seqeval reads them, repair, and the allowed sequences."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from ptm.components.objectives.scores.class_scores import entity_scores
from ptm.errors import UserError
from ptm.text.tags import Scheme, TagSet, tags_of_entities

TYPES = ("PER", "LOC")
BIO, BIOES = (TagSet(tags_of_entities(TYPES, one), scheme=one) for one in ("bio", "bioes"))
BMES = TagSet(("O", *(f"{letter}-W" for letter in "BMES")), scheme="bioes")
PLAIN = TagSet(("NN", "VB"), scheme="plain")


def drawn(tags: TagSet, seed: int) -> list[list[str]]:
    """Random sentences: nearly all of them break the rules of the scheme."""
    dice = np.random.default_rng(seed)
    return [list(dice.choice(tags.names, dice.integers(1, 9))) for _ in range(300)]


def flat(tags: TagSet, sentences: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    indexes = [tags.tag_index(str(tag)) for sentence in sentences for tag in sentence]
    begins = [at == 0 for sentence in sentences for at in range(len(sentence))]
    return np.array(indexes), np.array(begins)


def entities_of(tags: TagSet, sentences: list[list[str]]) -> list[tuple[str, int, int]]:
    """Type, first and last word of each entity, counted over all sentences."""
    types = list(dict.fromkeys(name[2:] for name in tags.names if name != "O"))
    found = tags.entities(*flat(tags, sentences))
    return [(types[kind], first, last) for first, last, kind in zip(*found.columns, strict=True)]


def by_seqeval(sentences: list[list[str]]) -> list[tuple[str, int, int]]:
    found, before = [], 0
    for sentence in sentences:
        for kind, first, last in get_entities(sentence):
            found.append((kind, before + first, before + last))
        before += len(sentence)
    return found


@pytest.mark.parametrize("tags", [BIO, BIOES])
def test_entities_are_those_that_seqeval_reads(tags: TagSet) -> None:
    sentences = drawn(tags, 1)
    expected = by_seqeval(sentences)
    assert len(expected) > 200
    assert entities_of(tags, sentences) == expected


@pytest.mark.parametrize("tags", [BIO, BIOES])
def test_scores_are_those_of_seqeval(tags: TagSet) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score

    true = drawn(tags, 2)
    dice = np.random.default_rng(3)
    keep = iter(dice.random(10_000) < 0.7)
    predicted = [[tag if next(keep) else "O" for tag in sentence] for sentence in true]
    begins = flat(tags, true)[1]
    found = entity_scores(*(tags.entities(flat(tags, one)[0], begins) for one in (true, predicted)))
    assert 0 < found["entity_f1"] < 1
    assert found == pytest.approx(
        {
            "entity_precision": precision_score(true, predicted),
            "entity_recall": recall_score(true, predicted),
            "entity_f1": f1_score(true, predicted),
        },
        abs=1e-12,
    )


def test_no_entity_gives_scores_of_zero() -> None:
    nothing = BIO.entities(np.zeros(3, np.int64), np.array([True, False, False]))
    assert entity_scores(nothing, nothing) == {
        "entity_precision": 0.0,
        "entity_recall": 0.0,
        "entity_f1": 0.0,
    }


def test_other_names_of_inside_and_end_are_read_alike() -> None:
    assert entities_of(BMES, [["B-W", "M-W", "E-W", "S-W"], ["B-W", "E-W"]]) == [
        *(("W", 0, 2), ("W", 3, 3), ("W", 4, 5))
    ]


# Repair


@pytest.mark.parametrize("tags", [BIO, BIOES])
def test_repaired_tags_have_the_same_entities_and_follow_the_rules(tags: TagSet) -> None:
    sentences = drawn(tags, 4)
    given, begins = flat(tags, sentences)
    repaired = tags.repaired(given, begins)
    assert (repaired != given).sum() > 100
    names = iter([tags.names[index] for index in repaired])
    again = [[next(names) for _ in sentence] for sentence in sentences]
    assert by_seqeval(again) == by_seqeval(sentences)
    assert all(follows_the_rules(tags, sentence) for sentence in again)
    assert (tags.repaired(repaired, begins) == repaired).all()


def test_an_inside_tag_that_continues_nothing_begins_an_entity() -> None:
    given, begins = flat(BIO, [["I-PER", "I-PER", "I-LOC", "O", "I-PER"], ["I-PER"]])
    repaired = [BIO.names[index] for index in BIO.repaired(given, begins)]
    assert repaired == ["B-PER", "I-PER", "B-LOC", "O", "B-PER", "B-PER"]


def test_tags_of_a_plain_scheme_stay_as_they_are() -> None:
    given = np.array([1, 1, 0])
    assert PLAIN.repaired(given, given == 0).tolist() == [1, 1, 0]


# Rules


def follows_the_rules(tags: TagSet, sentence: list[str]) -> bool:
    """The rules of BIO and BIOES, by hand."""
    inside = None
    for tag in sentence:
        letter, _, kind = tag.partition("-")
        if letter in ("I", "E") and inside != kind:
            return False
        if tags.scheme == "bioes" and inside is not None and letter not in ("I", "E"):
            return False
        inside = kind if letter in ("B", "I") else None
    return tags.scheme == "bio" or inside is None


@pytest.mark.parametrize("tags", [BIO, BIOES])
def test_the_allowed_sentences_are_those_of_the_scheme(tags: TagSet) -> None:
    count = len(tags.names)
    for length in (1, 2, 3):
        for path in product(range(count), repeat=length):
            allowed = bool(tags.allowed[count, path[0]] and tags.allowed[count + 1, path[-1]])
            allowed &= all(tags.allowed[a, b] for a, b in pairwise(path))
            assert allowed == follows_the_rules(tags, [tags.names[index] for index in path])


def test_any_sequence_of_plain_tags_is_allowed() -> None:
    assert PLAIN.allowed.all()


# Names


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("B-PRE", '"B-PRE" is not one of the tags [O, B-PER, I-PER, B-LOC, I-LOC]'),
        ("B-PRE", 'Did you mean "B-PER"?'),
        (5, "the tag 5 is out of range: the 5 tags"),
        (-1, "the tag -1 is out of range"),
    ],
)
def test_an_unknown_tag_is_rejected(value: str | int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        BIO.tag_index(value)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["I-PER", " I-PER ", 2])
def test_a_tag_is_a_name_or_a_position(value: str | int) -> None:
    assert BIO.tag_index(value) == 2


@pytest.mark.parametrize(("scheme", "name"), [("bio", "E-PER"), ("bio", "PER"), ("bioes", "X")])
def test_a_tag_of_another_scheme_is_rejected(scheme: Scheme, name: str) -> None:
    with pytest.raises(ValueError, match=f'scheme = {scheme}: the tag "{name}" is neither O nor'):
        TagSet(("O", name), scheme=scheme).check()
