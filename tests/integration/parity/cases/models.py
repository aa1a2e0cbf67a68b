"""One model in ptm and in transformers: the definition of a case and the models built from it."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import Imported, import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.model.plain_model import PlainModel, loaded_model
from ptm.recipe import ModelRecipe
from tests.integration.parity.cases.inputs import Inputs, OneSided, two_sided
from tests.support.bert_pairs import (
    LARGEST_LOGIT,
    difference,
    examples_of,
    random_value,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.two_sided import plan_of

Blocks = dict[str, Any]
Changes = Mapping[str, Mapping[str, Any]]
"""New values per block: `model`, a block of it such as `encoder`, `objective`, or its `head`."""
Weights = dict[str, Tensor]

UNTIED = {"tied": False}
"""The head of a recipe with an untied output matrix."""
UNTIED_HEAD: Changes = {"head": UNTIED}
TIED_HEAD: Changes = {"head": {"tied": True}}
HF_UNTIED = {"tie_word_embeddings": False}
"""The same in transformers' config."""


def with_changes(blocks: Mapping[str, Any], changes: Changes) -> Blocks:
    """A copy of a recipe's blocks with new values."""
    found = copy.deepcopy(dict(blocks))
    for block, values in changes.items():
        if block in ("model", "objective"):
            place, key = found, block
        else:
            place, key = found["objective" if block == "head" else "model"], block
        place[key] = {**place.get(key, {}), **values}
    return found


@dataclass(frozen=True, eq=False)
class Family:
    """An architecture of transformers, with its default model in ptm and in transformers."""

    name: str
    hf_class: type[PreTrainedModel]
    recipe: Callable[[Path], Blocks]
    """Gives a recipe's blocks for a vocabulary file."""
    config_class: type[PretrainedConfig]
    sizes: Mapping[str, Any]
    """Arguments of transformers' config except the vocabulary size."""
    last_norm: str
    """Name of the norm before the output in transformers."""
    special_tokens: Mapping[str, str] = field(default_factory=dict)

    def config(self, words: int, changes: Mapping[str, Any]) -> PretrainedConfig:
        """transformers' config."""
        return self.config_class(**{"vocab_size": words, **self.sizes, **changes})

    def vocabulary(self, vocab: Path, folder: Path) -> Path:
        """A vocabulary with this family's special tokens first."""
        if not self.special_tokens:
            return vocab
        tokens = vocab.read_text(encoding="utf-8").splitlines()[5:]
        path = folder / "vocab.txt"
        text = "\n".join((*self.special_tokens.values(), *tokens))
        path.write_text(text + "\n", encoding="utf-8")
        return path


@dataclass(frozen=True, eq=False)
class Export:
    """A recipe that is exported.

    `attention`: attention implementation of transformers. `larger`: name suffix to the factor of
    such tensors. `lossless`: whether an import of the export gives the same blocks and parameters;
    otherwise an output bias or segments of zeros were added for transformers.
    """

    family: Family
    name: str = ""
    changes: Changes = field(default_factory=dict)
    recipe: Callable[[Path], Blocks] | None = None
    attention: Literal["sdpa", "eager"] = "sdpa"
    weights_format: Literal["safetensors", "bin"] = "safetensors"
    larger: Mapping[str, float] = field(default_factory=dict)
    lossless: bool = True

    def __str__(self) -> str:
        return f"{self.family.name}-{self.name}" if self.name else self.family.name

    def blocks(self, vocab: Path) -> Blocks:
        """The recipe's blocks."""
        return with_changes((self.recipe or self.family.recipe)(vocab), self.changes)


@dataclass(frozen=True, eq=False)
class Import:
    """A model of transformers that is imported.

    `own_output`: whether the output matrix is untied after construction, as when T5 1.1 checkpoints
    are loaded. `recipe`: expected values of the imported recipe. `round_trip`: whether an export
    gives the same model again.
    """

    family: Family
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    own_output: bool = False
    recipe: Changes = field(default_factory=dict)
    round_trip: bool = True

    def __str__(self) -> str:
        return f"{self.family.name}-{self.name}" if self.name else self.family.name

    def model(self, words: int) -> Any:
        """transformers' model with its own initial weights."""
        model: Any = self.family.hf_class(self.family.config(words, self.config))
        if self.own_output:
            model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight))
        return model


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A random model and its export, loaded by transformers."""

    case: Export
    blocks: Blocks
    recipe: ModelRecipe
    weights: Weights
    ours: PlainModel
    theirs: Any
    folder: Path
    loading_info: Mapping[str, Any]
    inputs: Inputs

    @cached_property
    def expected(self) -> Tensor:
        """transformers' logits, one example at a time."""
        return self.inputs.hf_logits(self.theirs)

    def mismatch(self, logits: Tensor) -> float:
        """Largest difference between `logits` and transformers', relative to the largest logit."""
        return difference(logits, self.expected)


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A random model of transformers in the folder that `save_pretrained` wrote."""

    case: Import
    theirs: Any
    folder: Path
    vocab: Path
    inputs: Inputs

    @cached_property
    def expected(self) -> Tensor:
        """transformers' logits, one example at a time."""
        return self.inputs.hf_logits(self.theirs)


@dataclass(frozen=True, eq=False)
class ImportedModel:
    """A folder of transformers, imported with `ptm import`."""

    folder: Path
    recipe: ModelRecipe
    weights: Weights
    ours: PlainModel
    report: Imported


def export_model(case: Export, folder: Path, *, vocab: Path, texts: Sequence[str]) -> ExportedModel:
    """A random model whose largest logit is 5, exported to `folder/export`."""
    blocks = case.blocks(case.family.vocabulary(vocab, folder))
    recipe = recipe_of(blocks)
    plan, inputs = plan_of(recipe), inputs_of(recipe, texts)
    weights = with_small_queries(random_weights(plan), recipe)
    for ending, factor in case.larger.items():
        weights.update({n: w * factor for n, w in weights.items() if n.endswith(ending)})
    logits = inputs.ptm_logits(loaded_model(plan, weights, source="random"), inputs.packed)
    factor = LARGEST_LOGIT / float(logits.abs().max())
    weights.update({name: weights[name] * factor for name in _output_scale(weights)})
    source = write_model(folder / "model", blocks, weights)
    export_to_huggingface(source, folder / "export", weights_format=case.weights_format)
    theirs, loading_info = _auto_class(recipe).from_pretrained(
        folder / "export", attn_implementation=case.attention, output_loading_info=True
    )
    return ExportedModel(
        case=case,
        blocks=blocks,
        recipe=recipe,
        weights=weights,
        ours=loaded_model(plan, weights, source="random"),
        theirs=theirs.eval(),
        folder=folder / "export",
        loading_info=loading_info,
        inputs=inputs,
    )


def save_model(case: Import, folder: Path, *, vocab: Path, texts: Sequence[str]) -> SavedModel:
    """A random model of transformers whose largest logit is 5, saved in `folder/saved`."""
    vocab = case.family.vocabulary(vocab, folder)
    recipe = recipe_of(case.family.recipe(vocab))
    inputs = inputs_of(recipe, texts)
    theirs = case.model(recipe.tokenizer.load().vocabulary.size).eval()
    randomise(theirs, inputs, last_norm=case.family.last_norm)
    saved = save(theirs, folder / "saved", vocab=vocab, family=case.family)
    return SavedModel(case, theirs, saved, vocab, inputs)


def save(model: Any, folder: Path, *, vocab: Path, family: Family) -> Path:
    """Write a model with `save_pretrained`, and its vocabulary."""
    model.save_pretrained(folder)
    shutil.copyfile(vocab, folder / "vocab.txt")
    if family.special_tokens:
        named = {f"{role}_token": token for role, token in family.special_tokens.items()}
        (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


def import_model(folder: Path, out: Path) -> ImportedModel:
    """Import a folder of transformers into `out`."""
    report = import_from_huggingface(str(folder), out)
    source = open_source(str(out))
    recipe, weights = source.recipe(), source.tensors()
    ours = loaded_model(plan_of(recipe), weights, source=str(out))
    return ImportedModel(out, recipe, weights, ours, report)


def inputs_of(recipe: ModelRecipe, texts: Sequence[str]) -> Inputs:
    """Examples for the recipe's model."""
    tokenizer = recipe.tokenizer.load()
    if recipe.model.decoder is not None:
        return two_sided(tokenizer.vocabulary.size)
    examples = examples_of(tokenizer, texts, longest=48)
    return OneSided(tuple(examples), tokenizer.vocabulary.special_id("pad"))


def _auto_class(recipe: ModelRecipe) -> Any:
    if recipe.model.decoder is not None:
        return AutoModelForSeq2SeqLM
    return AutoModelForCausalLM if recipe.objective.type == "lm" else AutoModelForMaskedLM


def with_small_queries(weights: Weights, recipe: ModelRecipe) -> Weights:
    """Scale query weights down if attention does not scale its scores, as T5 initialises them."""
    shape = recipe.model.encoder.head_shape  # type: ignore[attr-defined]
    if shape.scaled:
        return weights
    found = {name: tensor.clone() for name, tensor in weights.items()}
    for name, tensor in found.items():
        if name.endswith(("attention.qkv.weight", "cross_attention.query.weight")):
            tensor[: shape.query_width].mul_(shape.head_size**-0.5)
    return found


def _output_scale(weights: Weights) -> list[str]:
    """Names of the tensors that logits are linear in: the last norm and the output bias."""
    side = "decoder_" if any(name.startswith("decoder_") for name in weights) else "encoder_"
    layers = sorted(n for n in weights if n.startswith(side) and "feed_forward_norm" in n)
    norms = ["mlm_transform.norm", f"{side}norm", layers[-1].rpartition(".")[0]]
    last = next(norm for norm in norms if f"{norm}.weight" in weights)
    names = (f"{last}.weight", f"{last}.bias", "mlm_bias.bias", "lm_bias.bias")
    return [name for name in names if name in weights]


def randomise(model: nn.Module, inputs: Inputs, *, last_norm: str) -> None:
    """Set random weights as in ptm's random models; the largest logit becomes 5."""
    modules = list(model.modules())
    norms = {id(m.weight) for m in modules if "Norm" in type(m).__name__ and hasattr(m, "weight")}
    tables = {id(m.weight) for m in modules if isinstance(m, nn.Embedding)}
    transposed = {id(m.weight) for m in modules if isinstance(m, Conv1D)}
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters()):
            if not parameter.requires_grad:  # Sinusoidal positions.
                continue
            turned = id(parameter) in transposed
            value = random_value(
                parameter.shape[::-1] if turned else parameter.shape,
                is_norm=id(parameter) in norms,
                is_table=id(parameter) in tables and "relative_attention_bias" not in name,
                seed=seed,
            )
            parameter.copy_(value.T if turned else value)
        biases = _output_biases(model)
        for seed, bias in enumerate(biases):
            drawn = random_value(bias.shape[-1:], is_norm=False, is_table=False, seed=99 + seed)
            bias.copy_(0.1 * drawn)
        factor = LARGEST_LOGIT / inputs.hf_logits(model).abs().max()
        for part in (*model.get_submodule(last_norm).parameters(), *biases):
            part.mul_(factor)


def _output_biases(model: Any) -> list[Tensor]:
    """The output biases, each once; those of encoder-decoders are buffers."""
    named = (*model.named_parameters(), *model.named_buffers())
    found = {id(tensor): tensor for name, tensor in named if name.endswith("bias")}
    return [t for t in found.values() if t.numel() == model.config.vocab_size]
