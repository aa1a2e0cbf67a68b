"""Tensor names of GPT and GPT-2.

Query, key and value are one matrix, as in ptm. Every matrix of a layer is transposed, since the
layers of transformers are Conv1D modules with weights of shape (inputs, outputs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ptm.errors import UserError
from ptm.interop.hf.base import Tensors
from ptm.interop.hf.shared.naming import check_layer_count, check_table_sizes

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "transformer."
BUFFERS = r"\.attn\.(masked_)?bias$"
"""The causal mask and the score of a masked position."""
ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
"""Names that transformers also accepts for keys of these configs."""
WORDS, POSITIONS = "word_embedding.weight", "embedding.position.weight"
_LAYER = f"{PREFIX}h."
_OUTPUT, _OUR_OUTPUT = "lm_head.weight", "lm_unembed.weight"

_MATRICES = {
    "attention.qkv": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}
_NORMS = {"attention_norm": "ln_1", "feed_forward_norm": "ln_2"}


def _inside(layers: int) -> Iterator[tuple[str, str, bool]]:
    """Canonical and transformers' name of every layer tensor, and whether it is transposed."""
    for index in range(layers):
        ours, theirs = f"encoder_{index:02}.", f"{_LAYER}{index}."
        for mine, name in _MATRICES.items():
            yield f"{ours}{mine}.weight", f"{theirs}{name}.weight", True
            yield f"{ours}{mine}.bias", f"{theirs}{name}.bias", False
        for mine, name in _NORMS.items():
            for kind in ("weight", "bias"):
                yield f"{ours}{mine}.{kind}", f"{theirs}{name}.{kind}", False


def to_hf_names(tensors: Tensors, outside: Mapping[str, str], *, layers: int) -> dict[str, Tensor]:
    """Canonical tensors under transformers' names; `outside`: names of tensors outside layers."""
    found = {theirs: tensors[ours] for ours, theirs in outside.items()}
    for ours, theirs, transposed in _inside(layers):
        found[theirs] = tensors[ours].t() if transposed else tensors[ours]
    if _OUR_OUTPUT in tensors:
        found[_OUTPUT] = tensors[_OUR_OUTPUT]
    return found


def from_hf_names(
    theirs: Tensors, outside: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The inverse of `to_hf_names`; the output matrix of an untied head may be missing.

    Raises KeyError for another missing tensor, UserError for tensors that contradict the config.
    """
    layers = config["n_layer"]
    check_layer_count(theirs, _LAYER, layers)
    sizes = {"vocab_size": outside[WORDS], "n_positions": outside[POSITIONS]}
    check_table_sizes(theirs, config, sizes)
    found = {ours: theirs[name] for ours, name in outside.items()}
    for ours, name, transposed in _inside(layers):
        if transposed and theirs[name].dim() != 2:
            raise UserError(
                f"{name} has the shape {tuple(theirs[name].shape)}, but must be a matrix."
            )
        found[ours] = theirs[name].t() if transposed else theirs[name]
    if not config.get("tie_word_embeddings", True) and _OUTPUT in theirs:
        found[_OUR_OUTPUT] = theirs[_OUTPUT]
    return found


def qualified_name(name: str) -> str:
    """The name with the prefix `transformer.`, which bare models and OpenAI's own files lack."""
    return (
        name
        if re.match(r"(transformer|lm_head|score|multiple_choice_head)\.", name)
        else (PREFIX + name)
    )
