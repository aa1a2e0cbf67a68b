"""Tensors that contradict a config: the key and the option of the command line that are wrong.

UER-py takes options from its command line as well as from its config, and loads weights without
comparing them with the model. So a config may lack what a checkpoint was made with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ptm.errors import UserError
from ptm.interop.uer.entries import StateDict

Config = Mapping[str, Any]


@dataclass(frozen=True)
class _Rule:
    """Tensors whose names match `pattern` need a `key` whose value is `wanted`."""

    pattern: str
    key: str
    wanted: Any
    option: str
    applies: Callable[[Config], bool] | None = None
    """Whether the config lacks that; by default, whether the value differs from `wanted`."""

    def explains(self, name: str, config: Config) -> bool:
        if re.match(self.pattern, name) is None:
            return False
        if self.applies is not None:
            return self.applies(config)
        default = False if isinstance(self.wanted, bool) else None
        return bool(config.get(self.key, default) != self.wanted)


def _lacks(part: str, key: str) -> Callable[[Config], bool]:
    return lambda config: part not in config.get(key, ())


def _parts(key: str) -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            rf"{key}\.{part}\.",
            key,
            [..., part],
            f"--{key} … {part}",
            _lacks(part, key),
        )
        for part in ("word", "pos", "seg")
    )


def _has_layer_norms(config: Config) -> bool:
    return bool(config.get("layernorm", "normal") == "normal")


_LAYER = r"(encoder\.transformer|decoder\.transformer_decoder)\.(\d+\.)?"
_RULES = (
    _Rule(r"(decoder|tgt_embedding)\.", "decoder", "transformer", "--decoder transformer"),
    *_parts("embedding"),
    *_parts("tgt_embedding"),
    _Rule(
        r"(tgt_)?embedding\.layer_norm\.",
        "remove_embedding_layernorm",
        False,
        "not --remove_embedding_layernorm",
    ),
    _Rule(
        r"(encoder|decoder)\.layer_norm\.",
        "layernorm_positioning",
        "pre",
        "--layernorm_positioning pre",
    ),
    _Rule(
        rf"({_LAYER}layer_norm_\d|.*coder\.layer_norm)\.weight",
        "layernorm",
        "t5",
        "--layernorm t5",
        _has_layer_norms,
    ),
    _Rule(
        rf"({_LAYER}layer_norm_\d|.*coder\.layer_norm)\.(gamma|beta)",
        "layernorm",
        "normal",
        "--layernorm normal",
        lambda config: not _has_layer_norms(config),
    ),
    _Rule(rf"{_LAYER}feed_forward\.linear_gate\.", "feed_forward", "gated", "--feed_forward gated"),
    _Rule(
        r".*\.(relative_pos_emb|self_pos_emb)\.",
        "relative_position_embedding",
        True,
        "--relative_position_embedding",
    ),
    _Rule(
        r"encoder\.linear\.",
        "factorized_embedding_parameterization",
        True,
        "--factorized_embedding_parameterization",
    ),
    _Rule(
        r"encoder\.transformer\.(self_attn|feed_forward|layer_norm_\d)\.",
        "parameter_sharing",
        True,
        "--parameter_sharing",
    ),
    _Rule(r"encoder\.transformer\.\d", "parameter_sharing", False, "not --parameter_sharing"),
    _Rule(
        rf"{_LAYER}.*(linear_layers\.\d|final_linear|linear_\w+)\.bias",
        "remove_transformer_bias",
        False,
        "not --remove_transformer_bias",
    ),
    _Rule(
        r"target\.(lm|bilm)\.output_layer\.bias", "has_lmtarget_bias", True, "--has_lmtarget_bias"
    ),
    _Rule(r"encoder\.rnn\..*_reverse", "bidirectional", True, "--bidirectional"),
)


def check_complete(rest: StateDict, config: Config) -> None:
    """Raise UserError if tensors are left that no parameter was made from, or if some are missing.

    `rest`: the tensors of a checkpoint after the model of `config` has taken its own.
    """
    if rest:
        name = min(rest)
        for rule in _RULES:
            if rule.explains(name, config):
                raise UserError(
                    f"{name} contradicts the config, which has {_written(rule.key, config)}. Set "
                    f"{rule.key} = {_value(rule.wanted)} in the config (in a command line of "
                    f"UER-py: {rule.option})."
                )
        shown = ", ".join(sorted(rest)[:5]) + (" …" if len(rest) > 5 else "")
        raise UserError(
            "does not match its config, or has another target than mlm, sp, lm, bilm and cls. "
            f"Unexpected tensors: {shown}."
        )
    if rest.missing:
        name = rest.missing[0]
        key = next((rule.key for rule in _RULES if re.match(rule.pattern, name)), None)
        reason = "" if key is None else f", which has {_written(key, config)},"
        raise UserError(f"the tensor '{name}' is missing; the config{reason} requires it.")


def _written(key: str, config: Config) -> str:
    return f"{key} = {json.dumps(config[key])}" if key in config else f"no {key}"


def _value(wanted: Any) -> str:
    if isinstance(wanted, list):
        return f'[…, "{wanted[-1]}"]'
    return json.dumps(wanted)
