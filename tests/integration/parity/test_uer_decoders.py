"""T5, BART and PEGASUS of UER-py: their export to transformers, and T5's output scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_config import recipe_blocks
from ptm.interop.sources.open import open_source
from ptm.interop.uer.export import export_to_uer
from ptm.interop.weights_file import read_weights
from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases.inputs import two_sided
from tests.support.bert_pairs import difference, random_weights, recipe_of, write_model
from tests.support.two_sided import CASES, plan_of
from tests.support.uer_decoder_models import CONFIGS
from tests.support.uer_models import import_uer, write_checkpoint
from tests.support.uer_modules import random_state


@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_without_weights_gives_the_same_model(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = CONFIGS[name]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), small_vocab)
    source = import_uer(path, tmp_path / "in")
    alone = yaml.safe_load(recipe_blocks(path.with_name("config.json")))
    assert alone["model"] == source.recipe_data()["model"]


@pytest.mark.parametrize("name", ["t5", "t5-v1_1", "bart", "pegasus"])
def test_an_import_is_exported_to_transformers(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    """Compares a few tensors of each kind, by the names in UER-py's own converters."""
    config = CONFIGS[name]
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    source = import_uer(path, tmp_path / "in")
    if not name.startswith("t5"):
        # transformers' BART and PEGASUS have an epsilon of 1e-5 in any case, which UER-py has not.
        with pytest.raises(UserError, match="norm_epsilon = 1e-07, not 1e-05"):
            export_to_huggingface(source, tmp_path / "hf", weights_format="safetensors")
        recipe = tmp_path / "in" / "recipe.yaml"
        recipe.write_text(
            recipe.read_text().replace("norm_epsilon: 1.0e-07", "norm_epsilon: 1.0e-5")
        )
        source = open_source(str(tmp_path / "in"))
    export_to_huggingface(source, tmp_path / "hf", weights_format="safetensors")
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
    for ours, other in same.items():
        width = len(theirs[other])
        factor = (width / (width - 1)) ** 0.5 if ours.endswith("gamma") else 1.0
        torch.testing.assert_close(theirs[other] * factor, state[ours], rtol=1e-6, atol=0)
    if name == "bart":
        positions = theirs["model.decoder.embed_positions.weight"]
        assert torch.equal(positions[2:], state["tgt_embedding.pos.embedding.weight"])


def test_the_output_scale_of_a_t5_is_moved_into_its_last_norm(
    tmp_path: Path, small_vocab: Path
) -> None:
    blocks = CASES["t5"].blocks(small_vocab)
    for stack in ("encoder", "decoder"):
        blocks["model"][stack]["position_bias"] = {"buckets": 32, "max_distance": 128}
    recipe = recipe_of(blocks)
    weights = random_weights(plan_of(recipe))
    export_to_uer(write_model(tmp_path / "model", blocks, weights), tmp_path / "uer")
    back = import_uer(tmp_path / "uer", tmp_path / "back")
    assert not back.recipe().objective.head.scaled  # type: ignore[attr-defined]
    inputs = two_sided(recipe.tokenizer.load().vocabulary.size)
    logits = [
        inputs.ptm_logits(loaded_model(plan_of(recipe_), tensors, source="t5"), inputs.packed)
        for recipe_, tensors in ((recipe, weights), (back.recipe(), back.tensors()))
    ]
    assert difference(*logits) < 1e-6
