"""The family as which a model is exported, and the errors for models that no family can hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ptm.errors import UserError
from ptm.interop.hf.families import families
from ptm.interop.hf.io.export import export_to_huggingface, family_for
from ptm.recipe import load_recipe
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import Vocabulary
from tests.conftest import PROJECT
from tests.integration.parity.cases import EXPORTS
from tests.integration.parity.cases.bert import BERT
from tests.integration.parity.cases.models import Changes, with_changes
from tests.support.bert_pairs import random_weights, recipe_of, write_model
from tests.support.two_sided import plan_of

CASES = {str(case): case for case in EXPORTS}


def vocabulary_of(vocab: Path) -> Vocabulary:
    return WordPiece(type="wordpiece", vocab=str(vocab), lowercase=True).read()


@pytest.mark.parametrize(
    ("changes", "family"),
    [
        ({}, "bert"),
        ({"embedding": {"segments": 1}}, "bert"),
        ({"embedding": {"parts": ["word", "position"]}}, "distilbert"),
        ({"embedding": {"position_offset": 1}}, "roberta"),
        ({"embedding": {"parts": ["word", "position"], "position_offset": 1}}, "roberta"),
        ({"embedding": {"parts": ["word", "position", "segment", "task"]}}, "ernie"),
        # DistilBERT's config has no epsilon.
        (
            {"embedding": {"parts": ["word", "position"]}, "encoder": {"norm_epsilon": 1e-5}},
            "bert",
        ),
    ],
    ids=str,
)
def test_a_model_is_exported_as_the_most_specific_family_that_can_hold_it(
    small_vocab: Path, changes: Changes, family: str
) -> None:
    recipe = recipe_of(with_changes(BERT.recipe(small_vocab), changes))
    assert family_for(recipe, vocabulary_of(small_vocab), source="model").name == family


@pytest.mark.parametrize("name", ["t5", "t5-v1.1", "bart", "pegasus"])
def test_every_encoder_decoder_recipe_is_exported_as_its_family(
    small_vocab: Path, name: str
) -> None:
    recipes = sorted((PROJECT / "recipes" / name).glob("*.yaml"))
    assert recipes
    for path in recipes:
        recipe = load_recipe(str(path), [])
        family = family_for(recipe, vocabulary_of(small_vocab), source=path.name)
        assert family.name == name.partition("-")[0], path.name


def encoder(**values: Any) -> Changes:
    return {"encoder": values}


def decoder(**values: Any) -> Changes:
    return {"decoder": values}


def embedding(**values: Any) -> Changes:
    return {"embedding": values}


def head(**values: Any) -> Changes:
    return {"head": values}


UNSUPPORTED: list[tuple[str, Changes, str]] = [
    ("bert", encoder(norm_position="pre"), "bert: model.encoder.norm_position = pre, not post"),
    ("bert", embedding(parts=["word", "sinusoidal", "segment"]), "bert: .*positions"),
    ("bert", embedding(parts=["word", "segment"]), "bert: .*positions"),
    ("bert", embedding(layer_norm=False), "bert: model.embedding.layer_norm = false, not true"),
    ("bert", encoder(residual_attention=True), "bert: .*residual_attention"),
    ("bert", encoder(bias=False), "bert: .*bias"),
    ("bert", encoder(attention_scale=False), "bert: .*attention_scale"),
    ("bert", encoder(feed_forward="gated"), "bert: .*feed_forward"),
    ("albert", encoder(norm_position="pre"), "albert: model.encoder.norm_position = pre"),
    ("albert", embedding(parts=["word", "position", "task"]), "albert: model.embedding.parts = "),
    ("albert", encoder(window=8), "albert: model.encoder.window = 8"),
    ("albert", encoder(residual_attention=True), "albert: .*model.encoder.residual_attention"),
    ("albert", encoder(bias=False), "albert: model.encoder.bias = false"),
    ("albert", embedding(position_offset=2), "albert: model.embedding.position_offset"),
    (
        "albert",
        encoder(rotary={"theta": 1000.0}),
        "modernbert: model.encoder.feed_forward = dense",
    ),
    ("openai_gpt", encoder(activation="gelu"), "openai_gpt: .*activation = gelu"),
    ("openai_gpt", encoder(feed_forward_size=96), "openai_gpt: .*feed_forward_size = 96"),
    ("gpt2", encoder(key_value_heads=2), "gpt2: .*key_value_heads = 2"),
    ("gpt2", encoder(head_size=8), "gpt2: .*head_size = 8"),
    ("gpt2", encoder(window=8), "gpt2: .*window = 8"),
    ("gpt2", head(bias=True), "gpt2: .*objective.head.bias = true"),
    ("gpt2", embedding(scaled=True), "gpt2: .*model.embedding.scaled = true"),
    ("gpt2", embedding(size=32), "gpt2: .*model.embedding.size"),
    ("gpt2", encoder(bias=False), "gpt2: .*bias = false"),
    ("llama", encoder(norm="layer"), "llama: .*norm = layer"),
    ("llama", encoder(rotary=None), "llama: model.encoder.rotary is not set"),
    ("llama", encoder(feed_forward="dense"), "llama: .*feed_forward = dense"),
    ("llama", embedding(parts=["word", "position"]), "llama: .*word, position"),
    ("t5", encoder(rotary={}), "t5: .*model.encoder.rotary"),
    ("t5", decoder(activation="silu"), "t5: .*model.decoder.activation = silu"),
    ("t5", decoder(key_value_heads=1), "t5: .*model.decoder.key_value_heads"),
    ("t5", head(bias=True), "t5: .*objective.head.bias"),
    ("t5", head(tied=False), "t5: objective.head.tied = false, not true"),
    ("t5-1.1", encoder(bias=True), "t5: .*model.encoder.bias"),
    (
        "bart",
        encoder(norm_epsilon=1e-12),
        "bart: .*model.encoder.norm_epsilon = 1e-12, not 1e-05",
    ),
    ("bart", encoder(residual_attention=True), "bart: .*model.encoder.residual_attention"),
    ("bart", embedding(size=32), "bart: .*model.embedding.size = 32"),
    (
        "bart",
        {"target_embedding": {"positions": 70}},
        "bart: model.target_embedding.positions = 70, not 66",
    ),
    (
        "bart",
        {"target_embedding": {"shared": False}},
        "bart: .*model.target_embedding.shared",
    ),
    ("bart", head(scaled=True), "bart: .*objective.head.scaled"),
    ("pegasus", embedding(layer_norm=True), "pegasus: .*model.embedding.layer_norm"),
    ("pegasus", decoder(head_size=16), "pegasus: .*model.decoder.head_size"),
    ("modernbert", embedding(scaled=True), "modernbert: model.embedding.scaled = true, not false"),
    ("modernbert", encoder(head_size=8), "modernbert: model.encoder.head_size = 8"),
    ("modernbert", encoder(key_value_heads=1), "modernbert: model.encoder.key_value_heads = 1"),
    ("modernbert", encoder(global_every=None), "modernbert: model.encoder.window = "),
]


@pytest.mark.parametrize(("name", "changes", "sentence"), UNSUPPORTED, ids=lambda v: str(v)[:50])
def test_the_export_of_an_unsupported_model_names_the_recipe_key(
    small_vocab: Path, name: str, changes: Changes, sentence: str
) -> None:
    blocks = CASES[name].blocks(small_vocab)
    if "decoder" in blocks["model"]:
        blocks["model"]["target_embedding"] = dict(blocks["model"]["embedding"])
    recipe = recipe_of(with_changes(blocks, changes))
    with pytest.raises(UserError, match="no supported family") as caught:
        family_for(recipe, vocabulary_of(small_vocab), source="model")
    reasons = str(caught.value).split("; ")
    assert any(re.search(sentence, reason) for reason in reasons), reasons


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gated-cnn"])
def test_recurrent_and_convolutional_models_have_no_family(small_vocab: Path, name: str) -> None:
    recipe = load_recipe(str(PROJECT / "recipes" / name / "tiny.yaml"), [])
    kind = recipe.model.encoder.type
    with pytest.raises(UserError, match=f"no models with encoder {kind}. Use --to uer."):
        family_for(recipe, vocabulary_of(small_vocab), source="model")


@pytest.mark.parametrize(
    "changes",
    [
        encoder(residual_attention=True),
        encoder(bias=False),
        encoder(attention_scale=False),
        encoder(feed_forward="gated"),
    ],
    ids=str,
)
def test_encoder_options_without_a_config_key_are_unsupported_in_all_bert_like_families(
    small_vocab: Path, changes: Changes
) -> None:
    recipe = recipe_of(with_changes(BERT.recipe(small_vocab), changes))
    vocabulary = vocabulary_of(small_vocab)
    reasons = {
        family.name: family.unsupported_reason(recipe.model, recipe.objective, vocabulary)
        for family in families()
        if not (family.import_only or family.causal or family.is_encoder_decoder)
    }
    assert all(reasons[name] is not None for name in ("bert", "roberta", "ernie", "distilbert"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (encoder(norm_position="pre"), "norm_position = pre, not post"),
        # transformers numbers positions from the padding id + 1, whatever the config.
        (embedding(position_offset=2), "position_offset = 2.* 1 with"),
    ],
)
def test_a_failed_export_leaves_no_folder_behind(
    tmp_path: Path, small_vocab: Path, changes: Changes, sentence: str
) -> None:
    blocks = with_changes(BERT.recipe(small_vocab), changes)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=sentence):
        export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    assert not (tmp_path / "export").exists()
