"""Options that only versions of UER-py before 2022 have.

Until February 2022 `--target` named the data processor too, and preprocess.py had it. Until
September 2020 the sizes of the model were options.
"""

from __future__ import annotations

from ptm.translate.options import Option
from ptm.translate.uer_model_options import TARGET

_SUBWORDS = "encoders of the characters of a word are not implemented"

PREPROCESS = (
    TARGET,
    Option(
        "--instances_buffer_size",
        "integer",
        why="the store is memory-mapped, so instances are not buffered",
        tool="former",
    ),
)

SIZES = (
    Option("--emb_size", "integer", key="`model.embedding.size`", tool="former"),
    Option("--hidden_size", "integer", key="`model.encoder.hidden_size`", tool="former"),
    Option("--feedforward_size", "integer", key="`model.encoder.feed_forward_size`", tool="former"),
    Option("--heads_num", "integer", key="`model.encoder.heads`", tool="former"),
    Option("--layers_num", "integer", key="`model.encoder.layers`", tool="former"),
    Option("--kernel_size", "integer", key="`model.encoder.kernel_size`", tool="former"),
    Option(
        "--block_size",
        "integer",
        key="2 only: a residual of `gated_cnn` spans two layers",
        tool="former",
    ),
)

PRETRAIN = (
    *SIZES,
    Option("--beta1", "number", copied_to="optimizer.beta1", default=0.9, tool="former"),
    Option("--beta2", "number", copied_to="optimizer.beta2", default=0.999, tool="former"),
    Option("--fp16", "flag", key="`engine.precision: fp16`", default=False, tool="former"),
    Option(
        "--fp16_opt_level",
        key="`engine.precision`: fp16; O0: fp32",
        default="O1",
        choices=("O0", "O1", "O2", "O3"),
        tool="former",
    ),
    Option(
        "--remove_embedding_layernorm_bias",
        "flag",
        why="`model.encoder.bias` sets the biases of all norms",
        tool="former",
    ),
    Option(
        "--share_relative_position_embedding",
        "flag",
        why="all layers of a stack share one table",
        tool="former",
    ),
    Option("--subword_type", why=_SUBWORDS, tool="former"),
    Option("--sub_vocab_path", why=_SUBWORDS, tool="former"),
    Option("--subencoder", why=_SUBWORDS, former=("--subencoder_type",), tool="former"),
    Option("--sub_layers_num", "integer", why=_SUBWORDS, tool="former"),
)
