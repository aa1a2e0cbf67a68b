"""Bidirectional language modelling: both neighbours of every token, and the loss by its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.components.objectives.base import MicroBatch, RandomSource
from ptm.components.objectives.bilm import Bilm
from ptm.data.documents import Documents
from ptm.data.packing import RowSize, pack_sides
from ptm.data.placement import place
from ptm.data.windows import BEGINS, ENDS, document_windows
from ptm.model.build import build_plan, encoder_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe.model_block import ModelBlock
from ptm.store.reader import TokenStore
from ptm.text.vocabulary import Vocabularies, Vocabulary
from tests.conftest import RealText

LENGTH = 32
SIZE = RowSize(LENGTH, LENGTH)
WORDS, WIDTH = 50, 16
HEADS: dict[str, dict[str, bool]] = {
    "shared": {},
    "shared, bias": {"bias": True},
    "separate": {"shared": False},
    "separate, bias": {"shared": False, "bias": True},
    "tied": {"tied": True},
}


def bilm_of(**head: bool) -> Bilm:
    return Bilm.model_validate({"type": "bilm", "head": head})


def whole(store: TokenStore, vocabulary: Vocabulary) -> MicroBatch:
    """All rows of a store at once."""
    objective, both = bilm_of(), Vocabularies.shared(vocabulary)
    examples = objective.index(Documents(store), size=SIZE, vocabularies=both, seed=7)
    lengths = objective.row_lengths(examples)
    rows = pack_sides(lengths, SIZE)
    chosen = np.arange(len(rows))
    placement = place(rows, chosen, np.zeros_like(chosen), lengths=lengths, size=SIZE)
    return objective.collate(
        examples.texts(store, placement.example),
        placement,
        vocabularies=both,
        random_source=RandomSource(7, "train"),
    )


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_pieces_of_a_document_have_their_neighbours_as_targets(size: int) -> None:
    for length in range(20):
        windows = document_windows(
            np.array([100]), np.array([length]), size, start_token=True, overlap=2
        )
        text = list(range(100, 100 + length))
        read: list[Any] = []
        forward: list[Any] = []
        backward: list[Any] = []
        for start, count, label in zip(
            windows.starts, windows.lengths, windows.labels, strict=True
        ):
            tokens = list(range(start, start + count))
            window = ["<s>"] * bool(label & BEGINS) + tokens + ["</s>"] * bool(label & ENDS)
            assert 3 <= len(window) <= size + 2
            read += window[1:-1]
            forward += window[2:]
            backward += window[:-2]
        assert read == text
        assert forward == ([*text[1:], "</s>"] if text else [])
        assert backward == (["<s>", *text[:-1]] if text else [])


def test_every_token_of_the_store_is_read_and_predicted(
    real_store: TokenStore, real_text: RealText
) -> None:
    vocabulary = real_text.tokenizer.vocabulary
    batch = whole(real_store, vocabulary)
    tensors, inside = batch.tensors, batch.tensors["example_ids"] > 0
    starts, lengths = real_store.document_ranges
    text = np.bincount(real_store.tokens(starts, lengths), minlength=vocabulary.size)
    read, after, before = (
        np.bincount(tensors[name][inside], minlength=vocabulary.size)
        for name in ("input_ids", "forward_target_ids", "backward_target_ids")
    )
    assert np.array_equal(read, text)
    one = np.ones_like(starts)
    for targets, edge, role in (
        (after, real_store.tokens(starts, one), "sep"),
        (before, real_store.tokens(starts + lengths - 1, one), "cls"),
    ):
        # The token at the edge of a document has no neighbour there; the special token is one.
        expected = text - np.bincount(edge, minlength=vocabulary.size)
        expected[vocabulary.special_id(role)] += starts.size
        assert np.array_equal(targets, expected)
    assert np.array_equal(tensors["target_weights"] > 0, inside), "padding is no target"
    assert batch.counts == {"predicted": int(inside.sum())}


def test_targets_are_the_neighbours_in_the_example(
    real_store: TokenStore, real_text: RealText
) -> None:
    tensors = whole(real_store, real_text.tokenizer.vocabulary).tensors
    example, ids = tensors["example_ids"], tensors["input_ids"]
    same = (example[:, 1:] == example[:, :-1]) & (example[:, 1:] > 0)
    assert (ids[:, 1:] == tensors["forward_target_ids"][:, :-1])[same].all()
    assert (ids[:, :-1] == tensors["backward_target_ids"][:, 1:])[same].all()


# The loss


def random_model(objective: Bilm) -> tuple[PlainModel, PlainModel]:
    """A model with its head, and its embedding and encoder alone, with the same weights."""
    block = ModelBlock.model_validate(
        {
            "dropout": 0.0,
            "embedding": {"parts": ["word"], "layer_norm": False, "size": WIDTH // 2},
            "encoder": {"type": "bilstm", "layers": 2, "hidden_size": WIDTH},
        }
    )
    torch.manual_seed(0)
    model = PlainModel(build_plan(block, objective, vocabulary_size=WORDS))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    alone = PlainModel(encoder_plan(block, vocabulary_size=WORDS))
    alone.load_state_dict(model.state_dict(), strict=False)
    return model, alone


def output_layer(model: PlainModel, head: dict[str, bool], side: str) -> dict[str, Tensor]:
    """Copies of the output matrix (V, E) and the bias (V), if any, of one direction, by name."""
    name = f"{side}_unembed" if head.get("shared") is False else "bilm_unembed"
    matrix = "word_embedding" if head.get("tied") else name
    names = [f"{matrix}.weight", *([f"{name}_bias.bias"] if head.get("bias") else [])]
    return {one: model.get_parameter(one).detach().clone().requires_grad_() for one in names}


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_and_its_gradient_are_those_of_the_formula(name: str) -> None:
    """Two examples and padding in one row, against each text by itself."""
    head = HEADS[name]
    objective = bilm_of(**head)
    model, alone = random_model(objective)
    start, end = 1, 2
    texts = [torch.randint(5, WORDS, (length,)) for length in (4, 1, 6)]
    padding = torch.zeros(3, dtype=torch.int64)
    parts: dict[str, list[Tensor]] = {
        "input_ids": texts,
        "example_ids": [torch.full_like(text, n) for n, text in enumerate(texts, 1)],
        "forward_target_ids": [torch.cat((t[1:], torch.tensor([end]))) for t in texts],
        "backward_target_ids": [torch.cat((torch.tensor([start]), t[:-1])) for t in texts],
        "target_weights": [torch.ones_like(text) for text in texts],
    }
    tensors = {key: torch.cat([*values, padding])[None] for key, values in parts.items()}
    sums = objective.metric_sums(model(tensors), tensors)
    (sums["forward_loss"] + sums["backward_loss"]).backward()

    losses, hits, layers = {}, {}, {}
    for at, side in enumerate(("forward", "backward")):
        layers[side] = output_layer(model, head, side)
        matrix, bias = (*layers[side].values(), torch.zeros(()))[:2]
        loss, right = torch.zeros(()), 0
        for text, targets in zip(texts, parts[f"{side}_target_ids"], strict=True):
            ids = text[None]
            hidden = alone({"input_ids": ids, "example_ids": torch.ones_like(ids)})["hidden"][0]
            logits = hidden.chunk(2, dim=-1)[at] @ matrix.T + bias
            loss = loss + F.cross_entropy(logits, targets, reduction="sum")
            right += int((logits.argmax(-1) == targets).sum())
        losses[side], hits[side] = loss, right
    (losses["forward"] + losses["backward"]).backward()
    for side in losses:
        torch.testing.assert_close(sums[f"{side}_loss"], losses[side], rtol=1e-5, atol=0)
        assert int(sums[f"{side}_accuracy"]) == hits[side]
    mean = (losses["forward"] + losses["backward"]) / 2
    torch.testing.assert_close(sums["lm_loss"], mean, rtol=1e-5, atol=0)
    for key, parameter in model.named_parameters():
        parts_of_it: list[dict[str, Any]] = [dict(alone.named_parameters()), *layers.values()]
        gradients = [part[key].grad for part in parts_of_it if key in part]
        torch.testing.assert_close(parameter.grad, sum(gradients), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_a_pipeline_stage_can_begin_between_any_two_operations(name: str) -> None:
    """Every floating-point tensor that is passed on receives a gradient."""
    model, _ = random_model(bilm_of(**HEADS[name]))
    ids = torch.randint(5, WORDS, (2, 6))
    weights = torch.ones_like(ids)
    tensors: dict[str, Tensor] = {
        **dict.fromkeys(("example_ids", "target_weights"), weights),
        **dict.fromkeys(("input_ids", "forward_target_ids", "backward_target_ids"), ids),
    }
    seen: dict[str, Tensor] = {}
    for index, step in enumerate(model.plan.operations):
        read = [tensors[key] for key in step.reads]
        written = model.get_submodule(step.key)(*read, **step.options)
        written = written if isinstance(written, tuple) else (written,)
        tensors |= dict(zip(step.writes, written, strict=True))
        for key in model.plan.live()[index + 1]:
            if tensors[key].is_floating_point():
                tensors[key].retain_grad()
                seen[f"{key} after {step.name}"] = tensors[key]
    sums = Bilm(type="bilm").metric_sums(tensors, tensors)
    (sums["forward_loss"] + sums["backward_loss"]).backward()
    assert [key for key, tensor in seen.items() if tensor.grad is None] == []


def test_one_shared_output_layer_by_default() -> None:
    def names(**head: bool) -> set[str]:
        model, _ = random_model(bilm_of(**head))
        found = {name for name, _ in model.named_parameters() if not name.startswith("encoder_")}
        return found - {"word_embedding.weight"}

    assert names() == {"bilm_unembed.weight"}
    assert names(tied=True) == set()
    assert names(bias=True) == {"bilm_unembed.weight", "bilm_unembed_bias.bias"}
    sides = {f"{side}_unembed.weight" for side in ("forward", "backward")}
    assert names(shared=False) == sides
    assert bilm_of(shared=False).has_head(sides)
    assert not bilm_of(shared=False).has_head({"forward_unembed.weight"})


def test_a_tied_layer_cannot_be_separate() -> None:
    with pytest.raises(ValidationError, match="contradicts shared = false"):
        bilm_of(tied=True, shared=False)
