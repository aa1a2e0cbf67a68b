"""The rotary positions of a config.json: their base, and an error if they are scaled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ptm.errors import UserError


def rotary_theta(config: Mapping[str, Any], *, key: str, usual: float, layers: str = "") -> float:
    """The base of the rotary positions.

    As in transformers (`convert_rope_params_to_dict`), `rope_scaling` and `rope_parameters` may
    have it, before `key` of the config itself, whose default is `usual`. `layers`: the entry of
    `rope_parameters` with the options of these layers; empty if all layers have the same.

    Raises UserError if the positions are scaled or partial, or if two places contradict.
    """
    newer = _options(config, "rope_parameters")
    if layers:
        newer = _options(newer, layers)
    ropes = {"rope_scaling": _options(config, "rope_scaling"), "rope_parameters": newer}
    for rope in ropes.values():
        _check_plain(rope)
    found = {
        f"rope_theta in {name}": float(rope["rope_theta"])
        for name, rope in ropes.items()
        if rope.get("rope_theta") is not None
    }
    if config.get(key) is not None:
        found[key] = float(config[key])
    if len(set(found.values())) > 1:
        shown = " and ".join(f"{name} = {value:g}" for name, value in found.items())
        raise UserError(
            f"config.json: {shown} contradict each other. Set them to the same value, or keep one."
        )
    return next(iter(found.values()), usual)


def _options(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The options under `key`, or no options. Raises UserError unless it is an object."""
    options = config.get(key)
    if options is not None and not isinstance(options, Mapping):
        raise UserError(
            f"config.json: {key} = {json.dumps(options)} is not supported. Supported: an object, "
            "or null."
        )
    return options or {}


def _check_plain(rope: Mapping[str, Any]) -> None:
    """Raise UserError for scaled or partial rotary positions."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    # Linear scaling divides positions by its factor.
    if kind != "default" and not (kind == "linear" and rope.get("factor") == 1.0):
        raise UserError(
            f'config.json: rotary position embeddings of type "{kind}" are not supported. '
            'Supported: "default" (not scaled).'
        )
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise UserError(
            f"config.json: partial_rotary_factor = {rope['partial_rotary_factor']} is not "
            "supported. Supported: 1.0."
        )
