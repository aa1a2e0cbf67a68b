"""Recipes that pair embedding parts, encoders and objectives at random.

They are drawn from the registries, so that a new component is drawn too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

from ptm.component import Config, members
from ptm.components.decoders import Decoder
from ptm.components.embeddings.config import embedding_parts
from ptm.components.encoders import Encoder
from ptm.components.objectives import Objective
from ptm.nn.model_shape import Visibility

WIDTH = 16
SIZES: dict[str, int] = {
    "hidden_size": WIDTH,
    # An odd number, which gated convolutions need; three layers can be split into two stages.
    "layers": 3,
    "heads": 2,
    "feed_forward_size": 32,
}
"""Values of the required options of encoders and decoders."""
INPUTS: dict[str, Any] = {"labels": 2}
"""Values of the required options of objectives."""
ONE_OF: dict[str, dict[str, Any]] = {"tagging": {"entities": ["A", "B"], "crf": True}}
"""Options of objectives that require one of several."""
LEARN_FROM_A_MODEL = ("distil",)
"""Objectives that are not drawn, because they need a trained teacher."""
FITTING = 0.8
"""Probability that the visibility is one that the objective allows."""


@cache
def encoders() -> dict[str, type[Encoder]]:
    """All encoders by type."""
    return members("ptm.components.encoders", Encoder)  # type: ignore[type-abstract]


@cache
def objectives() -> dict[str, type[Objective]]:
    """All objectives by type, apart from LEARN_FROM_A_MODEL."""
    found = members("ptm.components.objectives", Objective)  # type: ignore[type-abstract]
    return {name: one for name, one in found.items() if name not in LEARN_FROM_A_MODEL}


@cache
def decoders() -> dict[str, type[Decoder]]:
    """All decoders by type."""
    return members("ptm.components.decoders", Decoder)  # type: ignore[type-abstract]


def draw(seed: int) -> dict[str, Any]:
    """A recipe with a drawn pairing; every seed has its own."""
    dice = random.Random(seed)
    name = dice.choice(sorted(objectives()))
    objective = objectives()[name]
    visible = objective.visibilities if dice.random() < FITTING else get_args(Visibility)
    model: dict[str, Any] = {
        "embedding": {
            "parts": ["word", *_subset(dice, sorted(embedding_parts()))],
            "layer_norm": dice.random() < 0.5,
            "size": dice.choice([None, None, 8]),
        },
        "encoder": _encoder(dice, dice.choice(sorted(visible))),
    }
    # The heads that predict tokens may be tied to the word embedding.
    ties = "tied" in getattr(_field_type(objective, "head"), "model_fields", {})
    head = {"head": {"tied": dice.random() < 0.5}} if ties else {}
    block = {"type": name, **_required(objective, INPUTS), **ONE_OF.get(name, {}), **head}
    layout = objective.model_validate(block).default_layout
    if name == "choice":
        # With small weights, three recurrent layers give all choices the same score in fp32.
        model["init"] = {"std": 0.2}
    if objective.needs_decoder:
        kind = dice.choice(sorted(decoders()))
        model["decoder"] = {"type": kind, **_required(decoders()[kind], SIZES)}
    return {
        "name": f"pairing-{seed:02}",
        "tokenizer": {"type": "wordpiece", "vocab": "vocab.txt", "lowercase": True},
        "data": {"corpus": "corpora/*.txt", "store": "", "sequence_length": 64, "layout": layout},
        "model": model,
        "objective": block,
        "optimizer": {"type": "adamw", "learning_rate": 1e-4},
        "schedule": {"type": "linear"},
        "train": {"steps": 8, "global_batch_size": 8, "micro_batch_size": 4},
    }


def described(recipe: dict[str, Any]) -> str:
    """The pairing of a recipe in a few words."""
    model = recipe["model"]
    options = {key: v for key, v in model["encoder"].items() if key not in (*SIZES, "type")}
    parts = "+".join(model["embedding"]["parts"])
    return f"{parts} x {model['encoder']['type']}{options or ''} x {recipe['objective']['type']}"


def _field_type(component: type[Config], name: str) -> Any:
    field = component.model_fields.get(name)
    return None if field is None else field.annotation


def _subset(dice: random.Random, names: Iterable[str]) -> list[str]:
    return [name for name in names if dice.random() < 0.35]


def _encoder(dice: random.Random, visibility: str) -> dict[str, Any]:
    kind = dice.choice(sorted(encoders()))
    fields = encoders()[kind].model_fields
    options: dict[str, Any] = {}
    if "bidirectional" in fields:
        options["bidirectional"] = visibility == "full"
    elif visibility in get_args(fields["visibility"].annotation):
        options["visibility"] = visibility
    return {"type": kind, **_required(encoders()[kind], SIZES), **options}


def _required(component: type[Config], values: dict[str, Any]) -> dict[str, Any]:
    """Values of the component's required options, apart from its type."""
    names = [name for name, field in component.model_fields.items() if field.is_required()]
    lacking = [name for name in names if name not in (*values, "type")]
    assert not lacking, f"{component.__name__} requires {lacking}: add values to this module"
    return {name: values[name] for name in names if name != "type"}
