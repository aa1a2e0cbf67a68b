"""Training runs that are compared with transformers' models, and these models' arguments.

Each is a small model on a small corpus with every feature of a training run but dropout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    AlbertForPreTraining,
    BertForMaskedLM,
    BertForPreTraining,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedModel,
)

from tests.support.bert_pairs import Size, blocks_of

WEIGHT_DECAY = 0.1
ROWS, MICRO_ROWS = 8, 4
"""Two micro-batches per step, with different numbers of predicted tokens."""


@dataclass(frozen=True)
class CurveCase:
    """One training run.

    `embedding` and `encoder`: recipe options beside the sizes of a small BERT. `theirs`: the model
    class of transformers. `pair_argument`: its argument for the labels of pairs; a row then holds
    only one pair, because the pooler of transformers reads the first token of the row.
    """

    objective: str
    theirs: type[PreTrainedModel]
    steps: int
    rate: float
    """Learning rate. At six times the rate of `mlm`, changing transformers' initial weights by
    1e-7 moves its curve by 0.05, so curves could not be compared."""
    layout: Literal["documents", "sentences"] = "documents"
    pair_argument: str | None = None
    head: Mapping[str, Any] | None = None
    """The objective's head, if not that of masked tokens."""
    embedding: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warmup(self) -> int:
        """Number of warm-up steps."""
        return max(1, self.steps // 10)

    def recipe(self, folder: Path, vocab: Path, *, data: Path) -> dict[str, Any]:
        """The recipe of this training run over the corpus and the store in `data`."""
        blocks = blocks_of(vocab, Size(2, 64, 2))
        model = blocks["model"]
        model["embedding"].update(self.embedding)
        model["encoder"].update(self.encoder)
        model["dropout"] = 0.0
        head = blocks["objective"]["head"] if self.head is None else dict(self.head)
        blocks["objective"] = {"type": self.objective, "head": head}
        return {
            **blocks,
            "name": "curve",
            "runs_dir": str(folder / "runs"),
            "data": {
                "corpus": str(data / "corpus.txt"),
                "layout": self.layout,
                "store": str(data / "store"),
                "held_out": 0.0,
                "sequence_length": 48,
                "packing": self.pair_argument is None,
            },
            "optimizer": {
                "type": "adamw",
                "learning_rate": self.rate,
                "weight_decay": WEIGHT_DECAY,
            },
            "schedule": {"type": "linear", "warmup": self.warmup},
            "train": {
                "steps": self.steps,
                "global_batch_size": ROWS,
                "micro_batch_size": MICRO_ROWS,
            },
        }

    def arguments(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A micro-batch as transformers' arguments: dense labels, a mask (B, 1, T, T)."""
        ids = tensors["example_ids"]
        rows, columns = ids.shape
        arguments = {
            "input_ids": tensors["input_ids"],
            "position_ids": tensors["position_ids"],
            "attention_mask": ids[:, None, :, None] == ids[:, None, None, :],
        }
        if self.objective == "lm":
            labels = tensors["target_ids"].masked_fill(tensors["target_weights"] == 0, -100)
            # transformers uses `shift_labels` if given, which are already shifted by one.
            moved = {"labels": labels, "shift_labels": labels}
            return {**arguments, **moved, "attention_mask": arguments["attention_mask"].tril()}
        arguments = {
            **arguments,
            "token_type_ids": (tensors["segment_ids"] - 1).clamp(min=0),
            "labels": _scattered(tensors, "predicted", "ids", cells=ids.numel()).view(ids.shape),
        }
        if self.pair_argument is None:
            return arguments
        cells = _scattered(tensors, "pair", "labels", cells=ids.numel()).view(rows, columns)
        assert bool((cells[:, 0] >= 0).all() and (cells[:, 1:] < 0).all()), "one pair a row"
        return {**arguments, self.pair_argument: cells[:, 0]}


def _scattered(tensors: Mapping[str, Tensor], of: str, values: str, *, cells: int) -> Tensor:
    """Targets at their positions in a vector of length `cells`, -100 elsewhere."""
    real = tensors[f"{of}_weights"] > 0
    labels = torch.full((cells,), -100)
    labels[tensors[f"{of}_positions"][real]] = tensors[f"{of}_{values}"][real]
    return labels


CASES = {
    "mlm": CurveCase("mlm", BertForMaskedLM, steps=300, rate=5e-4),
    "bert": CurveCase(
        "bert",
        BertForPreTraining,
        steps=100,
        rate=2e-3,
        layout="sentences",
        pair_argument="next_sentence_label",
    ),
    "albert": CurveCase(
        "albert",
        AlbertForPreTraining,
        steps=100,
        rate=2e-3,
        layout="sentences",
        pair_argument="sentence_order_label",
        embedding={"size": 32},
        encoder={"activation": "gelu_tanh", "shared_groups": 1},
    ),
    "gpt2": CurveCase(
        "lm",
        GPT2LMHeadModel,
        steps=60,
        rate=2e-3,
        head={},
        embedding={"parts": ["word", "position"], "layer_norm": False},
        encoder={
            "visibility": "causal",
            "activation": "gelu_tanh",
            "norm_position": "pre",
            "norm_epsilon": 1e-5,
        },
    ),
    "llama": CurveCase(
        "lm",
        LlamaForCausalLM,
        steps=60,
        rate=2e-3,
        head={"tied": False},
        embedding={"parts": ["word"], "layer_norm": False},
        encoder={
            "visibility": "causal",
            "key_value_heads": 1,
            "feed_forward": "gated",
            "activation": "silu",
            "norm": "rms",
            "norm_position": "pre",
            "norm_epsilon": 1e-6,
            "bias": False,
            "rotary": {"theta": 10000},
        },
    ),
}
