"""DistilBERT in transformers (Sanh et al. 2019, arXiv:1910.01108): a BERT without segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.interop.effective_options import Options
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import Naming, check_table_sizes, from_hf_names, to_hf_names
from ptm.recipe import ModelRecipe
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_EMBEDDINGS = "distilbert.embeddings."
_EPSILON = 1e-12
"""Epsilon of all layer norms, fixed in transformers."""

_NAMING = Naming(
    tables={
        "word_embedding.weight": f"{_EMBEDDINGS}word_embeddings.weight",
        "embedding.position.weight": f"{_EMBEDDINGS}position_embeddings.weight",
    },
    modules={"embedding.norm": f"{_EMBEDDINGS}LayerNorm"},
    head={"mlm_transform.dense": "vocab_transform", "mlm_transform.norm": "vocab_layer_norm"},
    layer="distilbert.transformer.layer.",
    attention=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    inside={
        "attention.output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "feed_forward.up": "ffn.lin1",
        "feed_forward.down": "ffn.lin2",
        "feed_forward_norm": "output_layer_norm",
    },
    biases=("vocab_projector.bias",),
    decoder="vocab_projector.weight",
)


class DistilBert(Family):
    """`DistilBertForMaskedLM`."""

    name = "distilbert"
    base_prefix = "distilbert."
    model_types = ("distilbert",)
    head_pattern = r"pre_classifier\.|classifier\.|qa_outputs\."
    aliases: Mapping[str, str] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }
    keys_without_effect: tuple[str, ...] = (
        # It only initialises the position embedding.
        "sinusoidal_pos_embds",
        *("qa_dropout", "seq_classif_dropout", "tie_weights_"),
    )
    signature_tensors = (f"{_NAMING.layer}0.sa_layer_norm.weight",)

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return post_norm.structure_reason(model, objective)

    def as_written(self, options: Options) -> Options:
        return post_norm.with_bias(options)

    def priority(self, recipe: ModelRecipe) -> int:
        # Before BERT, which would need an added segment embedding of zeros.
        return 1

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        encoder, shape = plain_encoder(model), model.shape(vocabulary.size)
        return {
            "architectures": ["DistilBertForMaskedLM"],
            "model_type": "distilbert",
            "vocab_size": shape.vocabulary_size,
            "dim": encoder.hidden_size,
            "n_layers": encoder.layers,
            "n_heads": encoder.heads,
            "hidden_dim": encoder.feed_forward_size,
            "activation": post_norm.ACTIVATIONS[encoder.activation],
            "dropout": shape.dropout,
            "attention_dropout": shape.attention_dropout,
            "max_position_embeddings": shape.positions,
            "sinusoidal_pos_embds": False,
            "initializer_range": model.init.std,
            "pad_token_id": vocabulary.special_id("pad"),
            "tie_word_embeddings": post_norm.masked_head(objective).tied,
            "torch_dtype": "float32",
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        return to_hf_names(tensors, _NAMING, layers=plain_encoder(model).layers)

    def qualified_name(self, name: str) -> str:
        return name if name.startswith(("distilbert.", "vocab_")) else f"distilbert.{name}"

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        # `sinusoidal_pos_embds` only initialises the position embedding, so it is not read.
        tied = config.get("tie_word_embeddings", True)
        return {
            "model": {
                "dropout": float(config.get("dropout", 0.1)),
                "attention_dropout": float(config.get("attention_dropout", 0.1)),
                "embedding": {
                    "parts": ["word", "position"],
                    "positions": config["max_position_embeddings"],
                },
                "encoder": {
                    "type": "transformer",
                    "layers": config["n_layers"],
                    "hidden_size": config["dim"],
                    "heads": config["n_heads"],
                    "feed_forward_size": config["hidden_dim"],
                    "activation": post_norm.activation_from_config(config, "activation"),
                    "norm_epsilon": _EPSILON,
                },
                "init": {"std": float(config.get("initializer_range", 0.02))},
            },
            "objective": {"type": "mlm", "masking": {"unit": "token"}, "head": {"tied": tied}},
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        check_table_sizes(tensors, config, {"vocab_size": _NAMING.tables["word_embedding.weight"]})
        return from_hf_names(
            tensors,
            _NAMING,
            layers=config["n_layers"],
            width=config["dim"],
            tied=config.get("tie_word_embeddings", True),
        )
