"""Export to a Hugging Face folder that transformers loads without missing or unexpected tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from ptm.components.objectives.base import Objective
from ptm.components.objectives.embedded_texts import EmbeddedTexts
from ptm.components.objectives.template import Template
from ptm.errors import UserError
from ptm.interop.effective_options import OBJECTIVE
from ptm.interop.folders import new_folder
from ptm.interop.hf.base import Family
from ptm.interop.hf.families import families
from ptm.interop.hf.heads import head_for
from ptm.interop.hf.io.sentence_transformers import NOTE, write_sentence_transformers
from ptm.interop.hf.io.tokenizer import SpecialTokens, write_json, write_tokenizer
from ptm.interop.hf.with_head import FamilyWithHead
from ptm.interop.published_recipe import differences_yaml, exported_yaml
from ptm.interop.sources.base import ModelSource
from ptm.interop.text_length import longest_text
from ptm.interop.weights_file import write_bin, write_safetensors
from ptm.recipe import ModelRecipe, Recipe
from ptm.text.vocabulary import Vocabulary

_GENERATION_KEYS = (
    *("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"),
    "forced_bos_token_id",
)
_ENCODER_NOTE = (
    "`AutoModel` loads the encoder without its head. Masked language modelling trains no pooler; "
    "for a family that has one, pass `add_pooling_layer=False`."
)
_TASKS = {
    "AutoModel": ("feature-extraction", _ENCODER_NOTE),
    "SentenceTransformer": ("sentence-similarity", NOTE),
    "AutoModelForMaskedLM": ("fill-mask", _ENCODER_NOTE),
    "AutoModelForCausalLM": (
        "text-generation",
        "`AutoModel` loads the model without its output layer.",
    ),
    "AutoModelForSeq2SeqLM": (
        "text2text-generation",
        "`AutoModel` loads the model without its output layer.",
    ),
}
"""Auto class to the Hub's pipeline tag and a note for the model card."""


def export_to_huggingface(
    source: ModelSource,
    out: Path,
    *,
    weights_format: Literal["safetensors", "bin"],
    without_crf: bool = False,
) -> tuple[str, ...]:
    """Write the model of `source` as a Hugging Face folder; `out` appears only when complete.

    The folder has config, weights, tokenizer, recipe and model card. `without_crf`: leave out the
    transitions of a conditional random field. Returns notes on what was left out. Raises UserError
    if `out` exists or no family can hold the model.
    """
    recipe = source.recipe()
    if recipe.target_tokenizer is not None:
        raise UserError(
            f"{source.folder}: the model has two vocabularies, which no supported family of "
            "transformers can hold. Use `ptm generate` and `ptm evaluate` on the run itself."
        )
    recipe, notes = exported_recipe(recipe, without_crf=without_crf, folder=source.folder)
    tokenizer = recipe.tokenizer.load()
    family = family_for(recipe, tokenizer.vocabulary, source=str(source.folder))
    ours = source.tensors()
    embeds = isinstance(recipe.objective, EmbeddedTexts)
    body = _objective_of_body(family, recipe.objective)
    tensors = family.to_huggingface(ours, recipe.model, body)
    config = family.config(recipe.model, body, tokenizer.vocabulary)
    headless = embeds or not source.has_head(ours.keys())
    if headless:
        config, tensors = family.without_head(config, tensors)
    embedding = recipe.model.embedding
    longest = embedding.max_sequence_length or embedding.positions
    loader = "AutoModel" if headless else family.auto_class
    loader = "SentenceTransformer" if embeds else loader
    special_tokens = special_tokens_of(family, recipe.objective)
    card = model_card(recipe, source, name=out.name, loader=loader)
    with new_folder(out) as aside:
        write_json(aside / "config.json", config)
        if recipe.model.decoder is not None:
            generation = {key: config[key] for key in _GENERATION_KEYS if key in config}
            write_json(aside / "generation_config.json", generation)
        _write_weights(aside, tensors, weights_format)
        write_tokenizer(
            aside, tokenizer, positions=longest, config=config, special_tokens=special_tokens
        )
        if isinstance(recipe.objective, EmbeddedTexts):
            width, longest_one = recipe.model.encoder.hidden_size, longest_text(source)
            write_sentence_transformers(aside, recipe.objective, width=width, longest=longest_one)
        (aside / "recipe.yaml").write_text(exported_yaml(recipe), encoding="utf-8")
        (aside / "README.md").write_text(card, encoding="utf-8")
    return notes


def exported_recipe(
    recipe: ModelRecipe, *, without_crf: bool, folder: Path
) -> tuple[ModelRecipe, tuple[str, ...]]:
    """The recipe of the exported model, which may lack parts of the objective; a note for each."""
    objective = recipe.objective
    notes: tuple[str, ...] = ()
    if without_crf:
        if not getattr(objective, "crf", False):
            raise UserError(
                f"{folder}: --without-crf is for models with objective.crf = true. Remove it."
            )
        objective = objective.model_copy(update={"crf": False})
        notes = ("the transitions of the conditional random field are left out",)
    head = head_for(objective)
    if head is not None:
        objective, more = head.exported(objective)
        notes += more
    return recipe.model_copy(update={"objective": objective}), notes


def _objective_of_body(family: Family, objective: Objective) -> Objective:
    """The objective in whose place an export has the model: one of pretraining for embeddings."""
    embeds = isinstance(objective, EmbeddedTexts)
    return family.pretraining_objective() if embeds else objective


def special_tokens_of(family: Family, objective: Objective) -> SpecialTokens:
    """The special tokens that the tokenizer of an export adds around a text."""
    if isinstance(family, FamilyWithHead) or isinstance(objective, EmbeddedTexts):
        template = getattr(objective, "template", None)
        if not isinstance(template, Template):
            return SpecialTokens(*objective.boundary_roles, separators=1)
        start, end = objective.boundary_roles
        return SpecialTokens(
            start if template.start else None,
            end if template.end else None,
            separators=template.separators,
        )
    if family.causal:
        starts = "bos" in objective.special_roles
        return SpecialTokens(start="bos" if starts else None, end=None)
    if family.is_encoder_decoder:
        start, end = objective.boundary_roles
        return SpecialTokens(start=start, end=end)
    return SpecialTokens()


def _write_weights(folder: Path, tensors: Mapping[str, Tensor], weights_format: str) -> None:
    if weights_format == "safetensors":
        write_safetensors(folder / "model.safetensors", tensors, metadata={"format": "pt"})
    else:
        write_bin(folder / "pytorch_model.bin", tensors)


def model_card(recipe: ModelRecipe, source: ModelSource, *, name: str, loader: str) -> str:
    """The README.md of an export: how to load it, its origin, metrics and recipe."""
    head = head_for(recipe.objective) if loader not in _TASKS else None
    task, note = _TASKS[loader] if head is None else (head.pipeline_tag, head.note)
    embeds = loader == "SentenceTransformer"
    trained = "Fine-tuned" if embeds or head is not None else "Pretrained"
    library = "sentence-transformers" if embeds else "transformers"
    code = (
        f"from transformers import {loader}, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")\n'
        f'model = {loader}.from_pretrained("{name}")\n'
    )
    if embeds:
        code = (
            f"from sentence_transformers import {loader}\n\n"
            f'model = {loader}("{name}")\nembeddings = model.encode(["A text.", "Another one."])\n'
        )
    made = f"recipe `{recipe.name}`" if isinstance(recipe, Recipe) else "from imported weights"
    figures = source.provenance()
    rows = "\n".join(f"| {key} | {value} |" for key, value in figures.items())
    table = f"## Metrics\n\n| | |\n|---|---|\n{rows}\n\n" if rows else ""
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: {task}\n---\n\n# {name}\n\n"
        f"{trained} with ptm, {made} (objective `{recipe.objective.type}`, "
        f"{source.description()}).\n\n"
        f"```python\n{code}```\n\n"
        f"{note}\n\n"
        f"{table}## Recipe\n\nThe fields that differ from their defaults:\n\n"
        f"```yaml\n{differences_yaml(recipe)}```\n"
    )


def family_for(recipe: ModelRecipe, vocabulary: Vocabulary, *, source: str) -> Family:
    """The family as which a model is exported.

    Raises UserError with each family's reason if none can hold the model.
    """
    encoder = recipe.model.encoder
    if not encoder.has_attention:
        # UER-py has heads for tokens and for labels of texts.
        other = recipe.objective.predicts_tokens or recipe.objective.type == "classification"
        hint = " Use --to uer." if other else ""
        raise UserError(f"{source}: transformers has no models with encoder {encoder.type}.{hint}")
    reasons, fitting = [], []
    kind = (encoder.visibility == "causal", recipe.model.decoder is not None)
    head = head_for(recipe.objective)
    obstacle = None if head is None else head.obstacle(recipe.objective, vocabulary)
    if obstacle is not None:
        raise UserError(f"{source}: {obstacle}.")
    for known in families():
        family = known if head is None else FamilyWithHead(known, head)
        if family.import_only or (family.causal, family.is_encoder_decoder) != kind:
            continue
        body = _objective_of_body(family, recipe.objective)
        reason = family.unsupported_reason(recipe.model, body, vocabulary)
        if reason is None:
            fitting.append(family)
        else:
            reasons.append(f"{family.name}: {reason}")
    of_head = [reason for reason in reasons if f": {OBJECTIVE}." in reason]
    if not fitting and head is not None and of_head:
        raise UserError(
            f"{source}: the model has another head than those of transformers with such a body "
            f"({'; '.join(of_head)}). Train it with the options of one of them."
        )
    if not fitting:
        raise UserError(
            f"{source}: no supported family of transformers can hold the model "
            f"({'; '.join(reasons)})."
        )
    return max(fitting, key=lambda family: family.priority(recipe))
