"""Tensor names of post-norm encoders: BERT, RoBERTa, ERNIE, DistilBERT, ALBERT.

These families compute the same function under different names, so each is a table of names. ptm
holds query, key and value as one matrix, transformers as three. ptm's segment embedding has a row
for padding (row 0), transformers' has no such row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptm.component import Config
from ptm.errors import UserError
from ptm.interop.hf.base import Tensors
from ptm.interop.weight_checks import check_word_embedding, concatenated

if TYPE_CHECKING:
    from torch import Tensor


KINDS = ("weight", "bias")
SEGMENTS = "embedding.segment.weight"


@dataclass(frozen=True)
class Naming:
    """Canonical names to transformers' names.

    `tables`: full names of embedding matrices. `modules`: modules outside the layers that have a
    weight and a bias, named without these suffixes. `head`: the same for the head, which may be
    missing. `layer`: prefix of a layer's number; `attention`: its query, key and value; `inside`:
    its other modules. `biases`: all names of the output bias. `decoder`: the output matrix of an
    untied head.
    """

    tables: Mapping[str, str]
    modules: Mapping[str, str]
    head: Mapping[str, str]
    layer: str
    attention: tuple[str, str, str]
    inside: Mapping[str, str]
    biases: tuple[str, ...]
    decoder: str

    def modules_of(self, layers: int) -> Iterator[tuple[str, str]]:
        """Canonical and transformers' name of every module but query, key, value and the head."""
        yield from self.modules.items()
        for index in range(layers):
            for ours, theirs in self.inside.items():
                yield f"encoder_{index:02}.{ours}", f"{self.layer}{index}.{theirs}"


def to_hf_names(tensors: Tensors, naming: Naming, *, layers: int) -> dict[str, Tensor]:
    """Encoder and head under transformers' names; absent embedding matrices are left out.

    A model without an output bias gets zeros.
    """
    import torch

    found = {naming.tables[o]: tensors[o] for o in naming.tables if o in tensors}
    if SEGMENTS in tensors and SEGMENTS in naming.tables:
        found[naming.tables[SEGMENTS]] = tensors[SEGMENTS][1:]
    for ours, theirs in (*naming.modules_of(layers), *naming.head.items()):
        for kind in KINDS:
            if f"{ours}.{kind}" in tensors or ours not in naming.head:
                found[f"{theirs}.{kind}"] = tensors[f"{ours}.{kind}"]
    for index in range(layers):
        for kind in KINDS:
            qkv = tensors[f"encoder_{index:02}.attention.qkv.{kind}"].chunk(3)
            for theirs, part in zip(naming.attention, qkv, strict=True):
                found[f"{naming.layer}{index}.{theirs}.{kind}"] = part
    bias = tensors.get("mlm_bias.bias")
    size = len(tensors["word_embedding.weight"])
    found[naming.biases[0]] = torch.zeros(size) if bias is None else bias
    if "mlm_unembed.weight" in tensors:
        found[naming.decoder] = tensors["mlm_unembed.weight"]
        found.update(dict.fromkeys(naming.biases, found[naming.biases[0]]))
    return found


def from_hf_names(
    theirs: Tensors, naming: Naming, *, layers: int, width: int, tied: bool
) -> dict[str, Tensor]:
    """The inverse of `to_hf_names`; tensors not in `naming` are left out, a head may be missing.

    Raises KeyError for another missing tensor, UserError for layers beyond `layers` and for a
    query, key or value that is not of the hidden size `width`.
    """
    import torch

    check_layer_count(theirs, naming.layer, layers)
    found = {o: theirs[t] for o, t in naming.tables.items()}
    if SEGMENTS in found:
        padding = torch.zeros(1, found[SEGMENTS].shape[1])
        found[SEGMENTS] = torch.cat((padding, found[SEGMENTS]))
    for index in range(layers):
        for kind in KINDS:
            names = [f"{naming.layer}{index}.{part}.{kind}" for part in naming.attention]
            found[f"encoder_{index:02}.attention.qkv.{kind}"] = concatenated(
                theirs, names, width=width
            )
    for ours, name in (*naming.modules_of(layers), *naming.head.items()):
        for kind in KINDS:
            if f"{name}.{kind}" in theirs or ours not in naming.head:
                found[f"{ours}.{kind}"] = theirs[f"{name}.{kind}"]
    # With a tied head all names are one bias; with an untied head transformers reads the last.
    for name in naming.biases if tied else reversed(naming.biases):
        if name in theirs:
            found["mlm_bias.bias"] = theirs[name]
            break
    if not tied and naming.decoder in theirs:
        found["mlm_unembed.weight"] = theirs[naming.decoder]
    return found


def check_layer_count(
    theirs: Tensors, layer: str, layers: int, *, key: str = "the number of layers"
) -> None:
    """Raise UserError if the weights have a layer (prefix `layer`) beyond the config's `layers`.

    `key`: the name of this number in the message.
    """
    for name in sorted(theirs):
        number = name.removeprefix(layer).partition(".")[0]
        if name.startswith(layer) and number.isdecimal() and int(number) >= layers:
            verb = "is" if " " in key else "="
            raise UserError(f"config.json: {key} {verb} {layers}, but the weights have {name}.")


def check_table_sizes(
    theirs: Tensors, config: Mapping[str, object], sizes: Mapping[str, str]
) -> None:
    """Raise UserError if the rows of an embedding matrix are not those of its config key.

    `sizes`: config key to the name of the matrix.
    """
    for key, name in sizes.items():
        check_word_embedding(theirs, name)
        if name in theirs and config.get(key, len(theirs[name])) != len(theirs[name]):
            raise UserError(
                f"config.json: {key} = {config[key]}, but {name} has {len(theirs[name])} rows."
            )


def unsupported_option(part: Config, name: str, *, expressible: Collection[str]) -> str | None:
    """The first option of `part` that the family cannot express, as a reason; None without any.

    `expressible`: options that the family's config can express. All others must have their
    defaults, so an option added later is unsupported until a family lists it.
    """
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if key not in expressible and not field.is_required() and value != field.default:
            return f"{name}.{key} = {value}"
    return None
