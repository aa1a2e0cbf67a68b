"""Google's variable names of BERT and ALBERT, and transformers' names of the same tensors.

A checkpoint may hold only variables listed here, so that no part of a model is dropped unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LAYER = r"bert/encoder/layer_(\d+)/"
_GROUP = r"bert/encoder/transformer/group_(\d+)/inner_group_(\d+)/"
_ALBERT_LAYER = r"albert.encoder.albert_layer_groups.\1.albert_layers.\2."
_KINDS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
"""Variables of a dense layer and of a layer norm, to transformers' names."""
KERNEL = "/kernel"
"""Ending of matrices that Google stores as (inputs, outputs), transformers as (outputs, inputs)."""


@dataclass(frozen=True)
class Family:
    """Names of one family.

    `modules`: regular expressions of modules with the variables of `_KINDS`, to names of
    transformers' modules. `variables`: the same for single variables. Group references such as
    `\\1` are replaced.
    """

    model_type: str
    modules: Mapping[str, str]
    variables: Mapping[str, str]

    def renamed(self, variable: str) -> str | None:
        """Transformers' name of a variable; None if the family has no such variable."""
        module, _, kind = variable.rpartition("/")
        if kind in _KINDS:
            for theirs, name in self.modules.items():
                found = re.fullmatch(theirs, module)
                if found:
                    return f"{found.expand(name)}.{_KINDS[kind]}"
        return self.variables.get(variable)


def _tables(prefix: str) -> dict[str, str]:
    return {
        f"bert/embeddings/{name}": f"{prefix}.embeddings.{name}.weight"
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")
    }


BERT = Family(
    "bert",
    modules={
        "bert/embeddings/LayerNorm": "bert.embeddings.LayerNorm",
        f"{_LAYER}attention/self/(query|key|value)": r"bert.encoder.layer.\1.attention.self.\2",
        f"{_LAYER}attention/output/(dense|LayerNorm)": (
            r"bert.encoder.layer.\1.attention.output.\2"
        ),
        f"{_LAYER}intermediate/dense": r"bert.encoder.layer.\1.intermediate.dense",
        f"{_LAYER}output/(dense|LayerNorm)": r"bert.encoder.layer.\1.output.\2",
        "bert/pooler/dense": "bert.pooler.dense",
        "cls/predictions/transform/(dense|LayerNorm)": r"cls.predictions.transform.\1",
    },
    variables={
        **_tables("bert"),
        "cls/predictions/output_bias": "cls.predictions.bias",
        "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
        "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
    },
)
ALBERT = Family(
    "albert",
    modules={
        "bert/embeddings/LayerNorm": "albert.embeddings.LayerNorm",
        "bert/encoder/embedding_hidden_mapping_in": "albert.encoder.embedding_hidden_mapping_in",
        f"{_GROUP}attention_1/self/(query|key|value)": rf"{_ALBERT_LAYER}attention.\3",
        f"{_GROUP}attention_1/output/dense": f"{_ALBERT_LAYER}attention.dense",
        f"{_GROUP}LayerNorm": f"{_ALBERT_LAYER}attention.LayerNorm",
        f"{_GROUP}ffn_1/intermediate/dense": f"{_ALBERT_LAYER}ffn",
        f"{_GROUP}ffn_1/intermediate/output/dense": f"{_ALBERT_LAYER}ffn_output",
        f"{_GROUP}LayerNorm_1": f"{_ALBERT_LAYER}full_layer_layer_norm",
        "bert/pooler/dense": "albert.pooler",
        "cls/predictions/transform/(dense|LayerNorm)": r"predictions.\1",
    },
    variables={
        **_tables("albert"),
        "cls/predictions/output_bias": "predictions.bias",
        "cls/seq_relationship/output_weights": "sop_classifier.classifier.weight",
        "cls/seq_relationship/output_bias": "sop_classifier.classifier.bias",
    },
)

_OPTIMIZER = re.compile(
    r"""global_step | beta[12]_power | .*/(adam_m | adam_v | Adam | Adam_1)
    | (current_)?loss_scale | good_steps | bad_steps""",
    re.VERBOSE,
)
_OTHER_HEADS = re.compile(r"(cls/squad/)?output_(weights|bias)")


def is_optimizer_state(variable: str) -> bool:
    """Whether a variable belongs to the optimizer: Google's, TensorFlow's Adam, loss scaling."""
    return _OPTIMIZER.fullmatch(variable) is not None


def is_other_head(variable: str) -> bool:
    """Whether a variable is a head of Google's fine-tuning scripts (classes, answer spans)."""
    return _OTHER_HEADS.fullmatch(variable) is not None
