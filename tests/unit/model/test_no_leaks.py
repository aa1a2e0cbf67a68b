"""No model reads the token that it predicts: every such recipe, in packed rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ptm.data.placement import DECODER
from ptm.model.build import build_plan, encoder_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe import Recipe, load_recipe
from tests.support.small_runs import PROJECT

VOCABULARY, LENGTH = 90, 24
STACKS = ("gpt", "gpt2", "llama", "prefixlm", "rnn", "lstm", "gru", "gated-cnn")
WITH_DECODERS = ("t5", "t5-v1.1", "bart", "pegasus", "translation")
# Three examples, then padding: (begin, begin of the target in a prefix model, end) of each.
EXAMPLES = ((0, 4, 9), (9, 11, 16), (16, 18, 21))


def random_model(recipe: Recipe) -> PlainModel:
    torch.manual_seed(0)
    plan = build_plan(
        recipe.model, recipe.objective, vocabulary_size=VOCABULARY, outputs=("logits",)
    )
    model = PlainModel(plan).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def rows(side: str = "") -> dict[str, Tensor]:
    """One packed row."""
    example, position, segment = (torch.zeros(1, LENGTH, dtype=torch.int64) for _ in range(3))
    for number, (begin, target, end) in enumerate(EXAMPLES, 1):
        example[0, begin:end] = number
        position[0, begin:end] = torch.arange(end - begin)
        segment[0, begin:target], segment[0, target:end] = 1, 2
    ids = torch.randint(10, VOCABULARY, (1, LENGTH)) * (example > 0)
    values = {"input_ids": ids, "position_ids": position, "example_ids": example}
    return {f"{side}{k}": v for k, v in {**values, "segment_ids": segment}.items()}


@torch.no_grad()
def moved(model: PlainModel, tensors: dict[str, Tensor], side: str, place: int) -> list[bool]:
    """Whether each output changes with the token at `place`."""
    other = {name: tensor.clone() for name, tensor in tensors.items()}
    other[f"{side}input_ids"][0, place] = 5
    change = (model(tensors)["logits"] - model(other)["logits"])[0].abs().amax(dim=-1)
    return (change > 1e-6).tolist()


@pytest.mark.parametrize("kind", ["birnn", "bilstm", "bigru"])
@torch.no_grad()
def test_neither_direction_of_a_bilm_reads_the_tokens_that_it_predicts(kind: str) -> None:
    path = str(PROJECT / "recipes" / "elmo" / "tiny.yaml")
    recipe = load_recipe(path, ["model.dropout=0.0", f"model.encoder.type={kind}"])
    torch.manual_seed(3)
    model = PlainModel(encoder_plan(recipe.model, vocabulary_size=VOCABULARY)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tensors = rows()
    before = model(tensors)["hidden"]
    for place in (0, 3, 8, 10, 15, 17, 20):
        begin, _, end = example_of(place)
        other = {name: tensor.clone() for name, tensor in tensors.items()}
        other["input_ids"][0, place] = 5
        changed = (model(other)["hidden"] - before)[0].abs() > 1e-6
        forward, backward = (half.any(-1).tolist() for half in changed.chunk(2, dim=-1))
        # What predicts the next token of a place changes with it and those before; and conversely.
        assert forward == [place <= at < end for at in range(LENGTH)], place
        assert backward == [begin <= at <= place for at in range(LENGTH)], place


def example_of(place: int) -> tuple[int, int, int]:
    return next(example for example in EXAMPLES if example[0] <= place < example[2])


def recipes_of(*families: str) -> dict[str, Path]:
    """The tiny recipes of `families`, by name."""
    return {
        f"{path.parent.name}/{path.stem}": path
        for family in families
        for path in sorted((PROJECT / "recipes" / family).glob("tiny*.yaml"))
    }


ALL, DECODING = recipes_of(*STACKS, *WITH_DECODERS), recipes_of(*WITH_DECODERS)


def recipe_at(path: Path) -> Recipe:
    return load_recipe(str(path), ["model.dropout=0.0"])


@pytest.mark.parametrize("path", ALL.values(), ids=ALL)
def test_a_token_does_not_affect_earlier_tokens_or_other_examples(path: Path) -> None:
    recipe = recipe_at(path)
    torch.manual_seed(1)
    decodes = recipe.model.decoder is not None
    side = DECODER if decodes else ""
    tensors = rows() | (rows(DECODER) if decodes else {})
    model = random_model(recipe)
    for place in (0, 3, 5, 10, 15, 17, 20):
        begin, target, end = example_of(place)
        # All tokens of an example attend to its whole prefix; later tokens are causal.
        prefix = recipe.model.encoder.visibility == "prefix" and place < target
        first = begin if prefix else place
        found = moved(model, tensors, side, place)
        assert found == [first <= at < end for at in range(LENGTH)], place


@pytest.mark.parametrize("path", DECODING.values(), ids=DECODING)
def test_a_source_token_affects_all_of_its_own_target_only(path: Path) -> None:
    recipe = recipe_at(path)
    torch.manual_seed(2)
    tensors, model = rows() | rows(DECODER), random_model(recipe)
    for place in (2, 12, 20):
        begin, _, end = example_of(place)
        assert moved(model, tensors, "", place) == [begin <= at < end for at in range(LENGTH)]
