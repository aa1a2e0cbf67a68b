"""ERNIE's masking: phrases and entities of lexicons, on documents that consist of both and more."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ptm.components.objectives.masking import Maskable, Masked
from ptm.components.objectives.masking.phrase import PhraseMasking
from ptm.errors import UserError
from ptm.rng import stream_keys
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.wordpiece import WordPiece

I64 = NDArray[np.int64]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
HANZI = "天地人你我他上下左右大小多少山水日月风云"
PHRASES = ("天地", "天地人", "大小多少", "山水", "we go")
ENTITIES = ("日月风云", "左右")
EXAMPLES, LENGTH = 600, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of letters and hanzi, and two lexicons."""
    folder = tmp_path_factory.mktemp("phrases")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "we", "go", *HANZI, *LETTERS]
    tokens += [f"##{letter}" for letter in LETTERS]
    for name, lines in (("vocab", tokens), ("phrases", PHRASES), ("entities", ENTITIES)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return WordPiece(type="wordpiece", vocab=str(folder / "vocab.txt")).load()


def masking_of(folder: Path, tokenizer: Tokenizer, **options: Any) -> PhraseMasking:
    block = {
        "unit": "phrase",
        "lexicon": str(folder / "phrases.txt"),
        "entities": str(folder / "entities.txt"),
        "weights": {"token": 1, "phrase": 1, "entity": 2},
        **options,
    }
    return PhraseMasking.model_validate(block).with_files(tokenizer)


@pytest.fixture(scope="module")
def masking(folder: Path, tokenizer: Tokenizer) -> PhraseMasking:
    return masking_of(folder, tokenizer)


@pytest.fixture(scope="module")
def text(tokenizer: Tokenizer) -> Maskable:
    """Documents of phrases, entities and single characters, each between [CLS] and [SEP]."""
    generator = np.random.default_rng(0)
    pieces = [*PHRASES, *ENTITIES, *HANZI[::2], "x", "goer"]
    documents = tokenizer.encode([" ".join(generator.choice(pieces, 40)) for _ in range(EXAMPLES)])
    cls, sep = (tokenizer.vocabulary.special_id(role) for role in ("cls", "sep"))
    rows = [
        [cls, *ids[: int(n)], sep]
        for ids, n in zip(documents, np.arange(EXAMPLES) % LENGTH + 1, strict=True)
    ]
    return maskable_of(rows, tokenizer)


def maskable_of(rows: list[list[int]], tokenizer: Tokenizer) -> Maskable:
    ids = np.array([token for row in rows for token in row], dtype=np.int64)
    return Maskable(
        ids=ids,
        special=tokenizer.vocabulary.is_special[ids],
        word_starts=None,
        owner=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        examples=len(rows),
    )


def applied(
    masking: PhraseMasking,
    text: Maskable,
    tokenizer: Tokenizer,
    *,
    epoch: int = 0,
    example: I64 | None = None,
) -> Masked:
    return masking.apply(
        text,
        example=np.arange(text.examples) if example is None else example,
        epoch=np.full(text.examples, epoch),
        seed=7,
        purpose="train",
        vocabulary=tokenizer.vocabulary,
    )


def same(first: Masked, second: Masked) -> bool:
    return np.array_equal(first.predicted, second.predicted) and np.array_equal(
        first.inputs, second.inputs
    )


def found_plainly(row: list[int], phrases: list[list[int]], continued: list[bool]) -> list[range]:
    """The expected places of phrases in a document: a search one by one, longest first."""
    taken = [False] * len(row)
    found = []
    for length in sorted({len(phrase) for phrase in phrases}, reverse=True):
        for start in range(len(row) - length + 1):
            end = start + length
            if row[start:end] in phrases and not any(taken[start:end]) and not continued[row[end]]:
                taken[start:end] = [True] * length
                found.append(range(start, end))
    return found


def units_of(text: Maskable, phrases: tuple[str, ...], tokenizer: Tokenizer) -> list[list[range]]:
    """The places of the phrases in every example."""
    as_ids = tokenizer.encode(phrases)
    continued = tokenizer.continuations.tolist()
    rows = [text.ids[text.owner == example].tolist() for example in range(text.examples)]
    return [found_plainly(row, as_ids, continued) for row in rows]


def levels(masking: PhraseMasking, text: Maskable, tokenizer: Tokenizer) -> list[str]:
    """The level of every example, derived from its groups; "unclear" if it lacks phrases."""
    keys = stream_keys(1, np.arange(text.examples))
    _, group = masking.model_copy(update={"replace_per": "word"}).choose(text, keys)
    names = {"phrase": PHRASES, "entity": ENTITIES}
    places = {name: units_of(text, phrases, tokenizer) for name, phrases in names.items()}
    result = []
    for example in range(text.examples):
        mine = group[text.owner == example]
        joined = {
            name: all(len(set(mine[list(place)])) == 1 for place in found[example])
            for name, found in places.items()
        }
        if not places["phrase"][example] or not places["entity"][example]:
            result.append("unclear")
        else:
            names_joined = [name for name, is_joined in joined.items() if is_joined]
            result.append(names_joined[0] if names_joined else "token")
    return result


# Which tokens are predicted


@pytest.mark.parametrize(
    ("weights", "phrases"),
    [
        ({"token": 0, "phrase": 1, "entity": 0}, PHRASES),
        ({"token": 0, "phrase": 0, "entity": 1}, ENTITIES),
    ],
    ids=["phrases", "entities"],
)
def test_a_phrase_of_the_level_is_masked_whole_or_not_at_all(
    folder: Path,
    tokenizer: Tokenizer,
    text: Maskable,
    weights: dict[str, float],
    phrases: tuple[str, ...],
) -> None:
    entities = {"entities": None} if not weights["entity"] else {}
    masking = masking_of(folder, tokenizer, weights=weights, rate=0.3, **entities)
    predicted = applied(masking, text, tokenizer).predicted
    whole = 0
    for example, found in enumerate(units_of(text, phrases, tokenizer)):
        mine = predicted[text.owner == example]
        for place in found:
            hidden = mine[list(place)]
            assert hidden.all() or not hidden.any()
            whole += int(hidden.all())
    assert whole > 300


def test_phrases_may_be_split_at_the_token_level(
    masking: PhraseMasking, text: Maskable, tokenizer: Tokenizer
) -> None:
    group = levels(masking, text, tokenizer)
    predicted = masking.choose(text, stream_keys(1, np.arange(text.examples)))[0]
    split = 0
    for example, found in enumerate(units_of(text, PHRASES, tokenizer)):
        if group[example] == "token":
            mine = predicted[text.owner == example]
            split += sum(int(mine[list(p)].any() and not mine[list(p)].all()) for p in found)
    assert split > 50


def test_levels_are_drawn_in_proportion_to_their_weights(
    masking: PhraseMasking, text: Maskable, tokenizer: Tokenizer
) -> None:
    drawn = [level for level in levels(masking, text, tokenizer) if level != "unclear"]
    assert len(drawn) > 400
    # Five standard deviations of a share of 400 are at most 0.125.
    assert drawn.count("token") / len(drawn) == pytest.approx(0.25, abs=0.1)
    assert drawn.count("phrase") / len(drawn) == pytest.approx(0.25, abs=0.1)
    assert drawn.count("entity") / len(drawn) == pytest.approx(0.5, abs=0.12)


def test_a_phrase_does_not_match_if_its_last_word_continues(
    folder: Path, tokenizer: Tokenizer
) -> None:
    (phrase, longer) = tokenizer.encode(["we go", "we goer"])
    assert longer[: len(phrase)] == phrase
    always = masking_of(
        folder, tokenizer, weights={"phrase": 1, "token": 0}, entities=None, replace_per="word"
    )
    for ids, together in ((phrase, True), (longer, False)):
        text = maskable_of([ids], tokenizer)
        _, group = always.choose(text, stream_keys(1, np.arange(1)))
        assert (group[0] == group[1]) == together


def test_a_phrase_ends_with_its_example_even_without_a_special_token(
    folder: Path, tokenizer: Tokenizer
) -> None:
    options: dict[str, Any] = {"weights": {"phrase": 1, "token": 0}, "entities": None}
    masking = masking_of(folder, tokenizer, replace_per="word", **options)
    for halves, groups in ((["大小多少"], [0, 0, 0, 0]), (["大小", "多少"], [0, 1, 0, 1])):
        text = maskable_of(tokenizer.encode(halves), tokenizer)
        keys = stream_keys(1, np.arange(text.examples))
        assert masking.choose(text, keys)[1].tolist() == groups


def test_whole_words_align_phrases_with_words_and_mask_words_whole(
    folder: Path, tokenizer: Tokenizer
) -> None:
    options: dict[str, Any] = {
        "weights": {"phrase": 1, "token": 0},
        "entities": None,
        "replace_per": "word",
    }
    masking = masking_of(folder, tokenizer, whole_words=True, **options)
    assert masking.needs_word_starts
    assert not masking_of(folder, tokenizer, **options).needs_word_starts
    text = maskable_of(tokenizer.encode(["山水 天地人 你我"]), tokenizer)
    keys = stream_keys(1, np.arange(1))
    for words, groups in (
        ([1, 0, 1, 0, 1, 1, 0], [0, 0, 2, 2, 2, 5, 5]),
        # A phrase whose end is inside a word, and one whose beginning is inside a word.
        ([1, 0, 1, 1, 0, 0, 1], [0, 0, 2, 3, 3, 3, 6]),
        ([1, 1, 1, 0, 1, 1, 1], [0, 0, 2, 2, 2, 5, 6]),
    ):
        with_words = replace(text, word_starts=np.array(words, dtype=bool))
        assert masking.choose(with_words, keys)[1].tolist() == groups


# How many tokens are predicted


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_the_budget_is_met_and_exceeded_by_less_than_one_phrase(
    folder: Path, tokenizer: Tokenizer, text: Maskable, rate: float
) -> None:
    masking = masking_of(folder, tokenizer, rate=rate)
    predicted = applied(masking, text, tokenizer).predicted
    tokens = np.bincount(text.owner[~text.special], minlength=text.examples)
    taken = np.bincount(text.owner[predicted], minlength=text.examples)
    budget = np.maximum(1, np.rint(rate * tokens))
    assert (taken >= budget).all()
    assert (taken < budget + 4).all()
    assert (taken > budget).any()


def test_no_example_has_more_than_max_predictions(
    folder: Path, tokenizer: Tokenizer, text: Maskable
) -> None:
    predicted = applied(masking_of(folder, tokenizer, max_predictions=3), text, tokenizer).predicted
    assert np.bincount(text.owner[predicted]).max() == 3


def test_special_tokens_are_never_predicted_or_changed(
    masking: PhraseMasking, text: Maskable, tokenizer: Tokenizer
) -> None:
    masked = applied(masking, text, tokenizer)
    assert not masked.predicted[text.special].any()
    assert np.array_equal(masked.inputs[~masked.predicted], text.ids[~masked.predicted])


@pytest.mark.parametrize(("per", "share"), [("word", 0.0), ("token", 0.32)])
def test_replacement_is_drawn_per_phrase_or_per_token(
    folder: Path, tokenizer: Tokenizer, text: Maskable, per: str, share: float
) -> None:
    weights = {"token": 0, "phrase": 1}
    masking = masking_of(
        folder, tokenizer, weights=weights, entities=None, replace_per=per, rate=0.5
    )
    masked = applied(masking, text, tokenizer)
    hidden = masked.inputs == tokenizer.vocabulary.special_id("mask")
    mixed = []
    for example, found in enumerate(units_of(text, PHRASES, tokenizer)):
        mine = text.owner == example
        for place in found:
            if masked.predicted[mine][place.start]:
                mixed.append(hidden[mine][place.start] != hidden[mine][place.start + 1])
    # 2 x 0.8 x 0.2 if the two tokens are independent.
    assert len(mixed) > 1000
    assert np.mean(mixed) == pytest.approx(share, abs=0.07)


# Dependence on batch, epoch and seed


def test_the_mask_of_an_example_does_not_depend_on_its_batch(
    masking: PhraseMasking, text: Maskable, tokenizer: Tokenizer
) -> None:
    whole = applied(masking, text, tokenizer)
    some = np.random.default_rng(0).permutation(text.examples)[:60]
    rows = [text.ids[text.owner == example].tolist() for example in some]
    at = np.concatenate([np.flatnonzero(text.owner == example) for example in some])
    alone = applied(masking, maskable_of(rows, tokenizer), tokenizer, example=some)
    assert np.array_equal(alone.predicted, whole.predicted[at])
    assert np.array_equal(alone.inputs, whole.inputs[at])


def test_every_epoch_draws_the_level_of_an_example_again(
    masking: PhraseMasking, text: Maskable, tokenizer: Tokenizer
) -> None:
    first, second = (applied(masking, text, tokenizer, epoch=epoch) for epoch in (0, 1))
    assert not np.array_equal(first.predicted, second.predicted)
    assert same(first, applied(masking, text, tokenizer))


def test_static_masking_cycles_through_its_patterns(
    folder: Path, tokenizer: Tokenizer, text: Maskable
) -> None:
    static = masking_of(folder, tokenizer, dynamic=False, duplicates=2)
    epochs = [applied(static, text, tokenizer, epoch=epoch) for epoch in range(4)]
    assert same(epochs[0], epochs[2])
    assert same(epochs[1], epochs[3])
    assert not same(epochs[0], epochs[1])


# Lexicon files


def test_the_lexicons_are_input_files_and_their_phrases_give_the_fingerprint(
    folder: Path, tokenizer: Tokenizer, masking: PhraseMasking, tmp_path: Path
) -> None:
    assert masking.input_files == {
        "lexicon": str(folder / "phrases.txt"),
        "entities": str(folder / "entities.txt"),
    }
    assert masking.with_files(tokenizer) is masking
    copy = tmp_path / "copy.txt"
    copy.write_text("\r\n".join(["", *reversed(PHRASES), PHRASES[0]]), encoding="utf-8")
    assert masking_of(folder, tokenizer, lexicon=str(copy)).fingerprint == masking.fingerprint
    copy.write_text("\n".join([*PHRASES, "你我"]), encoding="utf-8")
    assert masking_of(folder, tokenizer, lexicon=str(copy)).fingerprint != masking.fingerprint


def test_phrases_that_cannot_be_masked_are_counted(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "some.txt"
    path.write_text("天地\n龙凤\n天\n[MASK]\n山水\n", encoding="utf-8")
    logging.getLogger("ptm").propagate = True
    with caplog.at_level(logging.INFO, logger="ptm"):
        masking_of(folder, tokenizer, lexicon=str(path))
    counts = "usable phrases: 2 of 5; phrases with unknown tokens: 2; phrases of a single token: 1"
    assert f"{path}: {counts}" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("龙凤\n天\n凤\n龙\n", r'no usable phrase\. Phrases: 4 \(the first: "龙凤", "天", "凤"\);'),
        ("\n \n", "the lexicon is empty"),
        (b"\xff\xfe", "not valid UTF-8 at byte 0"),
        (None, "cannot be read: No such file"),
    ],
)
def test_an_unusable_lexicon_is_rejected_with_its_path(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    path = tmp_path / "lexicon.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        masking_of(folder, tokenizer, lexicon=str(path))
    assert str(error.value).startswith(f"{path}: ")
