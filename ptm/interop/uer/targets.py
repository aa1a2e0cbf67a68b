"""UER-py's targets: what configs call them, and how UER-py and `ptm` name the tensors of heads.

`sp` (sentence pairs), which occurs only beside `mlm`, is part of `MASKED` here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ptm.errors import UserError


@dataclass(frozen=True)
class Output:
    """An output layer over the vocabulary.

    `our_matrix` and `our_bias` are canonical names, the matrix that of an output that is not tied;
    `module` is the name of UER-py's module. `always_biased`: whether that module always has a bias.
    """

    our_matrix: str
    our_bias: str
    module: str
    always_biased: bool = False

    @property
    def matrix(self) -> str:
        """UER-py's name of the matrix."""
        return f"{self.module}.weight"

    @property
    def bias(self) -> str:
        """UER-py's name of the bias."""
        return f"{self.module}.bias"


@dataclass(frozen=True, eq=False)
class Target:
    """A target: its name, the values of the config's `target` that mean it, and its tensors.

    `linear` and `norms` (layer norms in every model) map canonical to UER-py's prefixes. `matrix`
    is UER-py's name of the last matrix, which every complete checkpoint with this target has.
    """

    name: str
    spellings: tuple[Any, ...]
    matrix: str
    output: Output | None = None
    linear: Mapping[str, str] = field(default_factory=dict)
    norms: Mapping[str, str] = field(default_factory=dict)


_MASKED_OUTPUT = Output(
    "mlm_unembed.weight", "mlm_bias.bias", "target.mlm.linear_2", always_biased=True
)
NEXT_OUTPUT = Output("lm_unembed.weight", "lm_bias.bias", "target.lm.output_layer")
_BILM_OUTPUT = Output("bilm_unembed.weight", "bilm_unembed_bias.bias", "target.bilm.output_layer")

MASKED = Target(
    "mlm",
    (["mlm"], ["mlm", "sp"], ["sp", "mlm"], "mlm", "bert", "albert"),
    _MASKED_OUTPUT.matrix,
    _MASKED_OUTPUT,
    linear={
        "mlm_transform.dense": "target.mlm.linear_1",
        "pooler.dense": "target.sp.linear_1",
        "pair_classifier": "target.sp.linear_2",
    },
    norms={"mlm_transform.norm": "target.mlm.layer_norm"},
)
NEXT = Target("lm", (["lm"], "lm"), NEXT_OUTPUT.matrix, NEXT_OUTPUT)
BILM = Target("bilm", (["bilm"], "bilm"), _BILM_OUTPUT.matrix, _BILM_OUTPUT)
CLASSES = Target(
    "cls",
    (["cls"], "cls"),
    "target.cls.linear_2.weight",
    linear={"pooler.dense": "target.cls.linear_1", "classifier": "target.cls.linear_2"},
)
TARGETS = (MASKED, NEXT, BILM, CLASSES)
SPELLINGS = tuple(spelling for target in TARGETS for spelling in target.spellings)
_PARTS = ("word", "pos", "seg")
_KNOWN_TARGETS = ("mlm", "sp", "lm", "bilm", "cls", "clr")


def target_in_config(config: Mapping[str, Any]) -> Target:
    """Return the target that a config names, one of `SPELLINGS`; `MASKED` if it names none."""
    named = config.get("target", "bert")
    return next(target for target in TARGETS if named in target.spellings)


def target_in_tensors(names: Collection[str]) -> Target:
    """Return the target of a state dict with current names; `MASKED` if it has no head."""
    return next((target for target in TARGETS if target.matrix in names), MASKED)


def options_in_tensors(names: Collection[str], target: Target) -> dict[str, Any]:
    """Return config keys that older versions of UER-py had as command-line options only."""
    return {
        "embedding": [part for part in _PARTS if f"embedding.{part}.embedding.weight" in names],
        "remove_embedding_layernorm": "embedding.layer_norm.gamma" not in names,
        "layernorm_positioning": "pre" if "encoder.layer_norm.gamma" in names else "post",
        "mask": "causal" if target is NEXT else "fully_visible",
        "target": [target.name],
    }


def other_heads(names: Collection[str], target: Target) -> list[str]:
    """Return the names of tensors of heads that belong to other targets than `target`."""
    own = [f"target.{name}." for name in ("mlm", "sp") if target is MASKED]
    own.append(f"target.{target.name}.")
    return [
        name
        for name in names
        if name.startswith("target.")
        and name.split(".")[1] in _KNOWN_TARGETS
        and not name.startswith(tuple(own))
    ]


def check_target(config: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise UserError if the config's target contradicts the tensors, or they have no head of it.

    A masked-token model may lack its head. `names`: of the tensors.
    """
    named, found = target_in_config(config), target_in_tensors(names)
    if named is found or named.matrix in names:
        return
    written = json.dumps(config.get("target", "bert"))
    if found.matrix in names:
        raise UserError(
            f"target = {written} contradicts the weights, which have the output layer of "
            f"target {found.name} ({found.matrix})."
        )
    raise UserError(
        f"target = {written} requires the tensor {named.matrix}, but the weights have no head."
    )
