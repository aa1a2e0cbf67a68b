"""ERNIE in transformers (Sun et al. 2019, 2020): a BERT; 2.0 and 3.0 add a task embedding.

ERNIE 1.0 differs from BERT only in its masking and is exported as a BERT.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.effective_options import Options
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.families.bert import (
    bert_naming,
    bert_tensors,
    has_pairs,
    modern_name,
    with_segments,
)
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import SEGMENTS, Naming, check_table_sizes, to_hf_names
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_PLAIN = bert_naming("ernie")
_TASK = "embedding.task.weight"
_TASKS = "ernie.embeddings.task_type_embeddings.weight"
_WITH_TASK = replace(_PLAIN, tables={**_PLAIN.tables, _TASK: _TASKS})


class Ernie(Family):
    """`ErnieForMaskedLM`, or `ErnieForPreTraining` for a model with a pair head."""

    name = "ernie"
    base_prefix = "ernie."
    model_types = ("ernie",)
    head_pattern = r"(ernie\.)?pooler\.|cls\.seq_relationship\.|classifier\.|qa_outputs\."
    # Baidu's name of the activation of the pooler.
    fixed_keys: Mapping[str, Any] = {
        **post_norm.NO_DECODER,
        "task_id": 0,
        "pool_act": "tanh",
    }
    signature_tensors = ("ernie.encoder.layer.0.attention.self.query.weight", _TASKS)

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return post_norm.structure_reason(model, objective)

    def as_written(self, options: Options) -> Options:
        return post_norm.with_zeros(options)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        pairs = post_norm.has_pair_head(model, objective)
        return {
            "architectures": ["ErnieForPreTraining" if pairs else "ErnieForMaskedLM"],
            "model_type": "ernie",
            **post_norm.config_of(model, objective, vocabulary),
            "use_task_id": True,
            "task_type_vocab_size": model.embedding.tasks,
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        return with_segments(
            to_hf_names(tensors, _WITH_TASK, layers=plain_encoder(model).layers),
            name=_WITH_TASK.tables[SEGMENTS],
            rows=model.embedding.segments,
            width=model.encoder.hidden_size,
        )

    def qualified_name(self, name: str) -> str:
        return modern_name(name, "ernie")

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        if config.get("model_type") in self.model_types:
            return "ernie.encoder.layer.0.attention.self.query.weight" in {
                self.qualified_name(name) for name in names
            }
        # Without a model_type, BERT's names but for the prefix or the task embedding.
        return config.get("model_type") is None and (
            any(name.startswith("ernie.encoder.layer.0.") for name in names)
            or "embeddings.task_type_embeddings.weight" in names
        )

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        if tensors and (_TASKS in tensors) != bool(config.get("use_task_id")):
            raise UserError(
                f"config.json: use_task_id = {json.dumps(bool(config.get('use_task_id')))}, but "
                f"the weights have {'' if _TASKS in tensors else 'no '}{_TASKS}."
            )
        pairs, tasks = has_pairs(config, tensors, _PLAIN), config.get("task_type_vocab_size", 3)
        blocks = post_norm.blocks_of(config, objective="bert" if pairs else "mlm")
        if _naming(config) is _WITH_TASK:
            blocks["model"]["embedding"]["parts"].append("task")
            blocks["model"]["embedding"]["tasks"] = tasks
        return blocks

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        check_table_sizes(tensors, config, {"task_type_vocab_size": _TASKS})
        return bert_tensors(tensors, config, _naming(config))


def _naming(config: Mapping[str, Any]) -> Naming:
    return _WITH_TASK if config.get("use_task_id") else _PLAIN
