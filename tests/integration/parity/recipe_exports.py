"""Small models of the recipes of another source tree, and their exports, for `compare_trees`.

Sizes and vocabularies are small, weights are random; every other option is the recipe's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import ImportedSource
from ptm.interop.weights_file import read_weights
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe.saved_files import RECIPE, TARGET_TOKENIZER, TOKENIZER, WEIGHTS
from ptm.text.tokenizers.files import block_with_copies
from ptm.text.vocabulary_training import TrainedVocabulary, trainers
from tests.integration.parity.cases.models import inputs_of, with_small_queries
from tests.integration.parity.drawn_models import EQUAL, EQUAL_IN_FP64, comparison
from tests.support import uer_pairs
from tests.support.bert_pairs import random_weights
from tests.support.hub_tokenizers import BERT, CORPUS, ROBERTA
from tests.support.two_sided import plan_of
from tests.support.vocabularies import request, text_of

_SIZES = {
    "layers": 2,
    "hidden_size": 64,
    "heads": 4,
    "feed_forward_size": 128,
    "key_value_heads": 2,
}
_VOCABULARY_SIZES = {"wordpiece": 2600, "space": None, "bpe": 800, "unigram": 3000}
_FILE_KEYS = ("vocab", "merges", "model", "size")
_SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))


def small_models(recipes: Path, folder: Path) -> Iterator[ModelSource]:
    """A model of each recipe in the folder `recipes`, in that tree's format of recipes.

    Its folder is `folder` and the recipe's path.
    """
    for path in sorted(recipes.glob("*/*.yaml")):
        place = folder / path.parent.name / path.stem
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        source = ImportedSource(place)
        _write_recipe(data, place)
        recipe = source.recipe()
        sizes = [
            tokenizer.load().vocabulary.size if tokenizer else None
            for tokenizer in (recipe.tokenizer, recipe.target_tokenizer)
        ]
        plan = build_plan(
            recipe.model,
            recipe.objective,
            vocabulary_size=sizes[0] or 0,
            target_vocabulary_size=sizes[1],
        )
        save_file(with_small_queries(random_weights(plan), recipe), place / WEIGHTS)
        yield source


def _write_recipe(data: Mapping[str, Any], place: Path) -> None:
    model = data["model"]
    for stack in ("encoder", "decoder"):
        if stack in model:
            model[stack] |= {key: size for key, size in _SIZES.items() if key in model[stack]}
    blocks = {key: data[key] for key in ("data", "model", "objective")}
    for key in (TOKENIZER, TARGET_TOKENIZER):
        if key in data:
            blocks[key] = _tokenizer(data[key], place / key)
    (place / RECIPE).write_text(yaml.safe_dump(blocks), encoding="utf-8")


def _tokenizer(block: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The block with a small vocabulary of the same kind, written to `folder`."""
    folder.mkdir(parents=True)
    kind = "unigram" if block["type"] == "sentencepiece" else block["type"]
    named = tuple(sorted({*block.get("special_tokens", {}).values()} - {*ROBERTA, *BERT}))
    extra = _SENTINELS if "sentinels" in str(block.get("vocab")) else named
    trained = _trained(kind, extra, lowercase=block.get("lowercase", kind == "wordpiece"))
    for name, content in trained.files.items():
        (folder / name).write_bytes(content)
    names = iter(trained.files)
    options = {key: value for key, value in block.items() if key not in _FILE_KEYS}
    files = {key: next(names) for key, value in trained.block.items() if value is None}
    return block_with_copies({**options, **files}, folder)


@cache
def _trained(kind: str, extra: tuple[str, ...], *, lowercase: bool) -> TrainedVocabulary:
    size = _VOCABULARY_SIZES[kind]
    wanted = request(size and size + len(extra), lowercase=lowercase, extra=extra)
    text = text_of(CORPUS / "english.txt", CORPUS / "chinese.txt")
    return trainers()[kind].train(text, wanted)


def compared_hf(source: ModelSource, export: Path, texts: Sequence[str]) -> str:
    """Compare the logits of a model with those of its export in transformers.

    EQUAL, EQUAL_IN_FP64 or the difference.
    """
    recipe = source.recipe()
    auto: Any = AutoModelForMaskedLM
    if recipe.model.decoder is not None:
        auto = AutoModelForSeq2SeqLM
    elif recipe.objective.type == "lm":
        auto = AutoModelForCausalLM
    plan = plan_of(recipe)
    weights = {n: tensor for n, tensor in source.tensors().items() if n in plan.parameter_shapes}
    ours = loaded_model(plan, weights, source="ours")
    return comparison(ours, auto.from_pretrained(export).eval(), inputs_of(recipe, texts))


def compared_uer(source: ModelSource, export: Path, texts: Sequence[str]) -> str:
    """The same for UER-py's format, by the second implementation of its classes.

    Its layer norms have ptm's epsilon, because an export reports that UER-py's differs.
    """
    recipe, tensors = source.recipe(), source.tensors()
    config = json.loads((export / "config.json").read_text())
    state = read_weights(export / "model.bin")
    example = uer_pairs.Example.random(
        recipe.tokenizer.load().vocabulary.size,
        decodes=recipe.model.decoder is not None,
        segments=2 if recipe.objective.type in ("prefixlm", "bert", "albert") else 1,
    )
    epsilon = recipe.model.encoder.norm_epsilon
    for dtype, equal in ((torch.float32, EQUAL), (torch.float64, EQUAL_IN_FP64)):
        ours = uer_pairs.ptm_logits(recipe, tensors, example, dtype=dtype)
        theirs = uer_pairs.uer_logits(config, state, example, dtype=dtype, epsilon=epsilon)
        found = uer_pairs.difference(theirs, ours)
        if found <= uer_pairs.TOLERANCE:
            return equal
    return f"differs by {found:.1e}"


FORMATS: Mapping[str, Callable[[ModelSource, Path, Sequence[str]], str]] = {
    "hf": compared_hf,
    "uer": compared_uer,
}
"""The value of --to, and how an export in that format is compared."""
