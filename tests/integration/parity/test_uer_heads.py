"""UER-py's targets bilm and cls: logits of a second implementation, round trips, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.cli import main
from ptm.errors import EXIT_DONE
from ptm.inference.embed import Embedder
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.interop.weights_file import read_weights
from ptm.model.build import build_plan, encoder_plan
from ptm.model.plain_model import loaded_model
from tests.support.bert_pairs import lay_out_rows
from tests.support.uer_encoders import RECURRENT, TWO_STREAMS
from tests.support.uer_models import CONFIGS, NEXT_CONFIGS, assert_same_tensors, write_checkpoint
from tests.support.uer_modules import random_state
from tests.support.uer_recurrent_models import (
    LABELS,
    config_of,
    fine_tuned,
    logits_of,
)

EXAMPLES = [torch.arange(5, 25), torch.arange(20, 28)]
POOLINGS = ("first", "last", "mean", "max")
BILM = {
    **{name: config_of(name, target="bilm") for name in TWO_STREAMS},
    "bilstm-bias": config_of("bilstm", target="bilm", has_lmtarget_bias=True),
}
CLASSES = {
    **{
        f"bigru-{pooling}": config_of("bigru", target="cls", pooling=pooling)
        for pooling in POOLINGS
    },
    **{f"{name}-max": config_of(name, target="cls") for name in (*RECURRENT, "gatedcnn", "birnn")},
    "bilstm-mean": config_of("bilstm", target="cls", pooling="mean"),
    "lstm-both-first": config_of("lstm", target="cls", bidirectional=True, pooling="first"),
}


def imported(tmp_path: Path, path: Path, *options: str) -> ModelSource:
    """The checkpoint at `path`, imported by the command to a new folder."""
    out = tmp_path / f"in{len(list(tmp_path.glob('in*')))}"
    assert main(["import", str(path), str(out), "--from", "uer", *options]) == EXIT_DONE
    return open_source(str(out))


def exported(source: ModelSource, out: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and state dict of the model, exported by the command."""
    assert main(["export", str(source.folder), str(out), "--to", "uer"]) == EXIT_DONE
    return json.loads((out / "config.json").read_text()), read_weights(out / "model.bin")


def outputs_of(source: ModelSource, *names: str, **inputs: Tensor) -> Mapping[str, Tensor]:
    """Outputs of the model for a row with both examples."""
    recipe = source.recipe()
    size = recipe.tokenizer.load().vocabulary.size
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size, outputs=names or None)
    model = loaded_model(plan, source.tensors(), source="imported")
    with torch.no_grad():
        found: Mapping[str, Tensor] = model({**lay_out_rows([EXAMPLES]).tensors, **inputs})
    return found


def class_logits(source: ModelSource) -> Tensor:
    """(2, C): the class logits of both examples."""
    last = source.recipe_data()["objective"].get("pooling") == "last"
    positions = torch.tensor([19, 27] if last else [0, 20])
    return outputs_of(source, class_positions=positions)["class_logits"]


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def check_directions(
    source: ModelSource, config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Check hidden states, logits and losses of both directions against UER-py's formulas."""
    theirs = [logits_of(config, dict(state), ids[None]) for ids in EXAMPLES]
    tensors = source.tensors()
    bias = tensors.get("bilm_unembed_bias.bias", torch.zeros(1))
    targets = torch.cat([ids.flip(0) for ids in EXAMPLES])[None]
    hidden = outputs_of(source, "forward_hidden", "backward_hidden")
    sums = outputs_of(
        source,
        forward_target_ids=targets,
        backward_target_ids=targets,
        target_weights=torch.ones_like(targets),
    )
    for side in ("forward", "backward"):
        expected = torch.cat([one[side][0] for one in theirs])
        found = F.linear(hidden[f"{side}_hidden"][0], tensors["bilm_unembed.weight"], bias)
        assert_equal(found, expected)
        loss = F.cross_entropy(expected, targets[0], reduction="sum")
        torch.testing.assert_close(sums[f"{side}_sums"][0], loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", BILM)
def test_elmo_has_uer_pys_logits_after_import_export_and_import(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = BILM[name]
    state = random_state(config, words)
    source = imported(tmp_path, write_checkpoint(tmp_path / "t", config, state, small_vocab))
    assert source.recipe().objective.type == "bilm"
    check_directions(source, config, state)
    written, back = exported(source, tmp_path / "back")
    assert_same_tensors(back, state)
    assert {key: written.get(key) for key in config} == config
    check_directions(imported(tmp_path, tmp_path / "back"), config, state)


@pytest.mark.parametrize("name", CLASSES)
def test_a_classifier_has_uer_pys_logits_after_import_export_and_import(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = CLASSES[name]
    state = random_state(config, words)
    expected = torch.cat([logits_of(config, state, ids[None])["class_logits"] for ids in EXAMPLES])
    source = imported(tmp_path, write_checkpoint(tmp_path / "t", config, state, small_vocab))
    assert_equal(class_logits(source), expected)
    written, back = exported(source, tmp_path / "back")
    assert {key: written.get(key, False) for key in config} == config
    assert back.keys() == state.keys() | fine_tuned(state).keys()
    assert_equal(class_logits(imported(tmp_path, tmp_path / "back")), expected)
    trained = {name: back[name] for name in state}
    assert_equal(
        torch.cat([logits_of(written, trained, ids[None])["class_logits"] for ids in EXAMPLES]),
        expected,
    )


@pytest.mark.parametrize("encoder", ["lstm", "bilstm"])
def test_a_fine_tuned_classifier_is_imported_with_the_config_of_its_pretraining(
    tmp_path: Path, small_vocab: Path, words: int, encoder: str
) -> None:
    config = config_of(encoder, target="cls", pooling="mean")
    state = random_state(config, words)
    before = config_of(encoder, target="bilm" if encoder in TWO_STREAMS else "lm")
    path = write_checkpoint(tmp_path / "t", before, fine_tuned(state), small_vocab)
    options = ("objective.pooling=mean", "objective.labels=[bad, fair, good]")
    source = imported(tmp_path, path, *options)
    assert source.recipe_data()["objective"]["labels"] == ["bad", "fair", "good"]
    expected = torch.cat([logits_of(config, state, ids[None])["class_logits"] for ids in EXAMPLES])
    assert_equal(class_logits(source), expected)


@pytest.mark.parametrize("target", ["bilm", "cls"])
def test_names_and_sizes_of_older_versions_are_enough(
    tmp_path: Path, small_vocab: Path, words: int, target: str
) -> None:
    """Until 2021 encoder, target and embedding were options of UER-py's command line."""
    config = config_of("bigru", target=target, pooling="first", has_lmtarget_bias=True)
    state = random_state(config, words)
    sizes = {key: v for key, v in config.items() if type(v) in (int, float) and key != "labels_num"}
    old = {name.replace(f"target.{target}.", "target."): one for name, one in state.items()}
    source = imported(tmp_path, write_checkpoint(tmp_path / "t", sizes, old, small_vocab))
    assert source.recipe().model.encoder.type == "bigru"
    if target == "bilm":
        check_directions(source, config, state)
    else:
        found = [logits_of(config, state, ids[None])["class_logits"] for ids in EXAMPLES]
        assert_equal(class_logits(source), torch.cat(found))


def class_head(width: int) -> dict[str, Tensor]:
    """A random head with the names of UER-py's run_classifier.py."""
    shapes = {"1.weight": (width, width), "1.bias": (width,)}
    shapes |= {"2.weight": (LABELS, width), "2.bias": (LABELS,)}
    return {
        f"output_layer_{key}": torch.randn(shape, generator=torch.Generator().manual_seed(index))
        for index, (key, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize("name", ["bert", "albert"])
def test_a_fine_tuned_transformer_has_the_classes_of_its_first_token(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config, state = CONFIGS[name], random_state(CONFIGS[name], words)
    head = class_head(config["hidden_size"])
    encoder = {key: tensor for key, tensor in state.items() if not key.startswith("target.")}
    tuned = encoder | head
    source = imported(tmp_path, write_checkpoint(tmp_path / "t", config, tuned, small_vocab))
    pretrained = imported(tmp_path, write_checkpoint(tmp_path / "p", config, state, small_vocab))
    plan = encoder_plan(pretrained.recipe().model, vocabulary_size=words)
    model = loaded_model(plan, pretrained.tensors(), source="pretrained")
    with torch.no_grad():
        first = model(lay_out_rows([EXAMPLES]).tensors)["hidden"][0, [0, 20]]
    pooled = F.linear(first, head["output_layer_1.weight"], head["output_layer_1.bias"]).tanh()
    assert_equal(
        class_logits(source),
        F.linear(pooled, head["output_layer_2.weight"], head["output_layer_2.bias"]),
    )
    written, back = exported(source, tmp_path / "back")
    assert (written["labels_num"], written["target"]) == (LABELS, ["cls"])
    assert_same_tensors({key: back[key] for key in tuned}, tuned)


def test_a_fine_tuned_causal_transformer_stays_causal(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = NEXT_CONFIGS["gpt2"]
    state = {**random_state(config, words), **class_head(config["hidden_size"])}
    del state["target.lm.output_layer.weight"]
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    source = imported(tmp_path, path, "objective.pooling=last")
    assert source.recipe().model.encoder.visibility == "causal"
    written, back = exported(source, tmp_path / "back")
    assert (written["mask"], written["pooling"]) == ("causal", "last")
    assert_same_tensors({key: back[key] for key in state}, state)


@pytest.mark.parametrize("target", ["bilm", "cls"])
def test_embeddings_are_uer_pys_hidden_states(
    tmp_path: Path, small_vocab: Path, words: int, target: str
) -> None:
    config = config_of("bilstm", target=target)
    state = random_state(config, words)
    source = imported(tmp_path, write_checkpoint(tmp_path / "t", config, state, small_vocab))
    text = "".join(small_vocab.read_text(encoding="utf-8").split()[40:44])
    (found,) = Embedder(source).tokens([text], places=["text"])
    index = source.recipe().tokenizer.load().vocabulary.tokens.index
    ids = torch.tensor([[index(token) for token in found.tokens]])
    assert_equal(torch.from_numpy(found.vectors), logits_of(config, state, ids)["hidden"][0])
