"""The families that are compared with transformers: a recipe and a config of each.

Every number that a family may have of its own is not the usual one: epsilons, rows of segments and
tasks, the row of the first position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    ErnieConfig,
    ErnieForMaskedLM,
    PretrainedConfig,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from ptm.nn.init import norm_parameters
from tests.support.bert_pairs import (
    LARGEST_LOGIT,
    POSITIONS,
    TINY,
    Rows,
    blocks_of,
    hf_logits,
    random_value,
)

FAIRSEQ = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}


@dataclass(frozen=True)
class FamilyCase:
    """`embedding` and `encoder`: what the recipe of one says besides the sizes of a tiny model.

    `config`: the same for transformers. `norm` and `biases`: where the head's scale lies there.
    """

    model_type: str
    embedding: Mapping[str, Any]
    encoder: Mapping[str, Any]
    config: Callable[[int], PretrainedConfig]
    model: Callable[[PretrainedConfig], nn.Module]
    norm: str
    biases: tuple[str, ...]
    specials: Mapping[str, str]

    def blocks(self, vocab: Path) -> dict[str, Any]:
        """The blocks of a recipe."""
        blocks = blocks_of(vocab, TINY)
        blocks["model"]["embedding"].update(self.embedding)
        blocks["model"]["encoder"].update(self.encoder)
        blocks["tokenizer"]["special_tokens"] = dict(self.specials)
        return blocks

    def vocab(self, small_vocab: Path, folder: Path) -> Path:
        """A vocabulary with this family's special tokens first."""
        if not self.specials:
            return small_vocab
        tokens = small_vocab.read_text(encoding="utf-8").splitlines()[5:]
        path = folder / "vocab.txt"
        path.write_text("\n".join((*self.specials.values(), *tokens)) + "\n", encoding="utf-8")
        return path

    def random_model(self, config: PretrainedConfig, rows: Rows) -> nn.Module:
        """transformers' model with random weights, the largest logit on `rows` being 5."""
        model = self.model(config).eval()
        norms = set(norm_parameters(model))
        with torch.no_grad():
            for seed, (name, parameter) in enumerate(model.named_parameters()):
                is_norm = name in norms and name.endswith("weight")
                table = "embeddings" in name
                parameter.copy_(
                    random_value(parameter.shape, is_norm=is_norm, is_table=table, seed=seed)
                )
            factor = LARGEST_LOGIT / hf_logits(model, rows).abs().max()
            for part in self._scale(model):
                part.mul_(factor)
        return model

    def _scale(self, model: nn.Module) -> list[Tensor]:
        """Each tensor once: where the head is tied, several names are one."""
        norm = model.get_submodule(self.norm)
        named = dict(model.named_parameters())
        return [*norm.parameters(), *(named[name] for name in self.biases if name in named)]


def _sizes(size: int) -> dict[str, Any]:
    return {
        "vocab_size": size,
        "hidden_size": TINY.width,
        "num_hidden_layers": TINY.layers,
        "num_attention_heads": TINY.heads,
        "intermediate_size": 4 * TINY.width,
        "max_position_embeddings": POSITIONS,
    }


def _distilbert(size: int) -> PretrainedConfig:
    return DistilBertConfig(
        vocab_size=size,
        dim=TINY.width,
        n_layers=TINY.layers,
        n_heads=TINY.heads,
        hidden_dim=4 * TINY.width,
        max_position_embeddings=POSITIONS,
        activation="relu",
    )


_ROBERTA_EMBEDDING = {"position_offset": 2, "segments": 1}

CASES: dict[str, FamilyCase] = {
    "roberta": FamilyCase(
        model_type="roberta",
        embedding=_ROBERTA_EMBEDDING,
        encoder={"norm_epsilon": 1e-5},
        config=lambda size: RobertaConfig(**_sizes(size), type_vocab_size=1, layer_norm_eps=1e-5),
        model=RobertaForMaskedLM,
        norm="lm_head.layer_norm",
        biases=("lm_head.bias", "lm_head.decoder.bias"),
        specials=FAIRSEQ,
    ),
    "xlm_roberta": FamilyCase(
        model_type="xlm-roberta",
        embedding=_ROBERTA_EMBEDDING,
        encoder={"norm_epsilon": 1e-5},
        config=lambda size: XLMRobertaConfig(
            **_sizes(size), type_vocab_size=1, layer_norm_eps=1e-5
        ),
        model=XLMRobertaForMaskedLM,
        norm="lm_head.layer_norm",
        biases=("lm_head.bias", "lm_head.decoder.bias"),
        specials=FAIRSEQ,
    ),
    "distilbert": FamilyCase(
        model_type="distilbert",
        embedding={"of": ["word", "position"]},
        encoder={"activation": "relu"},
        config=_distilbert,
        model=DistilBertForMaskedLM,
        norm="vocab_layer_norm",
        biases=("vocab_projector.bias",),
        specials={},
    ),
    "ernie": FamilyCase(
        model_type="ernie",
        embedding={"of": ["word", "position", "segment", "task"], "segments": 4, "tasks": 3},
        encoder={"activation": "gelu_tanh"},
        config=lambda size: ErnieConfig(
            **_sizes(size), type_vocab_size=4, use_task_id=True, hidden_act="gelu_new"
        ),
        model=ErnieForMaskedLM,
        norm="cls.predictions.transform.LayerNorm",
        biases=("cls.predictions.bias", "cls.predictions.decoder.bias"),
        specials={},
    ),
}
