"""Pooler and sentence-pair head have the same logits in ptm and in transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AlbertForPreTraining, BertForPreTraining, ErnieForPreTraining

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_config import recipe_blocks
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.model.plain_model import PlainModel, loaded_model
from tests.integration.parity.cases.albert import ALBERT
from tests.integration.parity.cases.bert import BERT, ERNIE
from tests.integration.parity.cases.models import Family, Weights, save, with_changes
from tests.support.bert_pairs import (
    TOLERANCE,
    difference,
    plan_of,
    random_value,
    random_weights,
    recipe_of,
    write_model,
)

DATA = {"corpus": "none", "layout": "sentences", "store": "", "sequence_length": 64}
NOTICED = 2 * TOLERANCE


@dataclass(frozen=True, eq=False)
class PairCase:
    """A family whose ForPreTraining class has two heads.

    `output` and `classifier`: transformers' names of the pair logits and of the layer.
    """

    family: Family
    hf_class: Any
    output: str
    classifier: str
    objective: str


CASES = {
    "bert": PairCase(
        BERT, BertForPreTraining, "seq_relationship_logits", "cls.seq_relationship", "bert"
    ),
    "ernie": PairCase(
        ERNIE, ErnieForPreTraining, "seq_relationship_logits", "cls.seq_relationship", "bert"
    ),
    "albert": PairCase(
        ALBERT, AlbertForPreTraining, "sop_logits", "sop_classifier.classifier", "albert"
    ),
}
Pairs = list[tuple[Tensor, Tensor]]
"""Token ids and segments (0, 1) of each pair of texts, both (T,)."""


@pytest.fixture(scope="module")
def pairs(words: int) -> Pairs:
    generator = torch.Generator().manual_seed(0)
    found = []
    for first, second in ((3, 9), (20, 1), (7, 7), (1, 30)):
        ids = torch.randint(5, words, (first + second + 3,), generator=generator)
        ids[0], ids[first + 1], ids[-1] = 2, 3, 3
        found.append((ids, torch.tensor([0] * (first + 2) + [1] * (second + 1))))
    return found


@dataclass(frozen=True)
class Logits:
    """Token logits (N, V) and pair logits (P, 2)."""

    tokens: Tensor
    pairs: Tensor


def ptm_logits(model: PlainModel, pairs: Pairs) -> Logits:
    """ptm's logits, with two pairs per row."""
    tokens, classes = [], []
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        lengths = [len(one[0]), len(other[0])]
        ids = torch.cat((one[0], other[0]))
        batch = {
            "input_ids": ids[None],
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "segment_ids": torch.cat((one[1], other[1]))[None] + 1,
            "example_ids": torch.tensor([1] * lengths[0] + [2] * lengths[1])[None],
            "predicted_positions": torch.arange(len(ids)),
            "pair_positions": torch.tensor([0, lengths[0]]),
        }
        with torch.no_grad():
            found = model(batch)
        tokens.append(found["logits"])
        classes.append(found["pair_logits"])
    return Logits(torch.cat(tokens), torch.cat(classes))


def hf_logits(model: Any, pairs: Pairs, case: PairCase) -> Logits:
    """transformers' logits, one pair at a time."""
    with torch.no_grad():
        found = [model(ids[None], token_type_ids=segments[None]) for ids, segments in pairs]
    return Logits(
        torch.cat([output.prediction_logits[0] for output in found]),
        torch.cat([output[case.output] for output in found]),
    )


def assert_same(ours: Logits, theirs: Logits) -> None:
    assert difference(ours.tokens, theirs.tokens) <= TOLERANCE
    assert difference(ours.pairs, theirs.pairs) <= TOLERANCE
    assert theirs.pairs.std(dim=0).min() > 0.05, "the pairs differ in their logits"


@pytest.fixture(scope="module", params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> PairCase:
    found: PairCase = request.param
    return found


@dataclass(frozen=True)
class Exported:
    """A random model, its export, and transformers' logits."""

    weights: Weights
    ours: PlainModel
    folder: Path
    loading_info: Mapping[str, Any]
    expected: Logits


@pytest.fixture(scope="module")
def exported(
    case: PairCase, tmp_path_factory: pytest.TempPathFactory, small_vocab: Path, pairs: Pairs
) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    changes = {"objective": {"type": case.objective}}
    blocks = {**with_changes(case.family.recipe(small_vocab), changes), "data": DATA}
    plan = plan_of(recipe_of(blocks))
    weights = random_weights(plan)
    source = write_model(folder / "model", blocks, weights)
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    theirs, info = case.hf_class.from_pretrained(folder / "export", output_loading_info=True)
    ours = loaded_model(plan, weights, source="random")
    expected = hf_logits(theirs.eval(), pairs, case)
    return Exported(weights, ours, folder / "export", info, expected)


def test_an_export_has_the_same_logits_of_tokens_and_pairs(
    exported: Exported, pairs: Pairs
) -> None:
    assert not any(exported.loading_info.values()), exported.loading_info
    assert_same(ptm_logits(exported.ours, pairs), exported.expected)


def test_an_export_is_read_back_with_its_objective(case: PairCase, exported: Exported) -> None:
    source = open_source(str(exported.folder))
    assert source.recipe().objective.type == case.objective
    back = source.tensors()
    assert back.keys() == exported.weights.keys()
    for name in ("pooler.dense.weight", "pooler.dense.bias", "pair_classifier.weight"):
        assert torch.equal(back[name], exported.weights[name])


def swapped_segments(weights: Weights) -> None:
    table = weights["embedding.segment.weight"]
    table[1], table[2] = table[2].clone(), table[1].clone()


def swapped_classes(weights: Weights) -> None:
    weights["pair_classifier.weight"] = weights["pair_classifier.weight"].flip(0)


def transposed_pooler(weights: Weights) -> None:
    weights["pooler.dense.weight"] = weights["pooler.dense.weight"].T.contiguous()


def no_pooler_bias(weights: Weights) -> None:
    weights["pooler.dense.bias"].zero_()


def no_classifier_bias(weights: Weights) -> None:
    weights["pair_classifier.bias"].zero_()


@pytest.mark.parametrize(
    "mistake",
    [swapped_segments, swapped_classes, transposed_pooler, no_pooler_bias, no_classifier_bias],
)
def test_a_mistake_is_noticed_in_the_pairs(
    exported: Exported, pairs: Pairs, mistake: Callable[[Weights], None]
) -> None:
    weights = {name: tensor.clone() for name, tensor in exported.weights.items()}
    mistake(weights)
    wrong = loaded_model(exported.ours.plan, weights, source="changed")
    assert difference(ptm_logits(wrong, pairs).pairs, exported.expected.pairs) > NOTICED


def test_a_pooler_without_tanh_is_noticed(
    exported: Exported, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "tanh", lambda tensor: tensor)
    wrong = ptm_logits(exported.ours, pairs)
    assert difference(wrong.pairs, exported.expected.pairs) > NOTICED


@pytest.fixture(scope="module")
def theirs(case: PairCase, words: int) -> Any:
    """transformers' model with random weights."""
    model = case.hf_class(case.family.config(words, {})).eval()
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters()):
            is_norm = "LayerNorm.weight" in name or "layer_norm.weight" in name
            table = "embeddings." in name
            value = random_value(parameter.shape, is_norm=is_norm, is_table=table, seed=seed)
            parameter.copy_(value)
    return model


@pytest.fixture(scope="module")
def saved(
    case: PairCase, theirs: Any, tmp_path_factory: pytest.TempPathFactory, small_vocab: Path
) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "theirs"
    return save(theirs, folder, vocab=small_vocab, family=case.family)


def test_an_import_has_the_same_logits_and_is_exported_unchanged(
    case: PairCase, theirs: Any, saved: Path, tmp_path: Path, pairs: Pairs
) -> None:
    import_from_huggingface(str(saved), tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    recipe = source.recipe()
    assert recipe.objective.type == case.objective
    ours = loaded_model(plan_of(recipe), source.tensors(), source="import")
    assert_same(ptm_logits(ours, pairs), hf_logits(theirs, pairs, case))
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    back, info = case.hf_class.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    state = back.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(state[name], tensor), name


def test_a_pooler_without_a_pair_head_is_left_out(
    case: PairCase, saved: Path, tmp_path: Path
) -> None:
    """A saved BertModel has such a pooler, which no objective of ptm trains."""
    folder = Path(shutil.copytree(saved, tmp_path / "saved"))
    weights = load_file(folder / "model.safetensors")
    kept = {n: t for n, t in weights.items() if not n.startswith(case.classifier)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors")
    source = open_source(str(folder))
    assert source.recipe().objective.type == "mlm"
    assert not any(name.startswith(("pooler", "pair_classifier")) for name in source.tensors())


def test_the_architecture_in_a_config_without_weights_decides_about_a_pair_head(
    case: PairCase, saved: Path, tmp_path: Path
) -> None:
    config = json.loads((saved / "config.json").read_text())
    assert f"type: {case.objective}\n" in recipe_blocks(saved / "config.json")
    config["architectures"] = [config["architectures"][0].replace("PreTraining", "MaskedLM")]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "type: mlm" in recipe_blocks(tmp_path / "config.json")
