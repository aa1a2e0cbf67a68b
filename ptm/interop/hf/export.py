"""Writing a Hugging Face folder that transformers loads with nothing missing and nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, processors
from torch import Tensor

from ptm.interop.hf.contract import family_for
from ptm.interop.new_folder import new_folder
from ptm.interop.source import Source
from ptm.recipe import Recipe, recipe_yaml
from ptm.text.tokenizers import Tokenizer


def export_to_huggingface(
    source: Source, out: Path, *, weights_format: Literal["safetensors", "bin"]
) -> None:
    """Write `out` aside and rename it. Raises UserError where it exists or no family fits."""
    recipe = source.recipe()
    family = family_for(recipe, source=str(source.folder))
    tokenizer = recipe.tokenizer.load()
    tensors = family.to_huggingface(source.tensors(), recipe.model, recipe.objective)
    config = family.config(recipe.model, recipe.objective, tokenizer.vocabulary)
    card = model_card(recipe, source, out.name)
    with new_folder(out) as aside:
        _write_json(aside / "config.json", config)
        _write_weights(aside, tensors, weights_format)
        _write_tokenizer(aside, tokenizer, positions=recipe.model.embedding.positions)
        (aside / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
        (aside / "README.md").write_text(card, encoding="utf-8")


def _write_weights(folder: Path, tensors: Mapping[str, Tensor], weights_format: str) -> None:
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    if weights_format == "safetensors":
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(whole, folder / "pytorch_model.bin")


def _write_tokenizer(folder: Path, tokenizer: Tokenizer, *, positions: int) -> None:
    """The vocabulary, the pipeline, and the settings that AutoTokenizer reads."""
    vocabulary = tokenizer.vocabulary
    specials = vocabulary.specials
    shutil.copyfile(tokenizer.config.vocab, folder / "vocab.txt")
    backend = tokenizer.config.backend(vocabulary)
    backend.add_special_tokens(
        [AddedToken(token, special=True) for token in specials.values() if token in vocabulary.ids]
    )
    cls, sep = specials["cls"], specials["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, vocabulary.special_id("cls")), (sep, vocabulary.special_id("sep"))],
    )
    backend.save(str(folder / "tokenizer.json"))
    named = {f"{role}_token": token for role, token in specials.items()}
    settings: dict[str, Any] = {
        "tokenizer_class": tokenizer.config.huggingface_class,
        "do_lower_case": tokenizer.config.lowercase,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "model_max_length": positions,
        "clean_up_tokenization_spaces": False,
        "ptm_type": tokenizer.config.type,
        **named,
    }
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", named)


def model_card(recipe: Recipe, source: Source, name: str) -> str:
    """The README of an export: what it is, how it was made, what was measured."""
    figures = source.figures()
    rows = "\n".join(f"| {key} | {value} |" for key, value in figures.items())
    table = f"## Figures\n\n| | |\n|---|---|\n{rows}\n\n" if rows else ""
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: fill-mask\n---\n\n# {name}\n\n"
        f"Pretrained with ptm, recipe `{recipe.name}` (objective `{recipe.objective.type}`, "
        f"{source.description()}).\n\n"
        "```python\nfrom transformers import AutoModelForMaskedLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")\n'
        f'model = AutoModelForMaskedLM.from_pretrained("{name}")\n```\n\n'
        "`AutoModel` loads the encoder alone; masked language modelling trains no pooler, so pass "
        "`add_pooling_layer=False`.\n\n"
        f"{table}## Recipe\n\n```yaml\n{recipe_yaml(recipe)}```\n"
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
