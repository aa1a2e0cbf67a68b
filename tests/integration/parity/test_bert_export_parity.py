"""An exported BERT gives, in transformers, the logits it gives here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from ptm.data.preprocess import Preprocessing, preprocess
from ptm.errors import UserError
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.source import open_source
from ptm.model.build import empty_model, initialise
from ptm.text.corpus import find_corpus
from ptm.train.batches import step_batch
from ptm.train.rows import TRAIN, open_rows
from tests.support.bert_pairs import (
    BASE,
    LARGEST_LOGIT,
    MINI,
    TINY,
    TOLERANCE,
    Pair,
    blocks_of,
    difference,
    examples_of,
    hf_logits,
    hf_logits_alone,
    laid_out,
    make_pair,
    packed,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    write_model,
)

CASES: dict[str, dict[str, Any]] = {
    f"tiny-{activation}-{'tied' if tied else 'untied'}-{'segment' if segment else 'no_segment'}": {
        "size": TINY,
        "activation": activation,
        "tied": tied,
        "segment": segment,
    }
    for activation in ("gelu", "gelu_tanh", "relu")
    for tied in (True, False)
    for segment in (True, False)
}
CASES["tiny-silu"] = {"size": TINY, "activation": "silu"}
CASES["tiny-tanh-epsilon"] = {"size": TINY, "activation": "tanh", "epsilon": 1e-5}
CASES["tiny-eager"] = {"size": TINY, "attention": "eager"}
CASES["tiny-no_bias"] = {"size": TINY, "bias": False}
CASES["mini"] = {"size": MINI}
CASES["mini-untied-no_segment"] = {"size": MINI, "tied": False, "segment": False}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    bundled_vocab: Path,
) -> Pair:
    case = dict(request.param)
    attention = case.pop("attention", "sdpa")
    blocks = blocks_of(bundled_vocab, case.pop("size"), **case)
    return make_pair(tmp_path_factory.mktemp("pair"), blocks, bundled_texts, attention=attention)


def test_a_single_row_has_the_same_logits(pair: Pair) -> None:
    for ids in pair.examples[:4]:
        theirs = hf_logits_alone(pair.theirs, [ids])
        assert difference(ptm_logits(pair.ours, laid_out([[ids]])), theirs) <= TOLERANCE


def test_padded_rows_have_the_same_logits(pair: Pair) -> None:
    rows = laid_out([[ids] for ids in pair.examples])
    assert rows.attention_mask.sum(dim=1).unique().numel() > 3, "rows of several lengths"
    assert difference(ptm_logits(pair.ours, rows), hf_logits(pair.theirs, rows)) <= TOLERANCE


def test_a_packed_row_has_the_logits_of_its_examples_alone(pair: Pair) -> None:
    rows = packed(pair.examples, columns=128)
    assert len(rows.tensors["input_ids"]) <= len(pair.examples) / 2, "several examples a row"
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert difference(ptm_logits(pair.ours, rows), theirs) <= TOLERANCE


def test_the_logits_that_are_compared_are_large_and_spread(pair: Pair) -> None:
    logits = hf_logits_alone(pair.theirs, pair.examples)
    assert float(logits.abs().max()) == pytest.approx(LARGEST_LOGIT, rel=1e-4)
    assert float(logits.std()) > 0.5


def test_nothing_is_missing_and_nothing_is_left(pair: Pair) -> None:
    _, info = AutoModelForMaskedLM.from_pretrained(pair.folder, output_loading_info=True)
    assert not any(info.values()), info


def test_in_double_precision_no_difference_is_left(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> None:
    # What fp32 hides below its tolerance, such as another epsilon, would show here.
    pair = make_pair(tmp_path, blocks_of(small_vocab, MINI), bundled_texts)
    theirs = hf_logits_alone(pair.theirs.double(), pair.examples)
    ours = ptm_logits(pair.ours.double(), packed(pair.examples, columns=128))
    assert ours.dtype == torch.float64
    assert difference(ours, theirs) <= 1e-13


def test_a_base_sized_model_has_the_same_logits(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> None:
    pair = make_pair(tmp_path, blocks_of(small_vocab, BASE), bundled_texts[:4])
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert (
        difference(ptm_logits(pair.ours, packed(pair.examples, columns=128)), theirs) <= TOLERANCE
    )
    rows = laid_out([[ids] for ids in pair.examples])
    assert difference(ptm_logits(pair.ours, rows), hf_logits(pair.theirs, rows)) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("tied", "segment"), [(True, False), (False, True)])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_base_sized_model_in_other_shapes_has_the_same_logits(
    tmp_path: Path,
    bundled_texts: list[str],
    bundled_vocab: Path,
    tied: bool,
    segment: bool,
    attention: str,
) -> None:
    blocks = blocks_of(bundled_vocab, BASE, tied=tied, segment=segment, activation="gelu_tanh")
    pair = make_pair(tmp_path, blocks, bundled_texts, attention=attention)
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert (
        difference(ptm_logits(pair.ours, packed(pair.examples, columns=128)), theirs) <= TOLERANCE
    )


def test_reviews_have_the_same_logits_under_the_chinese_vocabulary(
    tmp_path: Path, review_texts: list[str], chinese_vocab: Path
) -> None:
    pair = make_pair(tmp_path, blocks_of(chinese_vocab, TINY), review_texts)
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert (
        difference(ptm_logits(pair.ours, packed(pair.examples, columns=128)), theirs) <= TOLERANCE
    )


def test_a_model_that_reads_full_rows_uses_every_position_alike(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> None:
    pair = make_pair(tmp_path, blocks_of(small_vocab, TINY), bundled_texts)
    (ids,) = examples_of(pair.tokenizer, ["".join(bundled_texts)], longest=128)
    assert len(ids) == 128, "as long as the position table"
    theirs = hf_logits_alone(pair.theirs, [ids])
    assert difference(ptm_logits(pair.ours, laid_out([[ids]])), theirs) <= TOLERANCE


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_the_bin_format_loads_with_the_same_logits(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path, tied: bool
) -> None:
    blocks = blocks_of(small_vocab, TINY, tied=tied)
    pair = make_pair(tmp_path, blocks, bundled_texts, weights_format="bin")
    assert (pair.folder / "pytorch_model.bin").exists()
    assert not (pair.folder / "model.safetensors").exists()
    _, info = AutoModelForMaskedLM.from_pretrained(pair.folder, output_loading_info=True)
    assert not any(info.values()), info
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert (
        difference(ptm_logits(pair.ours, packed(pair.examples, columns=128)), theirs) <= TOLERANCE
    )


@pytest.mark.parametrize("segment", [True, False], ids=["segment", "no_segment"])
def test_the_encoder_alone_gives_the_same_hidden_states_and_misses_nothing(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path, segment: bool
) -> None:
    pair = make_pair(tmp_path, blocks_of(small_vocab, TINY, segment=segment), bundled_texts)
    # Without segments it is a DistilBERT, which has no pooler to leave out.
    options = {"add_pooling_layer": False} if segment else {}
    bare, info = AutoModel.from_pretrained(pair.folder, output_loading_info=True, **options)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    head = ("cls.predictions.", "vocab_")
    assert all(name.startswith(head) for name in info["unexpected_keys"])
    # Every step but the three of the head.
    encoder = [step.key for step in pair.ours.plan.steps[:-3]]
    for ids in pair.examples:
        rows = laid_out([[ids]]).tensors
        with torch.no_grad():
            hidden = pair.ours.get_submodule("word_embedding")(rows["input_ids"])
            parts = [rows["position_ids"], *([rows["segment_ids"]] if segment else [])]
            hidden = pair.ours.get_submodule("embedding")(hidden, *parts)
            for name in encoder[2:]:
                hidden = pair.ours.get_submodule(name)(hidden, rows["example_ids"])
            theirs = bare.eval()(ids[None]).last_hidden_state
        assert difference(hidden, theirs) <= TOLERANCE


def test_rows_as_the_training_makes_them_have_the_logits_of_their_examples_alone(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> None:
    """The packed, masked rows of the store, not rows laid out by this test."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(bundled_texts) + "\n", encoding="utf-8")
    pair = make_pair(tmp_path / "pair", blocks_of(small_vocab, TINY), bundled_texts)
    recipe = recipe_of(
        {
            **pair.blocks,
            "data": {
                "corpus": str(corpus),
                "layout": "documents",
                "store": str(tmp_path / "store"),
                "held_out": 0.0,
                "sequence_length": 64,
            },
        }
    )
    work = Preprocessing(find_corpus((str(corpus),)), "documents", recipe.tokenizer, None)
    preprocess(work, tmp_path / "store", workers=1, fresh=False, report=lambda _: None)
    rows = open_rows(recipe, pair.tokenizer, split=TRAIN)
    every_row = torch.arange(len(rows)).numpy()
    batch = step_batch([rows.micro_batch(every_row, every_row * 0)], rows.objective)
    tensors = batch.micro_batches[0]
    assert batch.examples > len(rows), "some rows hold several examples"

    numbers = tensors["example_ids"]
    logits = torch.zeros(*numbers.shape, pair.tokenizer.vocabulary.size)
    for row in range(len(numbers)):
        for number in range(1, int(numbers[row].max()) + 1):
            here = numbers[row] == number
            logits[row, here] = hf_logits_alone(pair.theirs, [tensors["input_ids"][row, here]])
    real = tensors["predicted_weights"] > 0
    with torch.no_grad():
        ours = pair.ours(tensors)["logits"][real]
    theirs = logits.flatten(0, 1)[tensors["predicted_positions"][real]]
    assert len(ours) == batch.counts["predicted"]
    assert difference(ours, theirs) <= TOLERANCE


def test_an_export_of_an_export_is_the_same_model(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> None:
    pair = make_pair(tmp_path, blocks_of(small_vocab, TINY, tied=False), bundled_texts)
    export_to_huggingface(
        open_source(str(pair.folder)), tmp_path / "again", weights_format="safetensors"
    )
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "again").eval()
    for name, tensor in pair.theirs.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_an_export_read_back_has_the_weights_it_was_made_from(
    tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> None:
    pair = make_pair(tmp_path, blocks_of(small_vocab, TINY), bundled_texts)
    back = open_source(str(pair.folder)).tensors()
    assert back.keys() == pair.weights.keys()
    for name, tensor in pair.weights.items():
        # The row of padding is not part of transformers' model; nothing real ever reads it.
        rows = slice(1, None) if name == "embedding.segment.weight" else slice(None)
        assert torch.equal(back[name][rows], tensor[rows]), name


def test_the_first_weights_of_a_training_are_exported_as_they_are(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    blocks = blocks_of(small_vocab, TINY)
    recipe = recipe_of(blocks)
    model = empty_model(plan_of(recipe)).eval()
    initialise(model, recipe.model, seed=3)
    source = write_model(tmp_path / "model", blocks, model.state_dict())
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "export").eval()
    examples = examples_of(recipe.tokenizer.load(), bundled_texts, longest=48)
    ours = ptm_logits(model, packed(examples, columns=128))
    assert difference(ours, hf_logits_alone(theirs, examples)) <= TOLERANCE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder": {"norm_position": "pre"}}, "post-norm"),
        ({"embedding": {"of": ["word", "sinusoidal", "segment"]}}, "positions"),
        ({"embedding": {"of": ["word", "segment"]}}, "positions"),
        ({"embedding": {"layer_norm": False}}, "layer norm"),
    ],
)
def test_what_a_bert_cannot_hold_is_not_exported(
    tmp_path: Path, small_vocab: Path, changes: dict[str, Any], reason: str
) -> None:
    blocks = blocks_of(small_vocab, TINY)
    for block, values in changes.items():
        blocks["model"][block].update(values)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=reason):
        export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    assert not (tmp_path / "export").exists()
