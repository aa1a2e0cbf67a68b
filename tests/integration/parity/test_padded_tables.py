"""Word embeddings with more rows than the vocabulary has tokens: kept, and never generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ptm.errors import UserError
from ptm.inference.decoding import Sampling
from ptm.inference.fill import Filler
from ptm.inference.generate import GenerationConfig, Generator
from ptm.interop.adapt_vocabulary import adapt
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases.albert import ALBERT
from tests.integration.parity.cases.bert import BERT, DISTILBERT
from tests.integration.parity.cases.causal import GPT2, LLAMA
from tests.integration.parity.cases.encoder_decoders import BART, T5
from tests.integration.parity.cases.models import Family, import_model, inputs_of, save
from tests.integration.parity.cases.models import Import as Case
from tests.integration.parity.cases.modernbert import MODERNBERT
from tests.support.bert_pairs import TOLERANCE, difference

FAMILIES = {
    family.name: family for family in (BERT, DISTILBERT, ALBERT, MODERNBERT, GPT2, LLAMA, T5, BART)
}
WRITERS = ("gpt2", "bart")
"""Models that generate text."""


def padded(words: int) -> int:
    """The size of a table that is padded to a multiple of 64."""
    return (words // 64 + 1) * 64


def saved(family: Family, folder: Path, vocab: Path, words: int) -> Any:
    """A random model of transformers with a padded table, saved with its vocabulary."""
    case = Case(family)
    model = case.model(padded(words)).eval()
    save(model, folder, vocab=family.vocabulary(vocab, folder.parent), family=family)
    return model


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_all_rows_are_those_of_transformers_and_return(
    name: str, tmp_path: Path, small_vocab: Path, words: int, bundled_texts: list[str]
) -> None:
    theirs = saved(FAMILIES[name], tmp_path / "theirs", small_vocab, words)
    ours = import_model(tmp_path / "theirs", tmp_path / "ours")
    assert ours.recipe.model.embedding.rows == padded(words)
    assert ours.report.notes == (
        f"model.embedding.rows={padded(words)}, more than the vocabulary has tokens",
    )
    inputs = inputs_of(ours.recipe, bundled_texts[:3])
    expected = inputs.hf_logits(theirs)
    assert expected.shape[-1] == padded(words)
    assert difference(inputs.ptm_logits(ours.ours, inputs.padded), expected) <= TOLERANCE
    export_to_huggingface(
        open_source(str(tmp_path / "ours")), tmp_path / "back", weights_format="safetensors"
    )
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["vocab_size"] == padded(words)
    back, before = weights_of(tmp_path / "back"), weights_of(tmp_path / "theirs")
    for key in before.keys() & back.keys():
        assert torch.equal(back[key], before[key]), key
    again = open_source(str(tmp_path / "back")).recipe()
    assert again.model.embedding.rows == padded(words)


def test_the_loss_counts_unused_rows_as_transformers_does(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    theirs = saved(GPT2, tmp_path / "theirs", small_vocab, words)
    ours = import_model(tmp_path / "theirs", tmp_path / "ours")
    ids = torch.arange(5, 25)
    expected = theirs(ids[None], labels=ids[None]).loss
    plan = build_plan(ours.recipe.model, ours.recipe.objective, vocabulary_size=words)
    model = loaded_model(plan, ours.weights, source="theirs")
    ones = torch.ones(1, len(ids), dtype=torch.int64)
    weights = ones.clone()
    weights[0, -1] = 0
    outputs = model(
        {
            "input_ids": ids[None],
            "position_ids": torch.arange(len(ids))[None],
            "segment_ids": ones,
            "example_ids": ones,
            "target_ids": ids.roll(-1)[None],
            "target_weights": weights,
        }
    )
    torch.testing.assert_close(
        outputs["lm_sums"][0] / weights.sum(), expected, rtol=1e-5, atol=1e-5
    )


def with_likely_unused_rows(folder: Path, words: int) -> None:
    """Make the unused rows of an imported model its most likely predictions everywhere."""
    path = folder / "weights.safetensors"
    weights = load_file(path)
    for name in ("mlm_bias.bias", "lm_bias.bias"):
        if name in weights:
            weights[name][words:] = 1e4
    # Without a bias: a copy of a likely row, made longer.
    table = weights["word_embedding.weight"]
    table[words:] = table[:words].mean(dim=0) + 10 * table[: len(table) - words]
    save_file(weights, path)


@pytest.mark.parametrize("name", WRITERS)
def test_unused_rows_are_never_generated(
    name: str, tmp_path: Path, small_vocab: Path, words: int
) -> None:
    saved(FAMILIES[name], tmp_path / "theirs", small_vocab, words)
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "ours")
    with_likely_unused_rows(tmp_path / "ours", words)
    generator = Generator(open_source(str(tmp_path / "ours")))
    choices = [
        GenerationConfig(max_new_tokens=10),
        GenerationConfig(max_new_tokens=10, beams=3),
        GenerationConfig(max_new_tokens=10, sampling=Sampling(temperature=5.0)),
    ]
    for choice in choices:
        # An id without token cannot be decoded.
        assert len(generator.generate(["天气", "The"], choice)) == 2


def test_unused_rows_are_never_filled_in(tmp_path: Path, small_vocab: Path, words: int) -> None:
    saved(BERT, tmp_path / "theirs", small_vocab, words)
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "ours")
    with_likely_unused_rows(tmp_path / "ours", words)
    (guesses,) = Filler(open_source(str(tmp_path / "ours"))).fill("天[MASK]", count=words)
    assert len(guesses) == words
    # Their share of the probability is that of transformers' softmax, which has all rows.
    assert sum(guess.probability for guess in guesses) < 0.5


def test_another_vocabulary_has_a_table_of_its_own(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    saved(BERT, tmp_path / "theirs", small_vocab, words)
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "ours")
    tokens = small_vocab.read_text(encoding="utf-8").split("\n")
    (tmp_path / "more.txt").write_text("\n".join([*filter(None, tokens), "new"]), encoding="utf-8")
    adapt(
        str(tmp_path / "ours"),
        tmp_path / "adapted",
        vocabulary=str(tmp_path / "more.txt"),
        options=(),
        new_rows="mean",
    )
    source = open_source(str(tmp_path / "adapted"))
    assert source.recipe().model.embedding.rows is None
    assert len(source.tensors()["word_embedding.weight"]) == words + 1
    assert len(source.tensors()["mlm_bias.bias"]) == words + 1


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(3, "padding to a multiple of 8"), (1024, "at most 511 of them")],
)
def test_rows_that_are_no_padding_are_refused(
    rows: int, expected: str, tmp_path: Path, small_vocab: Path, words: int
) -> None:
    odd = padded(words) + rows
    save(Case(BERT).model(odd), tmp_path / "theirs", vocab=small_vocab, family=BERT)
    with pytest.raises(UserError) as caught:
        import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "ours")
    assert f"has {odd} rows" in str(caught.value)
    assert f"vocabulary has {words} tokens" in str(caught.value)
    assert expected in str(caught.value)


def test_a_row_of_an_added_token_is_no_padding(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    saved(BERT, tmp_path / "theirs", small_vocab, words)
    added = json.dumps({"<user>": words})
    (tmp_path / "theirs" / "added_tokens.json").write_text(added)
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "ours")
    recipe = open_source(str(tmp_path / "ours")).recipe()
    assert recipe.tokenizer.load().vocabulary.ids["<user>"] == words


def test_fewer_rows_than_tokens_are_refused(tmp_path: Path, small_vocab: Path, words: int) -> None:
    saved(BERT, tmp_path / "theirs", small_vocab, words)
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "ours")
    recipe = open_source(str(tmp_path / "ours")).recipe()
    smaller = recipe.model.model_copy(
        update={"embedding": recipe.model.embedding.model_copy(update={"rows": words - 1})}
    )
    with pytest.raises(UserError) as caught:
        build_plan(smaller, recipe.objective, vocabulary_size=words)
    assert str(caught.value) == (
        f"model.embedding.rows = {words - 1}, but the vocabulary has {words} tokens. Set {words} "
        "or more, or remove the key."
    )
