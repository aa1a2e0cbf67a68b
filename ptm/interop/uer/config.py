"""Convert model configs of UER-py and TencentPretrain to recipe blocks, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.files.user_files import read_json
from ptm.interop.uer.decoder import decoder_block, decoder_config, decodes, shares_words
from ptm.interop.uer.encoders import FORMATS, TRANSFORMER, EncoderFormat, format_for
from ptm.interop.uer.encoders.base import check_supported
from ptm.interop.uer.encoders.transformer import has_rms_norms
from ptm.interop.uer.entries import LAYER_EPSILON
from ptm.interop.uer.keys import check_keys
from ptm.interop.uer.objectives import objective_block, target_keys, target_of
from ptm.interop.uer.targets import MASKED, NEXT, SPELLINGS, target_in_config
from ptm.recipe.model_block import ModelBlock

FIRST_POSITION_ROW = 2
"""Row of position 0 in imported models with a decoder, as in transformers' BART; in UER-py it is
row 0."""
_ACTIVATIONS = {"gelu": "gelu", "gelu_fast": "gelu_tanh", "relu": "relu", "silu": "silu"}
"""UER-py's name to `ptm`'s."""
_PARTS = {"word": "word", "pos": "position", "seg": "segment", "sinusoidalpos": "sinusoidal"}
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "encoder": tuple(FORMATS),
    "target": SPELLINGS,
    "pooling": ("first", "mean", "max", "last"),
}
"""Keys of every config, and the values that are supported."""


def is_uer_config(config: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a UER-py config: only these have sizes or streams of these names."""
    sizes = "layers_num" in config and ("heads_num" in config or "emb_size" in config)
    return sizes or "stream_0" in config


def read_uer_config(path: Path) -> dict[str, Any]:
    """Return the parsed config. Raises UserError if it cannot be read or is not of UER-py."""
    config = read_json(path)
    if not isinstance(config, dict) or not is_uer_config(config):
        raise UserError(
            f"{path}: the file is not a UER-py model config, which is a JSON object with "
            "layers_num and heads_num or emb_size."
        )
    return config


def check_values(config: Mapping[str, Any]) -> None:
    """Raise UserError naming the first key that is unknown or whose value is not supported."""
    check_keys(config)
    check_supported(config, _ONLY)


def encoder_format(config: Mapping[str, Any]) -> EncoderFormat:
    """Return the format of the config's encoder. Raises UserError if it is not supported."""
    check_supported(config, {"encoder": _ONLY["encoder"]})
    return FORMATS[config.get("encoder", TRANSFORMER)]


def has_pairs(config: Mapping[str, Any]) -> bool:
    """Whether the targets include classification of sentence pairs."""
    target = config.get("target", "bert")
    return "sp" in target if isinstance(target, list) else target in ("bert", "albert")


def blocks_of(config: Mapping[str, Any], *, pairs: bool, tied: bool) -> dict[str, Any]:
    """Return the `model` and `objective` blocks of a recipe.

    `pairs`: whether the model has a sentence-pair head; `tied`: whether the output matrix is the
    word embedding (the decoder's, if there is a decoder). Raises KeyError for a missing size,
    UserError for an option that is not supported.
    """
    check_values(config)
    activation = {"activation": activation_from_uer(config)}
    encoder = {"norm_epsilon": LAYER_EPSILON, **encoder_format(config).block(config), **activation}
    _check_width(config, tied=tied)
    _check_norms(config)
    model: dict[str, Any] = {
        "dropout": float(config.get("dropout", 0.1)),
        "embedding": _embedding(config, "embedding"),
        "encoder": encoder,
    }
    if decodes(config):
        model["decoder"] = {**decoder_block(config), **activation}
        target = {**_embedding(config, "tgt_embedding"), "shared": shares_words(config)}
        if target != {**model["embedding"], "shared": True}:
            model["target_embedding"] = target
    objective = objective_block(config, target_in_config(config), pairs=pairs, tied=tied)
    return {"model": model, "objective": objective}


def _embedding(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the block of the embedding of encoder (`key` embedding) or decoder (tgt_embedding)."""
    names = part_names(config, key)
    hidden, size = config["hidden_size"], config.get("emb_size", config["hidden_size"])
    longest = config.get("max_seq_length", 512)
    found: dict[str, Any] = {
        "parts": [_PARTS[name] for name in names],
        "layer_norm": not config.get("remove_embedding_layernorm", False),
        "positions": longest,
        "size": size if size != hidden else None,
    }
    if "pos" in names and decodes(config):
        found |= {"positions": longest + FIRST_POSITION_ROW, "position_offset": FIRST_POSITION_ROW}
    if "sinusoidalpos" in part_names(config, "embedding"):
        found["scaled"] = True
    if "sinusoidalpos" in names:
        found["sinusoidal_order"] = "uer"
    return found


def part_names(config: Mapping[str, Any], key: str) -> Sequence[str]:
    """Return UER-py's names of the parts of an embedding, from a list or an older spelling.

    Raises KeyError without the key `tgt_embedding`, UserError for a part that is not supported.
    """
    found = config[key] if key == "tgt_embedding" else config.get(key, "bert")
    names = found
    if isinstance(found, str):
        names = ["word", "pos", "seg"] if found == "bert" else found.split("_")
    if not isinstance(names, list) or not set(names) <= _PARTS.keys():
        raise UserError(
            f"{key} = {json.dumps(found)} is not supported. Supported: a list of "
            f"{', '.join(_PARTS)}."
        )
    return names


def _check_width(config: Mapping[str, Any], *, tied: bool) -> None:
    """Raise UserError if embedding and layers differ in width in a way that `ptm` does not have."""
    hidden, size = config["hidden_size"], config.get("emb_size", config["hidden_size"])
    factorised = bool(config.get("factorized_embedding_parameterization"))
    target = target_in_config(config)
    if target is NEXT and size != hidden and tied:
        raise UserError(
            f"emb_size = {size} and hidden_size = {hidden} are not supported with target lm and a "
            "tied output layer, which has the width of the encoder in UER-py."
        )
    # The first layer of other encoders reads any width, and only target mlm then uses the option.
    uses_option = encoder_format(config).type == TRANSFORMER or target is MASKED
    if uses_option and factorised is not (size != hidden):
        raise UserError(
            f"emb_size = {size} and hidden_size = {hidden} contradict "
            f"factorized_embedding_parameterization = {json.dumps(factorised)}."
        )


def _check_norms(config: Mapping[str, Any]) -> None:
    """Raise UserError if only a part of a transformer has RMS norms; `ptm` has one kind of norm."""
    if encoder_format(config).type != TRANSFORMER or not has_rms_norms(config):
        return
    others = {
        "without remove_embedding_layernorm = true": not config.get("remove_embedding_layernorm"),
        f"with target = {json.dumps(config.get('target'))}": target_in_config(config) is MASKED,
        "with factorized_embedding_parameterization = true": bool(
            config.get("factorized_embedding_parameterization")
        ),
    }
    for option, is_so in others.items():
        if is_so:
            raise UserError(
                f'layernorm = "{config["layernorm"]}" {option} is not supported: UER-py has layer '
                "norms with biases there, and RMS norms in the layers."
            )


def check_positions(config: Mapping[str, Any]) -> None:
    """Raise UserError if a transformer without a decoder has no positions.

    No tensor shows that UER-py's command line had the option for rotary positions.
    """
    options = ("relative_position_embedding", "rotary_position_embedding")
    parts = {"pos", "sinusoidalpos"} & set(part_names(config, "embedding"))
    if decodes(config) or encoder_format(config).type != TRANSFORMER or parts:
        return
    if not any(config.get(option) for option in options):
        raise UserError(
            f"embedding = {json.dumps(config['embedding'])} has no positions, which is not "
            f"supported for a transformer without {' or '.join(options)}. Set the one that the "
            "model was trained with."
        )


def activation_from_uer(config: Mapping[str, Any]) -> str:
    """Return `ptm`'s name of the config's activation. Raises UserError if it is not supported."""
    named = config.get("hidden_act", "gelu")
    if named not in _ACTIVATIONS:
        raise UserError(
            f'hidden_act = "{named}" is not supported. Supported: {", ".join(_ACTIVATIONS)}.'
        )
    return _ACTIVATIONS[named]


def activation_to_uer(activation: str) -> str:
    """Return UER-py's name of an activation. Raises UserError if UER-py does not have it."""
    for theirs, ours in _ACTIVATIONS.items():
        if ours == activation:
            return theirs
    raise UserError(f"UER-py configs cannot express model.encoder.activation = {activation}.")


def uer_config(model: ModelBlock, objective: Objective, *, pairs: bool) -> dict[str, Any]:
    """Return the UER-py config that comes nearest to a `ptm` model.

    Options that UER-py does not have are left out; `ptm.interop.uer.expressible` finds them. Raises
    UserError for an encoder, objective, activation or part of the embedding that UER-py lacks.
    """
    encoder, embedding = model.encoder, model.embedding
    encoding = format_for(encoder)
    if encoding is None or target_of(objective) is None:
        known = ", ".join(dict.fromkeys(one.type for one in FORMATS.values()))
        raise UserError(
            f"UER-py configs cannot express encoder {encoder.type} with objective "
            f"{objective.type}. They need a masked-token or next-token objective, bilm or "
            f"classification, and one of the encoders {known}."
        )
    decoder = {} if model.decoder is None else decoder_config(model)
    offset = embedding.position_offset if decoder else 0
    config = {
        "emb_size": embedding.size or encoder.hidden_size,
        **decoder,
        **encoding.config(encoder),
        "hidden_act": activation_to_uer(encoder.activation),
        "max_seq_length": embedding.positions - offset,
        "dropout": model.dropout,
        "embedding": _part_names(embedding, "model.embedding"),
        **target_keys(model, objective, pairs=pairs),
    }
    if decoder:
        config["tgt_embedding"] = _part_names(model.decoder_embedding, "model.target_embedding")
    options = {
        "factorized_embedding_parameterization": embedding.size not in (None, encoder.hidden_size),
        "remove_embedding_layernorm": not embedding.layer_norm,
    }
    return config | {key: True for key, value in options.items() if value}


def _part_names(embedding: EmbeddingConfig, name: str) -> list[str]:
    names = {ours: theirs for theirs, ours in _PARTS.items()}
    for part in embedding.parts:
        if part not in names:
            raise UserError(
                f"UER-py configs cannot express {name}.parts = {list(embedding.parts)}: there is "
                f'no part "{part}".'
            )
    return [names[part] for part in embedding.parts]
