"""A pooler and a head for pairs of texts give, on either side, the logits of the other."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertForPreTraining, ErnieConfig, ErnieForPreTraining

from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.importing import import_from_huggingface
from ptm.interop.source import open_source
from ptm.model.build import PlainModel, build_plan
from ptm.model.loaded import loaded_model
from tests.support.bert_pairs import (
    POSITIONS,
    TINY,
    TOLERANCE,
    blocks_of,
    difference,
    plan_of,
    random_value,
    random_weights,
    recipe_of,
    write_model,
)

DATA = {"corpus": "none", "layout": "sentences", "store": "", "sequence_length": 64}


@dataclass(frozen=True)
class PairCase:
    """A family with a class for pretraining on masked tokens and pairs."""

    model: Callable[[Any], nn.Module]
    config: Callable[..., Any]
    embedding: dict[str, Any]


CASES = {
    "bert": PairCase(BertForPreTraining, BertConfig, {}),
    "ernie": PairCase(
        ErnieForPreTraining, ErnieConfig, {"of": ["word", "position", "segment", "task"]}
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> PairCase:
    found: PairCase = request.param
    return found


@pytest.fixture
def pairs(small_vocab: Path) -> list[tuple[Tensor, Tensor]]:
    """Ids and segments (0, 1) of pairs of several lengths."""
    generator = torch.Generator().manual_seed(0)
    size = len(small_vocab.read_text(encoding="utf-8").splitlines())
    found = []
    for first, second in ((3, 9), (20, 1), (7, 7), (1, 30)):
        ids = torch.randint(5, size, (first + second + 3,), generator=generator)
        ids[0], ids[first + 1], ids[-1] = 2, 3, 3
        segments = torch.tensor([0] * (first + 2) + [1] * (second + 1))
        found.append((ids, segments))
    return found


def our_logits(model: PlainModel, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Two pairs a row: (N, V) of the tokens, (P, 2) of the pairs."""
    tokens, classes = [], []
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        ids = torch.cat((one[0], other[0]))
        segments = torch.cat((one[1], other[1])) + 1
        lengths = [len(one[0]), len(other[0])]
        tensors = {
            "input_ids": ids[None],
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "segment_ids": segments[None],
            "example_ids": torch.tensor([1] * lengths[0] + [2] * lengths[1])[None],
            "predicted_positions": torch.arange(len(ids)),
            "pair_positions": torch.tensor([0, lengths[0]]),
        }
        with torch.no_grad():
            found = model(tensors)
        tokens.append(found["logits"])
        classes.append(found["pair_logits"])
    return torch.cat(tokens), torch.cat(classes)


def their_logits(model: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Every pair by itself."""
    tokens, classes = [], []
    for ids, segments in pairs:
        with torch.no_grad():
            found = model(ids[None], token_type_ids=segments[None])
        tokens.append(found.prediction_logits[0])
        classes.append(found.seq_relationship_logits)
    return torch.cat(tokens), torch.cat(classes)


@dataclass(frozen=True)
class Exported:
    weights: dict[str, Tensor]
    ours: PlainModel
    theirs: nn.Module
    folder: Path


@pytest.fixture
def exported(case: PairCase, tmp_path: Path, small_vocab: Path) -> Exported:
    blocks = copy.deepcopy(blocks_of(small_vocab, TINY))
    blocks["model"]["embedding"].update(case.embedding)
    blocks["objective"]["type"] = "bert"
    blocks["data"] = DATA
    plan = plan_of(recipe_of(blocks))
    weights = random_weights(plan)
    source = write_model(tmp_path / "model", blocks, weights)
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    theirs, info = case.model.from_pretrained(  # type: ignore[attr-defined]
        tmp_path / "export", output_loading_info=True
    )
    assert not any(info.values()), info
    ours = loaded_model(plan, weights, source="random")
    return Exported(weights, ours, theirs.eval(), tmp_path / "export")


def test_an_export_has_the_same_logits_of_tokens_and_pairs(
    exported: Exported, pairs: list[tuple[Tensor, Tensor]]
) -> None:
    ours, theirs = our_logits(exported.ours, pairs), their_logits(exported.theirs, pairs)
    assert difference(ours[0], theirs[0]) <= TOLERANCE
    assert difference(ours[1], theirs[1]) <= TOLERANCE
    assert theirs[1].std(dim=0).min() > 0.05, "the pairs differ in their logits"


def test_an_export_is_read_back_with_its_objective(exported: Exported) -> None:
    source = open_source(str(exported.folder))
    assert source.recipe().objective.type == "bert"
    back = source.tensors()
    assert back.keys() == exported.weights.keys()
    for name in ("pooler.dense.weight", "pooler.dense.bias", "pair_classifier.weight"):
        assert torch.equal(back[name], exported.weights[name])


def swapped_segments(weights: dict[str, Tensor]) -> None:
    table = weights["embedding.segment.weight"]
    table[1], table[2] = table[2].clone(), table[1].clone()


def swapped_classes(weights: dict[str, Tensor]) -> None:
    weights["pair_classifier.weight"] = weights["pair_classifier.weight"].flip(0)


def dropped(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda weights: weights[name].zero_()  # type: ignore[return-value]


@pytest.mark.parametrize(
    "mistake",
    [
        swapped_segments,
        swapped_classes,
        dropped("pooler.dense.bias"),
        dropped("pair_classifier.bias"),
    ],
    ids=["segments", "classes", "pooler-bias", "bias"],
)
def test_a_mistake_shows_in_the_pairs(
    exported: Exported,
    pairs: list[tuple[Tensor, Tensor]],
    mistake: Callable[[dict[str, Tensor]], None],
) -> None:
    weights = {name: tensor.clone() for name, tensor in exported.weights.items()}
    mistake(weights)
    wrong = loaded_model(exported.ours.plan, weights, source="changed")
    expected = their_logits(exported.theirs, pairs)[1]
    assert difference(our_logits(wrong, pairs)[1], expected) > TOLERANCE


def test_a_pooler_without_tanh_shows(
    exported: Exported, pairs: list[tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = their_logits(exported.theirs, pairs)[1]
    monkeypatch.setattr(torch, "tanh", lambda tensor: tensor)
    assert difference(our_logits(exported.ours, pairs)[1], expected) > TOLERANCE


@pytest.fixture
def saved(case: PairCase, tmp_path: Path, small_vocab: Path) -> tuple[nn.Module, Path]:
    """transformers' model with random weights, saved."""
    size = len(small_vocab.read_text(encoding="utf-8").splitlines())
    config = case.config(
        vocab_size=size,
        hidden_size=TINY.width,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.heads,
        intermediate_size=4 * TINY.width,
        max_position_embeddings=POSITIONS,
        **({"use_task_id": True} if case.embedding else {}),
    )
    model = case.model(config).eval()
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters()):
            norm = "LayerNorm.weight" in name
            table = "embeddings" in name
            parameter.copy_(random_value(parameter.shape, is_norm=norm, is_table=table, seed=seed))
    model.save_pretrained(tmp_path / "theirs")  # type: ignore[operator]
    shutil.copyfile(small_vocab, tmp_path / "theirs" / "vocab.txt")
    return model, tmp_path / "theirs"


def test_an_import_has_the_same_logits_and_its_objective(
    saved: tuple[nn.Module, Path], tmp_path: Path, pairs: list[tuple[Tensor, Tensor]]
) -> None:
    model, folder = saved
    import_from_huggingface(str(folder), tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    recipe = source.recipe()
    assert recipe.objective.type == "bert"
    size = recipe.tokenizer.load().vocabulary.size
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
    ours = our_logits(loaded_model(plan, source.tensors(), source="import"), pairs)
    theirs = their_logits(model, pairs)
    assert difference(ours[0], theirs[0]) <= TOLERANCE
    assert difference(ours[1], theirs[1]) <= TOLERANCE


def test_a_pooler_alone_is_left_out(saved: tuple[nn.Module, Path]) -> None:
    """As a BertModel is saved: nothing here is trained with it."""
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    kept = {n: t for n, t in weights.items() if not n.startswith("cls.seq_relationship")}
    save_file(kept, folder / "model.safetensors")
    source = open_source(str(folder))
    assert source.recipe().objective.type == "mlm"
    assert not any(name.startswith("pooler") for name in source.tensors())


def test_a_config_alone_says_that_there_are_pairs(
    saved: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    from ptm.interop.config_only import recipe_blocks

    _, folder = saved
    written = json.loads((folder / "config.json").read_text())
    assert "type: bert" in recipe_blocks(folder / "config.json")
    written["architectures"] = [written["architectures"][0].replace("PreTraining", "MaskedLM")]
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert "type: mlm" in recipe_blocks(tmp_path / "config.json")
