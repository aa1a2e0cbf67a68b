"""Operations counted from the plan, against torch's own counter and the masks of attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ptm.components.decoders.transformer import TransformerDecoder
from ptm.model.build import build_plan, encoder_plan
from ptm.model.example_sizes import ExampleSizes, example_sizes
from ptm.model.flops import FlopCounter, visible_pairs
from ptm.model.plain_model import empty_model
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.model_shape import Visibility
from ptm.plan import Plan
from ptm.recipe import Recipe, load_recipe
from tests.support.small_runs import PROJECT

VOCABULARY = 64
ROWS = 3
RECIPES = {
    f"{path.parent.name}-{path.stem}": path
    for path in sorted((PROJECT / "recipes").glob("*/*tiny*.yaml"))
}
# One of each model; the others differ in objective or masking only.
MODELS = [
    *(
        "albert-tiny",
        "bart-tiny",
        "bert-tiny",
        "classification-transformer-tiny",
        "elmo-tiny",
        "gated-cnn-tiny",
    ),
    *("gpt2-tiny", "gru-tiny", "llama-tiny", "lstm-tiny", "modernbert-tiny", "pegasus-tiny"),
    *("prefixlm-tiny", "realformer-tiny", "rnn-tiny", "t5-tiny", "t5-v1.1-tiny"),
]


def loaded(path: Path) -> tuple[Recipe, Plan]:
    recipe = load_recipe(str(path))
    return recipe, build_plan(recipe.model, recipe.objective, vocabulary_size=VOCABULARY)


def inputs_of(plan: Plan, *, length: int) -> dict[str, torch.Tensor]:
    """Rows of one example each without padding, all of whose positions are predicted."""
    grid = torch.ones(ROWS, length, dtype=torch.long)
    return {
        name: torch.arange(ROWS * length) if name.endswith("_positions") else grid
        for name in plan.inputs
    }


def counted_by_torch(plan: Plan, inputs: dict[str, torch.Tensor]) -> int:
    model = empty_model(plan).eval()
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False),
        FlopCounterMode(display=False) as counter,
    ):
        model(inputs)
    return int(counter.get_total_flops())


def sizes_of(recipe: Recipe, inputs: dict[str, torch.Tensor]) -> ExampleSizes:
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    arrays.setdefault("segment_ids", arrays["example_ids"])
    ragged = tuple(name for name in recipe.objective.ragged_tensors if name in arrays)
    return example_sizes(arrays, ragged)


@pytest.mark.parametrize("name", MODELS)
def test_examples_of_one_token_need_what_torch_counts(name: str) -> None:
    # A single token sees itself alone, whatever the attention pattern.
    recipe, plan = loaded(RECIPES[name])
    inputs = inputs_of(plan, length=1)
    assert FlopCounter(plan).forward([sizes_of(recipe, inputs)]) == counted_by_torch(plan, inputs)


@pytest.mark.parametrize("name", ["albert-tiny", "bert-tiny", "realformer-tiny"])
def test_longer_examples_need_what_torch_counts(name: str) -> None:
    recipe, plan = loaded(RECIPES[name])
    inputs = inputs_of(plan, length=16)
    sizes = sizes_of(recipe, inputs)
    assert FlopCounter(plan).forward([sizes]) == counted_by_torch(plan, inputs)
    assert FlopCounter(plan).training([sizes, sizes]) == 6 * counted_by_torch(plan, inputs)


def test_blocks_alone_are_the_model_without_its_head() -> None:
    recipe, plan = loaded(RECIPES["bert-tiny"])
    sizes = sizes_of(recipe, inputs_of(plan, length=16))
    encoder = encoder_plan(recipe.model, vocabulary_size=VOCABULARY)
    blocks, whole = FlopCounter(plan, blocks=True), FlopCounter(encoder)
    assert blocks.forward([sizes]) == whole.forward([sizes]) > 0


@pytest.mark.parametrize(
    ("visibility", "window"),
    [("full", None), ("full", 4), ("full", 10), ("causal", None), ("causal", 4), ("prefix", None)],
)
def test_pairs_are_those_that_the_mask_shows(visibility: Visibility, window: int | None) -> None:
    pattern = AttentionPattern(visibility, window)
    lengths = np.array([1, 2, 5, 16, 40])
    prefixes = np.array([1, 0, 3, 16, 12])
    expected = [
        int(pattern.mask(ids, ids, segments).sum())
        for length, prefix in zip(lengths, prefixes, strict=True)
        for ids in [torch.ones(1, int(length), dtype=torch.long)]
        for segments in [torch.where(torch.arange(int(length)) < int(prefix), 1, 2)[None]]
    ]
    assert visible_pairs(pattern, lengths, prefixes).tolist() == expected


def test_padding_and_other_examples_of_a_row_are_not_counted() -> None:
    _, plan = loaded(RECIPES["gpt2-tiny"])
    row = {"example_ids": [1, 1, 1, 2, 2, 0], "target_weights": [1, 1, 0, 1, 0, 0]}
    arrays = {name: np.array([values]) for name, values in row.items()}
    packed = example_sizes({**arrays, "segment_ids": arrays["example_ids"]})
    assert packed.lengths["example_ids"].tolist() == [3, 2]
    alone = [
        ExampleSizes({"example_ids": np.array([length])}, {"target_weights": predicted})
        for length, predicted in ((3, 2), (2, 1))
    ]
    counter = FlopCounter(plan)
    assert counter.forward([packed]) == counter.forward(alone)


def test_cross_attention_pairs_the_two_sides_of_each_example() -> None:
    _, plan = loaded(RECIPES["t5-tiny"])
    one = {"example_ids": np.array([4, 3]), "decoder_example_ids": np.array([2, 5])}
    other = {"example_ids": np.array([4, 3]), "decoder_example_ids": np.array([5, 2])}
    counter = FlopCounter(plan)
    found = [
        counter.forward([ExampleSizes(sides, {"target_weights": 7})]) for sides in (one, other)
    ]
    recipe, _ = loaded(RECIPES["t5-tiny"])
    decoder = recipe.model.decoder
    assert isinstance(decoder, TransformerDecoder)
    # The pairs differ: 4 x 2 + 3 x 5 and 4 x 5 + 3 x 2; each costs 4 operations per unit of width.
    heads = decoder.head_shape
    assert found[1] - found[0] == decoder.layers * 4 * heads.query_width * (26 - 23)
