"""BERT in transformers (Devlin et al. 2018, arXiv:1810.04805).

Chinese models over a vocab.txt that are called roberta, wwm or span are of this family too: they
differ in their training, not in their architecture, which is post-norm layers over word, position
and segment embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.interop.effective_options import Options
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import (
    SEGMENTS,
    Naming,
    check_table_sizes,
    from_hf_names,
    to_hf_names,
)
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


def bert_naming(prefix: str) -> Naming:
    """BERT's tensor names under `prefix`; ERNIE and RoBERTa have the same under other prefixes."""
    embeddings = f"{prefix}.embeddings."
    return Naming(
        tables={
            "word_embedding.weight": f"{embeddings}word_embeddings.weight",
            "embedding.position.weight": f"{embeddings}position_embeddings.weight",
            SEGMENTS: f"{embeddings}token_type_embeddings.weight",
        },
        modules={"embedding.norm": f"{embeddings}LayerNorm"},
        head={
            "mlm_transform.dense": "cls.predictions.transform.dense",
            "mlm_transform.norm": "cls.predictions.transform.LayerNorm",
            "pooler.dense": f"{prefix}.pooler.dense",
            "pair_classifier": "cls.seq_relationship",
        },
        layer=f"{prefix}.encoder.layer.",
        attention=(
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
        ),
        inside={
            "attention.output": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm",
            "feed_forward.up": "intermediate.dense",
            "feed_forward.down": "output.dense",
            "feed_forward_norm": "output.LayerNorm",
        },
        biases=("cls.predictions.bias", "cls.predictions.decoder.bias"),
        decoder="cls.predictions.decoder.weight",
    )


_NAMING = bert_naming("bert")


class Bert(Family):
    """`BertForMaskedLM`, or `BertForPreTraining` for a model with a pair head."""

    name = "bert"
    base_prefix = "bert."
    model_types = ("bert", "roberta")
    head_pattern = r"(bert\.)?pooler\.|cls\.seq_relationship\.|classifier\.|qa_outputs\."
    # Baidu's name of the activation of the pooler.
    fixed_keys: Mapping[str, Any] = {**post_norm.NO_DECODER, "pool_act": "tanh"}
    signature_tensors = (
        "bert.embeddings.token_type_embeddings.weight",
        "bert.encoder.layer.0.attention.self.query.weight",
        "bert.encoder.layer.0.attention.output.LayerNorm.weight",
    )

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return post_norm.structure_reason(model, objective)

    def as_written(self, options: Options) -> Options:
        return post_norm.with_zeros(options)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        pairs = post_norm.has_pair_head(model, objective)
        return {
            "architectures": ["BertForPreTraining" if pairs else "BertForMaskedLM"],
            "model_type": "bert",
            **post_norm.config_of(model, objective, vocabulary),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        return with_segments(
            to_hf_names(tensors, _NAMING, layers=plain_encoder(model).layers),
            name=_NAMING.tables[SEGMENTS],
            rows=model.embedding.segments,
            width=model.encoder.hidden_size,
        )

    def qualified_name(self, name: str) -> str:
        return modern_name(name, "bert")

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        named = config.get("model_type")
        # Chinese BERTs that are called roberta have the prefix bert; a bare RobertaModel has none.
        if named == "roberta" and not any(name.startswith("bert.") for name in names):
            return False
        # Without a model_type, a task embedding shows an ERNIE.
        if named is None and any("task_type_embeddings" in name for name in names):
            return False
        return super().matches_checkpoint(config, names)

    def matches_config(self, config: Mapping[str, Any]) -> bool:
        # ERNIE 1.0 has no model_type. A roberta without tensors is one.
        named = config.get("model_type")
        return named == self.name or (named is None and "num_hidden_layers" in config)

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        pairs = has_pairs(config, tensors, _NAMING)
        return post_norm.blocks_of(config, objective="bert" if pairs else "mlm")

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        return bert_tensors(tensors, config, _NAMING)


def with_segments(
    tensors: dict[str, Tensor], *, name: str, rows: int, width: int
) -> dict[str, Tensor]:
    """`tensors` with a segment embedding of zeros, (rows, width), if the model has none."""
    import torch

    return tensors if name in tensors else {**tensors, name: torch.zeros(rows, width)}


def has_pairs(config: Mapping[str, Any], names: Collection[str], naming: Naming) -> bool:
    """Whether a checkpoint has a pooler and a pair head.

    Without tensors (`names` empty) the config's `architectures` decide.
    """
    if not names:
        return any("ForPreTraining" in str(name) for name in config.get("architectures") or ())
    needed = ("pooler.dense", "pair_classifier")
    return all(f"{naming.head[ours]}.weight" in names for ours in needed)


def bert_tensors(theirs: Tensors, config: Mapping[str, Any], naming: Naming) -> dict[str, Tensor]:
    """Canonical tensors of a checkpoint with the names of `naming`.

    Raises KeyError for a missing tensor, UserError for tensors that contradict the config.
    """
    sizes = {
        "vocab_size": naming.tables["word_embedding.weight"],
        "type_vocab_size": naming.tables[SEGMENTS],
    }
    check_table_sizes(theirs, config, sizes)
    found = from_hf_names(
        theirs,
        naming,
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        tied=config.get("tie_word_embeddings", True),
    )
    if not has_pairs(config, theirs, naming):
        # A pooler without a pair head serves no objective of ptm.
        return {name: t for name, t in found.items() if not name.startswith("pooler.")}
    return found


def modern_name(name: str, prefix: str) -> str:
    """The name in a current model with a head. Bare models lack `prefix`."""
    name = modern_norm(name)
    return name if name.startswith((f"{prefix}.", "cls.", "lm_head.")) else f"{prefix}.{name}"


def modern_norm(name: str) -> str:
    """The name without gamma and beta, which checkpoints converted from TensorFlow have."""
    name = re.sub(r"(LayerNorm|layer_norm)\.beta$", r"\1.bias", name)
    return re.sub(r"(LayerNorm|layer_norm)\.gamma$", r"\1.weight", name)
