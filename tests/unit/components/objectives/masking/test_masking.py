from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from ptm.components.objectives.masking import Maskable, Masked, Masking, MaskingConfig
from ptm.components.objectives.masking.ngram import NgramMasking
from ptm.components.objectives.masking.span import SpanMasking
from ptm.components.objectives.masking.token import TokenMasking
from ptm.components.objectives.masking.whole_word import WholeWordMasking
from ptm.data.examples import chunk_documents
from ptm.rng import stream_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabulary
    from tests.conftest import RealText

LENGTH = 126
KINDS: dict[str, MaskingConfig] = {
    "tokens": TokenMasking(),
    "words": WholeWordMasking(unit="whole_word"),
    "spans": SpanMasking(unit="span"),
    "short spans": SpanMasking(unit="span", geometric_p=0.3, max_length=5),
    "spans of words": SpanMasking(unit="span", whole_words=True),
    "ngrams": NgramMasking(unit="ngram"),
    "ngrams of words": NgramMasking(unit="ngram", max_ngram=2, whole_words=True),
}
every_kind = pytest.mark.parametrize("masking", KINDS.values(), ids=KINDS.keys())


def surrounded(
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    word_starts: NDArray[np.bool_],
    vocabulary: Vocabulary,
) -> Maskable:
    """The examples, each with [CLS] before it and [SEP] after it."""
    ends = np.cumsum(lengths)
    places = np.stack([ends - lengths, ends], axis=1).ravel()
    around = [vocabulary.special_id("cls"), vocabulary.special_id("sep")] * lengths.size
    with_specials = np.insert(ids, places, around)
    return Maskable(
        ids=with_specials,
        special=vocabulary.is_special[with_specials],
        word_starts=np.insert(word_starts, places, True),
        owner=np.repeat(np.arange(lengths.size), lengths + 2),
        examples=lengths.size,
    )


@pytest.fixture(scope="module")
def vocabulary(real_text: RealText) -> Vocabulary:
    return real_text.tokenizer.vocabulary


@pytest.fixture(scope="module")
def text(real_store: TokenStore, vocabulary: Vocabulary) -> Maskable:
    """All real documents, the long ones cut into chunks."""
    pieces = chunk_documents(*real_store.document_ranges, LENGTH)
    texts = pieces.texts(real_store, np.arange(pieces.lengths.size))
    assert texts.word_starts is not None
    return surrounded(texts.tokens, texts.lengths, texts.word_starts, vocabulary)


@pytest.fixture(scope="module")
def long_text(real_store: TokenStore, vocabulary: Vocabulary) -> Maskable:
    """The real documents and their chunks that have 40 tokens or more."""
    pieces = chunk_documents(*real_store.document_ranges, LENGTH)
    texts = pieces.texts(real_store, np.flatnonzero(pieces.lengths >= 40))
    assert texts.word_starts is not None
    return surrounded(texts.tokens, texts.lengths, texts.word_starts, vocabulary)


def applied(
    masking: MaskingConfig,
    text: Maskable,
    vocabulary: Vocabulary,
    *,
    epoch: int = 0,
    example: NDArray[np.int64] | None = None,
    seed: int = 7,
    purpose: str = "train",
) -> Masked:
    return masking.apply(
        text,
        example=np.arange(text.examples) if example is None else example,
        epoch=np.full(text.examples, epoch),
        seed=seed,
        purpose=purpose,
        vocabulary=vocabulary,
    )


def differs(first: Masked, second: Masked) -> bool:
    return not (np.array_equal(first.predicted, second.predicted))


def same(first: Masked, second: Masked) -> bool:
    return np.array_equal(first.predicted, second.predicted) and np.array_equal(
        first.inputs, second.inputs
    )


# How many tokens are predicted


def test_exactly_the_rate_of_the_tokens_is_predicted_in_every_example(
    text: Maskable, vocabulary: Vocabulary
) -> None:
    predicted = applied(TokenMasking(), text, vocabulary).predicted
    maskable = np.bincount(text.owner[~text.special], minlength=text.examples)
    expected = [max(1, round(0.15 * int(n))) if n else 0 for n in maskable]
    assert np.bincount(text.owner[predicted], minlength=text.examples).tolist() == expected


@every_kind
def test_longer_documents_are_masked_at_the_rate_of_the_recipe(
    masking: TokenMasking, long_text: Maskable, vocabulary: Vocabulary
) -> None:
    # In shorter documents at least one unit is predicted, which exceeds the rate.
    predicted = applied(masking, long_text, vocabulary).predicted
    assert predicted.sum() / (~long_text.special).sum() == pytest.approx(0.15, abs=0.01)


@every_kind
def test_every_example_with_text_has_a_target(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    predicted = applied(masking, text, vocabulary).predicted
    with_text = np.unique(text.owner[~text.special])
    assert np.array_equal(np.unique(text.owner[predicted]), with_text)


@every_kind
def test_no_example_has_more_than_max_predictions(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    limited = masking.model_copy(update={"max_predictions": 8})
    predicted = applied(limited, text, vocabulary).predicted
    without = applied(masking, text, vocabulary).predicted
    assert np.bincount(text.owner[without]).max() > 8
    assert np.bincount(text.owner[predicted]).max() <= 8


# Which tokens are predicted


@every_kind
def test_special_tokens_are_never_predicted_or_changed(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    for epoch in range(3):
        masked = applied(masking, text, vocabulary, epoch=epoch)
        assert not masked.predicted[text.special].any()
        assert np.array_equal(masked.inputs[text.special], text.ids[text.special])


@pytest.mark.parametrize("kind", ["words", "spans of words", "ngrams of words"])
def test_a_whole_word_is_never_split(kind: str, text: Maskable, vocabulary: Vocabulary) -> None:
    assert text.word_starts is not None
    word = np.cumsum(text.word_starts)[~text.special]
    predicted = applied(KINDS[kind], text, vocabulary).predicted[~text.special]
    size, hidden = np.bincount(word), np.bincount(word, predicted)
    assert (hidden > 1).any(), "no word of several tokens was predicted"
    assert ((hidden == 0) | (hidden == size)).all()


def spans_cut_by_specials(masking: SpanMasking, text: Maskable) -> int:
    """The number of spans with tokens on both sides of a special token."""
    predicted, group = masking.choose(text, stream_keys(1, np.arange(text.examples)))
    at = np.flatnonzero(predicted)
    same_span = (text.owner[at][1:] == text.owner[at][:-1]) & (group[at][1:] == group[at][:-1])
    return int((same_span & (np.diff(at) > 1)).sum())


@pytest.mark.parametrize("kind", ["spans", "short spans", "spans of words"])
@pytest.mark.parametrize("role", ["sep", "unk"])
def test_a_span_never_crosses_a_special_token(
    kind: str, role: str, long_text: Maskable, vocabulary: Vocabulary
) -> None:
    masking = KINDS[kind]
    assert isinstance(masking, SpanMasking)
    assert long_text.word_starts is not None
    ids = long_text.ids.copy()
    ids[::10] = np.where(long_text.special[::10], ids[::10], vocabulary.special_id(role))
    special = vocabulary.is_special[ids]
    # A special token is a word of its own.
    starts = long_text.word_starts | special | np.roll(special, 1)
    with_specials = replace(long_text, ids=ids, special=special, word_starts=starts)
    assert spans_cut_by_specials(masking, with_specials) == 0


@pytest.mark.parametrize("kind", ["spans", "short spans", "spans of words"])
def test_spans_never_touch(kind: str, text: Maskable) -> None:
    predicted, group = KINDS[kind].choose(text, stream_keys(1, np.arange(text.examples)))
    touching = predicted[1:] & predicted[:-1] & (text.owner[1:] == text.owner[:-1])
    assert (group[1:] == group[:-1])[touching].all()


@every_kind
def test_a_batch_of_only_unknown_tokens_has_no_targets(
    masking: TokenMasking, vocabulary: Vocabulary
) -> None:
    unknown = np.full(5, vocabulary.special_id("unk"))
    text = surrounded(unknown, np.array([2, 3]), np.ones(5, dtype=bool), vocabulary)
    masked = applied(masking, text, vocabulary)
    assert not masked.predicted.any()
    assert np.array_equal(masked.inputs, text.ids)


# Replacement


@every_kind
def test_80_percent_are_masked_10_randomised_10_unchanged(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    epochs = [applied(masking, text, vocabulary, epoch=epoch) for epoch in range(4)]
    inputs = np.concatenate([masked.inputs[masked.predicted] for masked in epochs])
    targets = np.concatenate([text.ids[masked.predicted] for masked in epochs])
    masked = inputs == vocabulary.special_id("mask")
    # About 40,000 tokens, but only 10,000 independent draws with spans: five standard deviations
    # are 0.02.
    assert masked.mean() == pytest.approx(0.8, abs=0.02)
    assert (inputs == targets).mean() == pytest.approx(0.1, abs=0.02)
    assert (~masked & (inputs != targets)).mean() == pytest.approx(0.1, abs=0.02)


@every_kind
def test_random_tokens_are_ordinary_tokens(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    always = masking.model_copy(update={"mask": 0.0, "random": 1.0})
    masked = applied(always, text, vocabulary)
    drawn = masked.inputs[masked.predicted]
    assert np.isin(drawn, vocabulary.ordinary_ids).all()
    # The whole vocabulary is used, including its first and last tokens.
    span = vocabulary.ordinary_ids[-1] - vocabulary.ordinary_ids[0]
    assert drawn.min() < vocabulary.ordinary_ids[0] + 0.02 * span
    assert drawn.max() > vocabulary.ordinary_ids[-1] - 0.02 * span


@every_kind
def test_tokens_change_only_where_they_are_predicted(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    masked = applied(masking, text, vocabulary)
    assert np.array_equal(masked.inputs[~masked.predicted], text.ids[~masked.predicted])


def mixed_replacements(masking: MaskingConfig, text: Maskable, vocabulary: Vocabulary) -> float:
    """The share of predicted neighbours in one word of which exactly one is masked."""
    assert text.word_starts is not None
    masked = applied(masking, text, vocabulary)
    hidden = masked.inputs == vocabulary.special_id("mask")
    together = masked.predicted[1:] & masked.predicted[:-1] & ~text.word_starts[1:]
    assert together.sum() > 500
    return float((hidden[1:] != hidden[:-1])[together].mean())


@pytest.mark.parametrize(
    "masking",
    [
        WholeWordMasking(unit="whole_word", replace_per="word"),
        KINDS["spans"],
        KINDS["spans of words"],
        NgramMasking(unit="ngram", whole_words=True, replace_per="word"),
    ],
    ids=["words", "spans", "spans of words", "ngrams of words"],
)
def test_the_tokens_of_a_word_or_span_are_replaced_alike(
    masking: WholeWordMasking | SpanMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    assert mixed_replacements(masking, text, vocabulary) == 0


def test_the_tokens_of_a_word_are_replaced_independently_by_default(
    text: Maskable, vocabulary: Vocabulary
) -> None:
    # 2 x 0.8 x 0.2 if the two tokens are independent.
    assert mixed_replacements(KINDS["words"], text, vocabulary) == pytest.approx(0.32, abs=0.05)


# Dependence on batch, epoch and seed


@every_kind
def test_dynamic_masking_differs_in_every_epoch(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    epochs = [applied(masking, text, vocabulary, epoch=epoch) for epoch in range(4)]
    assert all(differs(epochs[i], epochs[j]) for i in range(4) for j in range(i))


@every_kind
def test_static_masking_cycles_through_its_patterns(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    static = masking.model_copy(update={"dynamic": False, "duplicates": 3})
    epochs = [applied(static, text, vocabulary, epoch=epoch) for epoch in range(6)]
    assert all(same(epochs[epoch], epochs[epoch + 3]) for epoch in range(3))
    assert all(differs(epochs[i], epochs[j]) for i in range(3) for j in range(i))


@every_kind
def test_one_static_pattern_is_the_same_in_all_epochs(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    static = masking.model_copy(update={"dynamic": False})
    first, later = (applied(static, text, vocabulary, epoch=epoch) for epoch in (0, 5))
    assert same(first, later)


@every_kind
@pytest.mark.parametrize("other", [{"seed": 8}, {"purpose": "eval"}], ids=["seed", "purpose"])
def test_another_seed_or_purpose_gives_another_mask(
    masking: TokenMasking, other: dict[str, Any], text: Maskable, vocabulary: Vocabulary
) -> None:
    assert differs(applied(masking, text, vocabulary), applied(masking, text, vocabulary, **other))


@every_kind
def test_the_mask_of_an_example_does_not_depend_on_its_batch(
    masking: TokenMasking, text: Maskable, vocabulary: Vocabulary
) -> None:
    whole = applied(masking, text, vocabulary)
    some = np.random.default_rng(0).permutation(text.examples)[:60]
    places = [np.flatnonzero(text.owner == example) for example in some]
    at = np.concatenate(places)
    assert text.word_starts is not None
    batch = Maskable(
        ids=text.ids[at],
        special=text.special[at],
        word_starts=text.word_starts[at],
        owner=np.repeat(np.arange(some.size), [len(place) for place in places]),
        examples=some.size,
    )
    alone = applied(masking, batch, vocabulary, example=some)
    assert np.array_equal(alone.predicted, whole.predicted[at])
    assert np.array_equal(alone.inputs, whole.inputs[at])


# The recipe's block


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"unit": "token", "mask": 0.8, "random": 0.3}, r"mask = 0\.8 and random = 0\.3 add up to"),
        ({"unit": "token", "duplicates": 5}, "duplicates = 5 has no effect with dynamic: true"),
        ({"unit": "token", "rate": 0.0}, "greater than 0"),
        ({"unit": "token", "rate": 1.0}, "less than 1"),
        ({"unit": "span", "max_length": 0}, "greater than 0"),
        ({"unit": "words"}, "unit"),
        ({"unit": "ngram", "max_ngram": 0}, "greater than or equal to 1"),
        ({"unit": "phrase"}, "lexicon"),
        ({"unit": "phrase", "lexicon": "a", "weights": {"phrase": 0}}, "no phrase would ever be"),
        ({"unit": "phrase", "lexicon": "a", "entities": "b"}, r"weights\.entity = 0 contradict"),
        ({"unit": "phrase", "lexicon": "a", "weights": {"entity": 1}}, "entities = None and"),
        ({"unit": "phrase", "lexicon": "a", "weights": {"word": 1}}, "unknown key"),
    ],
)
def test_an_invalid_masking_block_is_rejected(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Masking).validate_python(block)


def test_only_masking_of_words_needs_word_starts() -> None:
    assert {name: masking.needs_word_starts for name, masking in KINDS.items()} == {
        "tokens": False,
        "words": True,
        "spans": False,
        "short spans": False,
        "spans of words": True,
        "ngrams": False,
        "ngrams of words": True,
    }
