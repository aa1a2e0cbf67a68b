"""The options of UER-py's models (version 5743050)."""

from __future__ import annotations

from ptm.translate.options import Option

_PARTS = ("word", "pos", "seg", "sinusoidalpos", "dual")
_FORMER_PARTS = (
    *("word_pos", "word_pos_seg", "word_sinusoidalpos", "word_sinusoidal"),
    *("bert", "gpt", "gpt2", "patch", "speech", "word_patch", "masked_patch"),
)
_ENCODERS = (
    *("transformer", "rnn", "lstm", "gru", "birnn", "bilstm", "bigru", "gatedcnn", "dual"),
)
_FORMER_ENCODERS = ("bert", "gpt", "gpt2", "cnn", "attn", "rcnn", "crnn", "synt")
_FORMER_TARGETS = (
    *("bert", "albert", "mt", "seq2seq", "t5", "prefixlm", "gsg", "pegasus", "bart"),
    *("nsp", "s2s", "clr"),
)

TARGET = Option(
    "--target",
    key="`objective.type`",
    default=["mlm"],
    choices=("sp", "lm", "mlm", "bilm", "cls"),
    former_choices=_FORMER_TARGETS,
    many=True,
)
MODEL = (
    Option(
        "--embedding",
        key="`model.embedding.parts`; sinusoidalpos also sets `model.embedding.scaled`",
        default=["word"],
        choices=_PARTS,
        former_choices=_FORMER_PARTS,
        many=True,
    ),
    Option(
        "--tgt_embedding",
        key="`model.target_embedding.parts`",
        default=["word"],
        choices=_PARTS,
        former_choices=_FORMER_PARTS,
        many=True,
    ),
    Option("--max_seq_length", "integer", key="`model.embedding.positions`", default=512),
    Option(
        "--relative_position_embedding",
        "flag",
        key="`model.encoder.position_bias`, `model.decoder.position_bias`",
        default=False,
    ),
    Option("--share_embedding", "flag", key="`model.target_embedding.shared`", default=False),
    Option(
        "--remove_embedding_layernorm",
        "flag",
        key="`model.embedding.layer_norm: false`",
        default=False,
    ),
    Option(
        "--factorized_embedding_parameterization",
        "flag",
        key="`model.embedding.size`",
        default=False,
    ),
    Option(
        "--encoder",
        key="`model.encoder.type`; gatedcnn: `gated_cnn`",
        default="transformer",
        choices=_ENCODERS,
        former_choices=_FORMER_ENCODERS,
        former=("--encoder_type",),
    ),
    Option("--decoder", key="`model.decoder.type`", choices=("transformer",)),
    Option(
        "--mask",
        key="`model.encoder.visibility`: full, causal, prefix",
        default="fully_visible",
        choices=("fully_visible", "causal", "causal_with_prefix"),
    ),
    Option(
        "--layernorm_positioning",
        key="`model.encoder.norm_position`, `model.decoder.norm_position`",
        default="post",
        choices=("pre", "post"),
    ),
    Option(
        "--feed_forward",
        key="`model.encoder.feed_forward`, `model.decoder.feed_forward`",
        default="dense",
        choices=("dense", "gated"),
    ),
    Option(
        "--relative_attention_buckets_num",
        "integer",
        key="`model.encoder.position_bias.buckets`",
        default=32,
        former=("--relative_attention_num_buckets",),
    ),
    Option(
        "--remove_attention_scale",
        "flag",
        key="`model.encoder.attention_scale: false`",
        default=False,
    ),
    Option(
        "--remove_transformer_bias",
        "flag",
        key="`model.encoder.bias: false`, which also removes the biases of norms and head",
        default=False,
        former=("--remove_bias",),
    ),
    Option(
        "--layernorm",
        key="`model.encoder.norm`: layer, rms",
        default="normal",
        choices=("normal", "t5", "rms"),
    ),
    Option("--bidirectional", "flag", key="`model.encoder.bidirectional`", default=False),
    Option("--parameter_sharing", "flag", key="`model.encoder.shared_groups: 1`", default=False),
    Option(
        "--has_residual_attention",
        "flag",
        key="`model.encoder.residual_attention`",
        default=False,
        former=("--residual_attention",),
    ),
    Option(
        "--has_lmtarget_bias",
        "flag",
        key="`objective.head.bias`",
        default=False,
        former=("--has_lm_target_bias",),
    ),
    TARGET,
    Option("--tie_weights", "flag", key="`objective.head.tied`", default=False),
    Option(
        "--pooling",
        copied_to="objective.pooling",
        default="first",
        choices=("mean", "max", "first", "last"),
    ),
    Option(
        "--prefix_lm_loss",
        "flag",
        why="`prefixlm` always computes the loss on the target only",
        default=False,
    ),
)
