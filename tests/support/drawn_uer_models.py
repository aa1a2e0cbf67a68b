"""Models drawn at random, exported to UER-py or imported from it, and compared.

    python -m tests.support.drawn_uer_models exports --seed 0 --count 2000
    python -m tests.support.drawn_uer_models imports --seed 0 --count 2000

Prints how many draws have equal logits in ptm and in the second implementation of UER-py's classes,
how many an error rejects by reason, and every draw that is neither.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.sources.base import ModelSource
from ptm.interop.uer.entries import LAYER_EPSILON
from ptm.interop.uer.export import export_to_uer
from ptm.interop.weights_file import read_weights
from ptm.model.build import build_plan
from ptm.recipe import ModelRecipe, recipe_from_data
from tests.support.bert_pairs import random_weights, write_model
from tests.support.uer_draws import WORDS, Blocks, Draw, drawn_config, one_sided, two_sided
from tests.support.uer_models import import_uer, write_checkpoint
from tests.support.uer_modules import random_state
from tests.support.uer_pairs import TOLERANCE, Example, difference, ptm_logits, uer_logits

EQUAL, EQUAL_IN_FP64 = "equal", "equal in fp64"
BUT_FOR_EPSILON = "equal but for the epsilon of layer norms"
ACCEPTED = (EQUAL, EQUAL_IN_FP64, BUT_FOR_EPSILON)


def vocabulary(folder: Path) -> Path:
    """A vocabulary of WORDS entries."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path = folder / "words.txt"
    words = [*special, *(f"w{number}" for number in range(WORDS - len(special)))]
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def drawn_recipe(draw: Draw, vocab: Path) -> tuple[Blocks, ModelRecipe]:
    """A valid recipe."""
    while True:
        blocks = draw.one(one_sided, two_sided)(draw)
        blocks["tokenizer"] = {"type": "wordpiece", "vocab": str(vocab)}
        try:
            recipe = recipe_from_data(blocks, ModelRecipe, name="drawn")
            build_plan(recipe.model, recipe.objective, vocabulary_size=WORDS)
        except (UserError, ValueError):
            continue
        return blocks, recipe


def _tables(name: str) -> bool:
    return "embedding" in name and "norm" not in name and "projection" not in name


def exported(draw: Draw, folder: Path, vocab: Path) -> str:
    """Draw a model, export it and compare; returns the result."""
    blocks, recipe = drawn_recipe(draw, vocab)
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=WORDS)
    weights = {
        name: 2 * tensor if _tables(name) else tensor
        for name, tensor in random_weights(plan).items()
    }
    source = write_model(folder / "model", blocks, weights)
    notes = export_to_uer(source, folder / "uer")
    config = json.loads((folder / "uer" / "config.json").read_text())
    state = read_weights(folder / "uer" / "model.bin")
    example = Example.random(
        WORDS,
        decodes=recipe.model.decoder is not None,
        segments=2 if recipe.objective.type == "prefixlm" else 1,
    )
    epsilon = recipe.model.encoder.norm_epsilon
    for tencent in (False, True):
        found = _compared(source, config, state, example, tencent=tencent)
        if found not in ACCEPTED:
            return f"{found} {blocks}"
    if found == BUT_FOR_EPSILON and epsilon != LAYER_EPSILON and not notes:
        return f"different, not reported {blocks}"
    return found


def _compared(
    source: ModelSource,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    example: Example,
    *,
    tencent: bool,
) -> str:
    """Compare the outputs of a model of ptm with those of UER-py's.

    If they differ, both are computed in fp64, and then with the same epsilon.
    """
    recipe, tensors = source.recipe(), source.tensors()
    ours = ptm_logits(recipe, tensors, example)
    if difference(uer_logits(config, state, example, tencent=tencent), ours) < TOLERANCE:
        return EQUAL
    double = torch.float64
    ours = ptm_logits(recipe, tensors, example, dtype=double)
    distances = [
        difference(
            uer_logits(config, state, example, tencent=tencent, epsilon=epsilon, dtype=double), ours
        )
        for epsilon in (None, recipe.model.encoder.norm_epsilon)
    ]
    for distance, result in zip(distances, (EQUAL_IN_FP64, BUT_FOR_EPSILON), strict=True):
        if distance < TOLERANCE:
            return result
    return f"different: {distances[0]:.0e}"


def imported(draw: Draw, folder: Path, vocab: Path) -> str:
    """Draw a config, save what its class saves, import it and compare; returns the result."""
    config = drawn_config(draw)
    # UER-py has no options of TencentPretrain, and no separate tables of layers.
    tencent = (
        draw.chance(0.5)
        or config.keys()
        & {
            "rotary_position_embedding",
            "local_kv_heads_num",
            "layernorm_eps",
            "alibi_position_embedding",
        }
        != set()
    )
    state = random_state(config, WORDS, seed=draw.random.randrange(10**6), tencent=tencent)
    source = import_uer(write_checkpoint(folder / "theirs", config, state, vocab), folder / "in")
    example = Example.random(
        WORDS,
        decodes="decoder" in config,
        segments=2 if config.get("mask") == "causal_with_prefix" else 1,
    )
    found = _compared(source, config, state, example, tencent=tencent)
    return found if found in ACCEPTED else f"{found} {config}"


def results(kind: Callable[[Draw, Path, Path], str], *, seed: int, count: int) -> Iterator[str]:
    """The result of each of `count` draws, or the reason of its error."""
    for number in range(count):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                yield kind(Draw(seed * 10**6 + number), folder, vocabulary(folder))
            except UserError as error:
                yield f"rejected: {_reason(str(error))}"


def _reason(message: str) -> str:
    """What a message has in common with others of its kind."""
    found = re.search(r"cannot express this model: (\w+\.[\w.]+)", message)
    if found:
        return f"UER-py's configs lack {found.group(1)}"
    text = message.partition(": ")[2].removeprefix("UER-py configs cannot express this model: ")
    return re.sub(r"\b\d+\b", "N", text.split(". ")[0])[:100]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("exports", "imports"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    kind = {"exports": exported, "imports": imported}[given.kind]
    counted = Counter(results(kind, seed=given.seed, count=given.count))
    for result, count in counted.most_common():
        print(f"{count:6} {result}")


if __name__ == "__main__":
    main()
