"""UER-py's and TencentPretrain's T5, BART and PEGASUS come in and go out without losing a bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ptm.errors import UserError
from ptm.interop.config_only import recipe_blocks
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.hf.folder import read_weights
from ptm.interop.importing import import_from_uer
from ptm.interop.source import open_source
from ptm.interop.uer.export import export_to_uer
from ptm.model.build import meta_model
from ptm.model.loaded import loaded_model
from tests.integration.parity.cases.inputs import two_sided
from tests.support.bert_pairs import difference, random_weights, recipe_of, write_model
from tests.support.two_sided import CASES, plan_of
from tests.support.uer_decoder_models import CONFIGS, random_state
from tests.support.uer_models import write_checkpoint


@pytest.fixture
def words(small_vocab: Path) -> int:
    return len(small_vocab.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_checkpoint_goes_in_and_out_bit_for_bit(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = CONFIGS[name]
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    import_from_uer(str(path), tmp_path / "in", config=None, vocab=None)
    source = open_source(str(tmp_path / "in"))
    plan = plan_of(source.recipe())
    assert {n for n, _ in meta_model(plan).named_parameters()} == source.tensors().keys()
    export_to_uer(source, tmp_path / "back")
    back = read_weights(tmp_path / "back" / "model.bin")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())
    there = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {key: there[key] for key in config} == config
    alone = yaml.safe_load(recipe_blocks(tmp_path / "theirs" / "config.json"))
    assert alone["model"] == source.recipe_data()["model"]


@pytest.mark.parametrize("name", CONFIGS)
def test_it_goes_on_to_transformers(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    """By the pairs of names in UER-py's own converters, a few of each kind."""
    config = CONFIGS[name]
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    import_from_uer(str(path), tmp_path / "in", config=None, vocab=None)
    export_to_huggingface(
        open_source(str(tmp_path / "in")), tmp_path / "hf", weights_format="safetensors"
    )
    theirs = read_weights(tmp_path / "hf" / "model.safetensors")
    layer = "decoder.transformer_decoder.1."
    if name.startswith("t5"):
        block = "decoder.block.1.layer."
        same = {
            f"{layer}self_attn.linear_layers.1.weight": f"{block}0.SelfAttention.k.weight",
            f"{layer}context_attn.linear_layers.2.weight": f"{block}1.EncDecAttention.v.weight",
            f"{layer}layer_norm_2.weight": f"{block}1.layer_norm.weight",
            "decoder.layer_norm.weight": "decoder.final_layer_norm.weight",
            "decoder.self_pos_emb.relative_attention_bias.weight": (
                "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            ),
        }
    else:
        there = "model.decoder.layers.1."
        same = {
            f"{layer}self_attn.linear_layers.1.bias": f"{there}self_attn.k_proj.bias",
            f"{layer}context_attn.linear_layers.0.weight": f"{there}encoder_attn.q_proj.weight",
            f"{layer}layer_norm_2.gamma": f"{there}encoder_attn_layer_norm.weight",
            f"{layer}layer_norm_3.beta": f"{there}final_layer_norm.bias",
        }
    if name == "t5-v1_1":
        gate = f"{layer}feed_forward.linear_gate.weight"
        same[gate] = "decoder.block.1.layer.2.DenseReluDense.wi_0.weight"
    assert all(torch.equal(state[ours], theirs[other]) for ours, other in same.items())
    if name == "bart":
        positions = theirs["model.decoder.embed_positions.weight"]
        assert torch.equal(positions[2:], state["tgt_embedding.pos.embedding.weight"])


def test_the_scale_of_a_t5s_output_goes_into_its_last_norm(
    tmp_path: Path, small_vocab: Path
) -> None:
    blocks = CASES["t5"].blocks(small_vocab)
    for stack in ("encoder", "decoder"):
        blocks["model"][stack]["position_bias"] = {"buckets": 32, "max_distance": 128}
    recipe = recipe_of(blocks)
    weights = random_weights(plan_of(recipe))
    export_to_uer(write_model(tmp_path / "model", blocks, weights), tmp_path / "uer")
    import_from_uer(str(tmp_path / "uer"), tmp_path / "back", config=None, vocab=None)
    back = open_source(str(tmp_path / "back"))
    assert not back.recipe().objective.head.scaled
    inputs = two_sided(recipe.tokenizer.load().vocabulary.size)
    logits = [
        inputs.ptm_logits(loaded_model(plan_of(recipe_), tensors, source="t5"), inputs.packed)
        for recipe_, tensors in ((recipe, weights), (back.recipe(), back.tensors()))
    ]
    assert difference(*logits) < 1e-6


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("t5", {"share_embedding": False}, "share_embedding: false"),
    ("t5", {"remove_transformer_bias": False}, "together with layernorm: t5"),
    ("t5", {"remove_attention_scale": False}, "together with remove_attention_scale"),
    ("bart", {"data_processor": "mt"}, 'data_processor: "mt"'),
    ("bart", {"embedding": ["word", "pos", "speech"]}, "tgt_embedding"),
    ("bart", {"decoder": "lstm"}, 'decoder: "lstm"'),
    ("bart", {"decoder": None}, "has a decoder, of which"),
    ("bart", {"decoder_layers_num": 1}, "no place for decoder.transformer_decoder.1"),
    ("bart", {"tie_weights": True, "has_lmtarget_bias": False}, "no place for target.lm"),
]


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_a_config_of_something_else_is_refused(
    tmp_path: Path, small_vocab: Path, words: int, name: str, changes: dict[str, Any], said: str
) -> None:
    state = random_state(CONFIGS[name], words)
    path = write_checkpoint(tmp_path / "t", {**CONFIGS[name], **changes}, state, small_vocab)
    with pytest.raises(UserError, match=said):
        import_from_uer(str(path), tmp_path / "out", config=None, vocab=None)
    assert not (tmp_path / "out").exists()


UNSAYABLE: list[tuple[str, str, dict[str, Any], str]] = [
    ("t5", "encoder", {}, "position_bias.max_distance"),
    ("pegasus", "embedding", {}, "sinusoidal_order = halves"),
    ("bart", "decoder", {"heads": 4}, "model.decoder.heads = 4"),
    ("bart", "target_embedding", {"shared": False}, "model.target_embedding.shared"),
    ("bart", "encoder", {"rotary": {}}, "model.encoder.rotary"),
]


@pytest.mark.parametrize(("name", "block", "changes", "said"), UNSAYABLE)
def test_a_model_that_their_config_cannot_say_is_refused(
    tmp_path: Path, small_vocab: Path, name: str, block: str, changes: dict[str, Any], said: str
) -> None:
    blocks = CASES[name].blocks(small_vocab)
    blocks["model"]["target_embedding"] = dict(blocks["model"]["embedding"])
    blocks["model"][block] = {**blocks["model"][block], **changes}
    source = write_model(tmp_path / "m", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=said):
        export_to_uer(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
