"""The `model` block of a UER-py training, for every embedding, encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence

from ptm.errors import UserError
from ptm.interop.uer.config import FIRST_POSITION_ROW, activation_from_uer
from ptm.interop.uer.entries import LAYER_EPSILON
from ptm.translate.draft import Draft
from ptm.translate.uer_settings import UerSettings

WITH_DECODER = ("t5", "bart", "gsg", "seq2seq")
"""Objectives that need a decoder."""
_PARTS = {"word": "word", "pos": "position", "seg": "segment", "sinusoidalpos": "sinusoidal"}
_VISIBILITIES = {
    "fully_visible": "full",
    "causal": "causal",
    "causal_with_prefix": "prefix",
    "prefix": "prefix",
}
_TRANSFORMERS = ("transformer", "bert", "gpt", "gpt2")
_RECURRENT = ("rnn", "lstm", "gru", "birnn", "bilstm", "bigru")
_XLM_ROBERTA_OFFSET = 2
"""Row of the first position in XLM-RoBERTa's table."""


def set_model(draft: Draft, settings: UerSettings) -> None:
    """Set `model`. Raises UserError for an encoder or a part that has no counterpart."""
    draft.set("model.dropout", float(settings.get("dropout")), settings.origin("dropout"))
    encoder = settings.get("encoder")
    decodes = settings.objective in WITH_DECODER
    _set_embedding(draft, settings, "embedding", decodes=decodes)
    if encoder in _TRANSFORMERS:
        _set_transformer(draft, settings, decodes=decodes)
    elif encoder in _RECURRENT:
        _set_recurrent(draft, settings)
    elif encoder in ("gatedcnn", "cnn"):
        _set_gated_cnn(draft, settings)
    else:
        raise UserError(
            f"--encoder {encoder} has no counterpart. Encoders that have one: transformer, "
            f"{', '.join(_RECURRENT)}, gatedcnn."
        )
    if decodes:
        _set_decoder(draft, settings)
    elif settings.pretrain.has("decoder"):
        draft.note(settings.written("decoder"), f"{settings.objective} has no decoder")
    if settings.get("deep_init"):
        draft.set("model.init.residual_scaling", True, settings.origin("deep_init"))


def _set_embedding(draft: Draft, settings: UerSettings, name: str, *, decodes: bool) -> None:
    """Set `model.embedding` or, with `name` tgt_embedding, `model.target_embedding`."""
    block = "model.embedding" if name == "embedding" else "model.target_embedding"
    parts = settings.parts(name)
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        raise UserError(
            f'--{name}: the part "{unknown[0]}" has no counterpart. Parts that have one: '
            f"{', '.join(_PARTS)}."
        )
    draft.set(f"{block}.parts", [_PARTS[part] for part in parts], settings.origin(name))
    removed = bool(settings.get("remove_embedding_layernorm"))
    origin = settings.origin("remove_embedding_layernorm")
    draft.set(f"{block}.layer_norm", not removed, origin)
    hidden, size = settings.size("hidden_size"), settings.size("emb_size")
    if size != hidden:
        draft.set(f"{block}.size", size, settings.config_path)
    _set_positions(draft, settings, block, parts, decodes=decodes)


def _set_positions(
    draft: Draft, settings: UerSettings, block: str, parts: Sequence[str], *, decodes: bool
) -> None:
    positions, offset = settings.size("max_seq_length", 512), 0
    xlm_roberta = settings.get("tokenizer") == "xlmroberta"
    if "pos" in parts and decodes:
        positions, offset = positions + FIRST_POSITION_ROW, FIRST_POSITION_ROW
    elif "pos" in parts and xlm_roberta:
        offset = _XLM_ROBERTA_OFFSET
    draft.set(f"{block}.positions", positions, settings.origin("max_seq_length"))
    if offset:
        draft.set(f"{block}.position_offset", offset)
    if "seg" in parts and xlm_roberta and settings.objective in ("mlm", "lm"):
        draft.set(f"{block}.segments", 1)
    if "sinusoidalpos" in parts:
        draft.set(f"{block}.scaled", True)
        draft.set(f"{block}.sinusoidal_order", "uer")


def _set_transformer(draft: Draft, settings: UerSettings, *, decodes: bool) -> None:
    block = "model.encoder"
    draft.set(f"{block}.type", "transformer", settings.origin("encoder"))
    encoder = settings.get("encoder")
    visibility = _VISIBILITIES.get(settings.get("mask"), "full")
    origin = settings.origin("mask")
    if encoder in ("gpt", "gpt2"):
        visibility, origin = "causal", settings.origin("encoder")
    if visibility != "full":
        draft.set(f"{block}.visibility", visibility, origin)
    draft.set(f"{block}.layers", settings.size("layers_num"), settings.config_path)
    _set_stack(draft, settings, block)
    if settings.get("has_residual_attention"):
        draft.set(f"{block}.residual_attention", True, settings.origin("has_residual_attention"))
    if settings.get("parameter_sharing"):
        draft.set(f"{block}.shared_groups", 1, settings.origin("parameter_sharing"))
    if settings.get("rotary_position_embedding"):
        draft.set(f"{block}.rotary.theta", 10000.0, settings.origin("rotary_position_embedding"))
    if settings.get("bidirectional"):
        draft.note("--bidirectional", "it is an option of recurrent encoders")


def _set_stack(draft: Draft, settings: UerSettings, block: str) -> None:
    """Set the options that the encoder and the decoder have in common."""
    config = settings.config_path
    draft.set(f"{block}.hidden_size", settings.size("hidden_size"), config)
    heads, head = settings.size("heads_num"), settings.size("attention_head_size", 0)
    draft.set(f"{block}.heads", heads, config)
    if head and head * heads != settings.size("hidden_size"):
        draft.set(f"{block}.head_size", head, config)
    if "local_kv_heads_num" in settings.config:
        draft.set(f"{block}.key_value_heads", settings.size("local_kv_heads_num"), config)
    draft.set(f"{block}.feed_forward_size", settings.size("feedforward_size"), config)
    if settings.get("feed_forward") == "gated":
        draft.set(f"{block}.feed_forward", "gated", settings.origin("feed_forward"))
    draft.set(f"{block}.activation", activation_from_uer(settings.config), config)
    rms = settings.get("layernorm") in ("t5", "rms")
    if rms:
        draft.set(f"{block}.norm", "rms", settings.origin("layernorm"))
    position = settings.get("layernorm_positioning")
    if settings.get("encoder") == "gpt2":
        position = "pre"
    draft.set(f"{block}.norm_position", position, settings.origin("layernorm_positioning"))
    epsilon = float(settings.get("layernorm_eps")) if rms else LAYER_EPSILON
    draft.set(f"{block}.norm_epsilon", epsilon)
    if settings.get("remove_transformer_bias"):
        draft.set(f"{block}.bias", False, settings.origin("remove_transformer_bias"))
    if settings.get("remove_attention_scale"):
        draft.set(f"{block}.attention_scale", False, settings.origin("remove_attention_scale"))
    if settings.get("relative_position_embedding"):
        buckets = settings.size("relative_attention_buckets_num", 32)
        origin = settings.origin("relative_position_embedding")
        draft.set(f"{block}.position_bias", {"buckets": buckets, "max_distance": 128}, origin)


def _set_decoder(draft: Draft, settings: UerSettings) -> None:
    """Set `model.decoder` and, unless it shares the encoder's, `model.target_embedding`."""
    shared = bool(settings.get("share_embedding"))
    if not shared or settings.parts("tgt_embedding") != settings.parts("embedding"):
        _set_embedding(draft, settings, "tgt_embedding", decodes=True)
        origin = settings.origin("share_embedding")
        draft.set("model.target_embedding.shared", shared, origin)
    layers = settings.size("decoder_layers_num", settings.size("layers_num"))
    draft.set("model.decoder.type", "transformer", settings.origin("decoder"))
    draft.set("model.decoder.layers", layers, settings.config_path)
    _set_stack(draft, settings, "model.decoder")


def _set_recurrent(draft: Draft, settings: UerSettings) -> None:
    draft.set("model.encoder.type", settings.get("encoder"), settings.origin("encoder"))
    _set_layers(draft, settings)
    if settings.get("bidirectional"):
        draft.set("model.encoder.bidirectional", True, settings.origin("bidirectional"))


def _set_gated_cnn(draft: Draft, settings: UerSettings) -> None:
    draft.set("model.encoder.type", "gated_cnn", settings.origin("encoder"))
    _set_layers(draft, settings)
    kernel = settings.size("kernel_size")
    draft.set("model.encoder.kernel_size", kernel, settings.config_path)
    if settings.size("block_size", 2) != 2:
        draft.note(
            f"block_size = {settings.size('block_size')} in {settings.config_path}",
            "a residual spans two layers",
        )


def _set_layers(draft: Draft, settings: UerSettings) -> None:
    draft.set("model.encoder.layers", settings.size("layers_num"), settings.config_path)
    draft.set("model.encoder.hidden_size", settings.size("hidden_size"), settings.config_path)
