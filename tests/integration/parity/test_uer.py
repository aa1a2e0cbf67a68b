"""Checkpoints of UER-py and TencentPretrain are imported and exported without any change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.uer.export import export_to_uer
from ptm.interop.weights_file import read_weights
from ptm.model.build import build_plan
from ptm.model.plain_model import meta_model
from tests.integration.parity.cases import EXPORTS
from tests.integration.parity.cases.models import Changes, with_changes
from tests.support import uer_decoder_models, uer_models
from tests.support.bert_pairs import (
    TINY,
    blocks_of,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.uer_models import (
    assert_same_tensors,
    import_uer,
    old_names,
    write_checkpoint,
)
from tests.support.uer_modules import State, random_state

ONE_SIDED = {**uer_models.CONFIGS, **uer_models.NEXT_CONFIGS}
CONFIGS = {**ONE_SIDED, **uer_decoder_models.CONFIGS}
OBJECTIVES = {
    **{name: name for name in ("bert", "mlm", "albert", "t5", "bart")},
    "xlm_roberta": "mlm",
    **dict.fromkeys(uer_models.NEXT_CONFIGS, "lm"),
    "prefixlm": "prefixlm",
    "t5-v1_1": "t5",
    "pegasus": "gsg",
    "translation": "seq2seq",
}
EXPORT_CASES = {str(case): case for case in EXPORTS}


def assert_same_weights(folder: Path, state: State) -> None:
    """Check an export; it also has the tables of relative positions of TencentPretrain's layers."""
    back = read_weights(folder / "model.bin")
    assert_same_tensors({name: back[name] for name in state}, state)
    added = back.keys() - state.keys()
    table = state.get("encoder.relative_pos_emb.relative_attention_bias.weight")
    assert all(name.endswith("relative_pos_emb.relative_attention_bias.weight") for name in added)
    assert all(torch.equal(back[name], table) for name in added if table is not None)


ROUND_TRIPS = [
    *((name, False) for name in CONFIGS),
    *((name, True) for name in ONE_SIDED),
]


@pytest.mark.parametrize(("name", "old"), ROUND_TRIPS)
def test_a_checkpoint_is_exported_as_it_was_imported(
    tmp_path: Path, small_vocab: Path, words: int, name: str, old: bool
) -> None:
    config = CONFIGS[name]
    state = random_state(config, words)
    pair = {"albert": "sop", "bert": "nsp"}.get(name, "sp")
    written = old_names(state, pair=pair) if old else state
    path = write_checkpoint(tmp_path / "theirs", config, written, small_vocab)
    source = import_uer(path, tmp_path / "in")
    export_to_uer(source, tmp_path / "back")
    assert_same_weights(tmp_path / "back", state)
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    # UER-py's encoder-decoders with one table have an output of their own in spite of tie_weights.
    untied = {"tie_weights": False} if config.get("share_embedding") else {}
    for key, value in {**config, **untied}.items():
        assert back.get(key, False) == value, key


@pytest.mark.parametrize("name", CONFIGS)
def test_an_import_has_every_parameter_of_its_recipe(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = CONFIGS[name]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), small_vocab)
    source = import_uer(path, tmp_path / "in")
    recipe = source.recipe()
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=words)
    assert {name for name, _ in meta_model(plan).named_parameters()} == source.tensors().keys()
    assert recipe.objective.type == OBJECTIVES[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"layernorm_positioning": "pre"},
        {"has_residual_attention": True},
        {"remove_attention_scale": True},
        {"hidden_act": "gelu_fast"},
        {"tie_weights": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_encoder_options_are_kept_by_import_and_export(
    tmp_path: Path, small_vocab: Path, words: int, changes: dict[str, Any]
) -> None:
    config = {**CONFIGS["mlm"], **changes}
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    export_to_uer(import_uer(path, tmp_path / "in"), tmp_path / "back")
    assert_same_weights(tmp_path / "back", state)
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {key: back[key] for key in changes} == changes


def test_exports_to_uer_and_transformers_have_the_same_tensors(
    tmp_path: Path, small_vocab: Path
) -> None:
    """Compares a few tensors of each kind, by the names in UER-py's own converter."""
    blocks = blocks_of(small_vocab, TINY)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    export_to_huggingface(source, tmp_path / "hf", weights_format="bin")
    export_to_uer(source, tmp_path / "uer")
    theirs = read_weights(tmp_path / "hf" / "pytorch_model.bin")
    uer = read_weights(tmp_path / "uer" / "model.bin")
    layer, there = "encoder.transformer.1.", "bert.encoder.layer.1."
    same = {
        "embedding.word.embedding.weight": "bert.embeddings.word_embeddings.weight",
        "embedding.pos.embedding.weight": "bert.embeddings.position_embeddings.weight",
        "embedding.layer_norm.gamma": "bert.embeddings.LayerNorm.weight",
        f"{layer}self_attn.linear_layers.0.weight": f"{there}attention.self.query.weight",
        f"{layer}self_attn.linear_layers.1.bias": f"{there}attention.self.key.bias",
        f"{layer}self_attn.linear_layers.2.weight": f"{there}attention.self.value.weight",
        f"{layer}self_attn.final_linear.bias": f"{there}attention.output.dense.bias",
        f"{layer}layer_norm_1.beta": f"{there}attention.output.LayerNorm.bias",
        f"{layer}feed_forward.linear_1.weight": f"{there}intermediate.dense.weight",
        f"{layer}layer_norm_2.gamma": f"{there}output.LayerNorm.weight",
        "target.mlm.linear_1.weight": "cls.predictions.transform.dense.weight",
        "target.mlm.layer_norm.beta": "cls.predictions.transform.LayerNorm.bias",
        "target.mlm.linear_2.bias": "cls.predictions.bias",
    }
    for ours, name in same.items():
        # UER-py's norms divide by the deviation over n - 1.
        width = len(theirs[name])
        factor = (width / (width - 1)) ** 0.5 if ours.endswith("gamma") else 1.0
        torch.testing.assert_close(uer[ours], theirs[name] * factor, rtol=1e-6, atol=0)
    segments = uer["embedding.seg.embedding.weight"]
    assert len(segments) == 3
    assert torch.equal(segments[1:], theirs["bert.embeddings.token_type_embeddings.weight"])


def test_the_positions_of_an_xlm_roberta_are_shifted_and_shifted_back(
    tmp_path: Path, small_vocab: Path
) -> None:
    """UER-py's positions start at row 0; two rows of zeros keep the embedding's size."""
    tokens = small_vocab.read_text(encoding="utf-8").splitlines()
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[CLS]", "[PAD]", "[SEP]", "[UNK]", *tokens[4:]]) + "\n")
    blocks = blocks_of(vocab, TINY)
    blocks["model"]["embedding"].update(position_offset=2, segments=1)
    weights = random_weights(plan_of(recipe_of(blocks)))
    weights["embedding.position.weight"][:2] = 0
    export_to_uer(write_model(tmp_path / "model", blocks, weights), tmp_path / "uer")
    positions = read_weights(tmp_path / "uer" / "model.bin")["embedding.pos.embedding.weight"]
    assert torch.equal(positions[:-2], weights["embedding.position.weight"][2:])
    assert not positions[-2:].any()
    source = import_uer(tmp_path / "uer", tmp_path / "back")
    assert source.recipe().model.embedding == recipe_of(blocks).model.embedding
    assert_same_tensors(source.tensors(), weights)


UNSUPPORTED: list[tuple[str, dict[str, Any], str]] = [
    ("mlm", {"mask": "causal"}, 'mask = "causal"'),
    ("mlm", {"encoder": "dual"}, 'encoder = "dual"'),
    ("mlm", {"target": ["lm"]}, 'target = ["lm"]'),
    ("mlm", {"hidden_act": "linear"}, 'hidden_act = "linear"'),
    ("mlm", {"remove_transformer_bias": True}, "remove_transformer_bias = true with layernorm"),
    ("mlm", {"layernorm": "t5"}, "without remove_embedding_layernorm = true is not supported"),
    ("mlm", {"layernorm": "t5", "remove_embedding_layernorm": True}, 'with target = ["mlm"]'),
    ("mlm", {"embedding": ["word", "seg"]}, "without relative_position_embedding or rotary_pos"),
    ("mlm", {"layernorm": "batch"}, 'layernorm = "batch"'),
    ("mlm", {"layernorm_eps": 1e-3}, "layernorm_eps = 0.001"),
    ("mlm", {"alibi_position_embedding": True}, "alibi_position_embedding = true is not supported"),
    ("mlm", {"layer_number_scale": True}, "layer_number_scale = true is not supported"),
    (
        "mlm",
        {"hiden_act": "relu"},
        '"hiden_act" is not a key of UER-py or TencentPretrain. Did you',
    ),
    ("mlm", {"layers_num": 10**9}, "encoder.layers"),
    ("mlm", {"layers_num": "2"}, 'layers_num = "2" is not an integer'),
    ("mlm", {"n_embd": 24}, '"n_embd" is not a key of UER-py or TencentPretrain'),
    ("mlm", {"emb_size": 8}, "emb_size = 8"),
    ("mlm", {"feedforward_size": ...}, "feedforward_size"),
    ("mlm", {"layers_num": ...}, "layers_num"),
    ("mlm", {"max_seq_length": 31}, "(30, 24)"),
    ("gpt2", {"mask": "fully_visible"}, 'Target "lm" needs mask "causal"'),
    ("gpt2", {"mask": "diagonal"}, 'mask = "diagonal"'),
    ("gpt2", {"relative_position_embedding": True}, 'with mask = "causal" is not supported'),
    ("gpt2", {"target": ["mlm"]}, "target"),
    ("gpt2", {"target": ["mlm"], "mask": "fully_visible"}, "have the output layer of target lm"),
    (
        "gpt2",
        {"target": ["lm"], "emb_size": 8, "factorized_embedding_parameterization": True},
        "lm",
    ),
    ("t5", {"rotary_position_embedding": True}, "rotary_position_embedding"),
    ("t5", {"tgt_embedding": ...}, "the key 'tgt_embedding' is missing"),
    ("bart", {"data_processor": "s2t"}, 'data_processor = "s2t"'),
    (
        "bart",
        {"embedding": ["word", "pos", "speech"]},
        '["word", "pos", "speech"] is not supported',
    ),
    ("bart", {"decoder": "lstm"}, 'decoder = "lstm"'),
    ("bart", {"decoder": None}, "has a decoder, but"),
    ("bart", {"decoder_layers_num": 1}, "Unexpected tensors: decoder.transformer_decoder.1"),
]
"""`...`: the key is removed from the config."""


@pytest.mark.parametrize(("name", "changes", "sentence"), UNSUPPORTED, ids=lambda v: str(v)[:50])
def test_the_import_of_an_unsupported_config_fails(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    name: str,
    changes: dict[str, Any],
    sentence: str,
) -> None:
    state = random_state(CONFIGS[name], words)
    config = {key: v for key, v in {**CONFIGS[name], **changes}.items() if v is not ...}
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    with pytest.raises(UserError) as caught:
        import_uer(path, tmp_path / "out")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def encoder(**values: Any) -> Changes:
    return {"encoder": values}


def embedding(**values: Any) -> Changes:
    return {"embedding": values}


NOT_EXPORTED: list[tuple[str, Changes, str]] = [
    ("bert", encoder(activation="tanh"), "model.encoder.activation"),
    ("bert", encoder(bias=False), "model.encoder.bias"),
    ("bert", encoder(shared_groups=2), "model.encoder.shared_groups"),
    ("bert", embedding(parts=["word", "position", "segment", "task"]), "model.embedding.parts"),
    ("bert", embedding(segments=4), "model.embedding.segments"),
    ("bert", embedding(parts=["word", "sinusoidal", "segment"]), "scaled = false, not true"),
    ("bert", embedding(rows=208), "model.embedding.rows = 208"),
    ("bert", encoder(window=16), "model.encoder.window = 16"),
    ("gpt2", encoder(key_value_heads=2), "key_value_heads"),
    ("gpt2", embedding(scaled=True), "scaled"),
    ("gpt2", encoder(position_bias={"buckets": 32}), "relative_position_embedding"),
    ("openai_gpt", {"head": {"scaled": True}}, "objective.head.scaled"),
    ("gpt2", embedding(size=32), "model.embedding.size"),
    ("llama", encoder(key_value_heads=None), "model.encoder.rotary.theta = "),
    ("t5", {}, "position_bias.max_distance"),
    ("pegasus", {}, "sinusoidal_order = halves"),
    ("bart", {"decoder": {"heads": 4}}, "model.decoder.heads = 4"),
    ("bart", {"target_embedding": {"layer_norm": False}}, "model.target_embedding.layer_norm"),
    ("bart", embedding(parts=["word", "position", "task"]), 'there is no part "task"'),
    ("bart", {"objective": {"decoder_start": "eos"}}, "objective.decoder_start = eos"),
    (
        "bart",
        {"objective": {"decoder_start": "eos", "target_bos": True}},
        "objective.target_bos = true",
    ),
    ("bart", {"head": {"scaled": True}}, "objective.head.scaled = true"),
    ("bart", encoder(rotary={}), "model.encoder.rotary"),
    (
        "pegasus",
        {
            "embedding": {"sinusoidal_order": "uer"},
            "target_embedding": {"sinusoidal_order": "uer"},
            "encoder": {"hidden_size": 63, "heads": 3},
            "decoder": {"hidden_size": 63, "heads": 3},
        },
        "even widths only, but the width is 63",
    ),
]


@pytest.mark.parametrize(("name", "changes", "sentence"), NOT_EXPORTED, ids=lambda v: str(v)[:50])
def test_options_that_a_uer_config_cannot_express_are_not_exported(
    tmp_path: Path, small_vocab: Path, name: str, changes: Changes, sentence: str
) -> None:
    blocks = EXPORT_CASES[name].blocks(small_vocab)
    if "decoder" in blocks["model"]:
        blocks["model"]["target_embedding"] = dict(blocks["model"]["embedding"])
    blocks = with_changes(blocks, changes)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError) as caught:
        export_to_uer(source, tmp_path / "out")
    assert sentence in str(caught.value)
    assert not (tmp_path / "out").exists()
