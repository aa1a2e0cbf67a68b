"""What the decoder reads first: the options `decoder_start`, `target_bos`, `force_bos`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from transformers.models.bart.modeling_bart import shift_tokens_right

from ptm.components.objectives import AnyObjective
from ptm.components.objectives.denoising import Denoising
from ptm.components.objectives.seq2seq import Seq2Seq
from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.text.vocabulary import Vocabularies, Vocabulary
from tests.unit.components.objectives.denoising.denoised_rows import DenoisedRows, examples_of

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore

BART = {"decoder_start": "eos", "target_bos": True}
OPTIONS: list[dict[str, Any]] = [{}, {"decoder_start": "pad"}, {"decoder_start": "eos"}, BART]


def objective(kind: str, options: dict[str, Any]) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyObjective)
    return adapter.validate_python({"type": kind, **options})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["bart", "t5", "gsg"])
def test_the_decoder_reads_what_transformers_makes_of_the_labels(
    kind: str, options: dict[str, Any], letter_store: TokenStore, letter_vocabulary: Vocabulary
) -> None:
    """transformers shifts labels, which begin with bos if the tokenizer adds it, by one."""
    size = RowSize(32, 18)
    denoising = objective(kind, options)
    assert isinstance(denoising, Denoising)
    rows = DenoisedRows(letter_store, letter_vocabulary, denoising, size=size, packing=False)
    ids = {role: letter_vocabulary.special_id(role) for role in ("bos", "eos", "pad")}
    start = ids[options.get("decoder_start", "bos")]
    examples = examples_of(rows.batch(rows.all_rows()))
    assert len(examples) > 5
    for example in examples:
        labels = torch.tensor([example.given])
        shifted = shift_tokens_right(labels, ids["pad"], start)[0].tolist()
        assert example.read == shifted
        assert example.given[-1] == ids["eos"]
        assert (example.given[0] == ids["bos"]) == options.get("target_bos", False)
        assert len(example.read) <= size.target
    lengths = [len(example.read) for example in examples]
    bound = rows.lengths[rows.members(rows.all_rows()), 1]
    assert (lengths <= bound).all()
    prompt = denoising.prompt([7], Vocabularies.shared(letter_vocabulary))
    assert prompt is not None
    assert list(prompt.begin) == examples[0].read[: len(prompt.begin)]
    assert len(prompt.begin) == 1 + options.get("target_bos", False)


def test_a_translation_starts_in_the_same_way(letter_vocabulary: Vocabulary) -> None:
    start, begin = (letter_vocabulary.special_id(role) for role in ("eos", "bos"))
    found = objective("seq2seq", BART)
    assert isinstance(found, Seq2Seq)
    prompt = found.prompt([7], Vocabularies.shared(letter_vocabulary))
    assert prompt is not None
    assert prompt.begin == (start, begin)


@pytest.mark.parametrize("kind", ["bart", "seq2seq"])
def test_a_bos_that_is_not_forced_is_generated(kind: str, letter_vocabulary: Vocabulary) -> None:
    both = Vocabularies.shared(letter_vocabulary)
    found = objective(kind, {**BART, "force_bos": False})
    prompt = found.prompt([7], both)
    assert prompt.begin == (letter_vocabulary.special_id("eos"),)
    assert found.start_ids(letter_vocabulary) == objective(kind, BART).start_ids(letter_vocabulary)


def test_a_source_may_begin_without_bos(letter_vocabulary: Vocabulary) -> None:
    found = objective("bart", {"add_bos": False})
    prompt = found.prompt([7], Vocabularies.shared(letter_vocabulary))
    assert prompt.source == (7, letter_vocabulary.special_id("eos"))
    assert found.boundary_roles == (None, "eos")


def test_a_target_without_bos_has_none_to_force() -> None:
    with pytest.raises(ValidationError, match="force_bos = false needs target_bos: true"):
        objective("bart", {"force_bos": False})


def test_a_second_bos_is_rejected() -> None:
    with pytest.raises(ValidationError, match="target_bos = true needs decoder_start: eos or pad"):
        objective("bart", {"target_bos": True})


def test_a_vocabulary_without_the_start_is_rejected(letter_vocabulary: Vocabulary) -> None:
    tokens = tuple(token for token in letter_vocabulary.tokens if token != "[CLS]")
    without = Vocabulary(tokens=tokens, source="letters.txt", specials=letter_vocabulary.specials)
    objective("bart", {}).check_vocabulary(without, RowSize(32, 32))
    for options in ({"decoder_start": "bos"}, BART):
        with pytest.raises(UserError, match=r"letters\.txt: the vocabulary has no \[CLS\]"):
            objective("bart", options).check_vocabulary(without, RowSize(32, 32))
