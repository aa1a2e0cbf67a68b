"""Teacher models of a distillation: loading, compatibility checks and targets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ptm.components.objectives import Objective
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel, loaded_model
from ptm.recipe import DataRecipe, ModelRecipe
from ptm.recipe.input_files import naming, teacher_key
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import first_difference

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Teachers:
    """The teachers, whole on every rank, frozen and in evaluation mode."""

    def __init__(
        self, objective: Objective, models: Sequence[PlainModel], fingerprints: Sequence[str]
    ) -> None:
        self._objective = objective
        self.models = tuple(model.eval().requires_grad_(False) for model in models)
        self.fingerprints = tuple(fingerprints)
        """One hash of the weights per teacher: the same for a run and its export."""

    def prepare(self, device: torch.device, precision: str) -> None:
        """Move the models to the student's device and precision."""
        for model in self.models:
            model.to(device, _DTYPES[precision])

    def targets(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the objective's teacher targets for a micro-batch on the device."""
        # no_grad, not inference_mode: autograd cannot save inference tensors for the student.
        with torch.no_grad():
            return self._objective.teacher_targets([model(tensors) for model in self.models])


def open_teachers(recipe: DataRecipe, tokenizer: Tokenizer) -> Teachers | None:
    """Load the recipe's teachers; None if it has none.

    Raises UserError if a teacher does not fit the recipe or cannot be loaded.
    """
    objective = recipe.objective
    if not objective.teacher_sources:
        return None
    models, fingerprints = [], []
    for path in objective.teacher_sources:
        theirs = compatible_teacher_recipe(path, recipe, tokenizer)
        head = theirs.objective.head  # type: ignore[attr-defined]
        plan = build_plan(
            theirs.model,
            objective.model_copy(update={"head": head}),
            vocabulary_size=tokenizer.vocabulary.size,
        )
        weights = open_source(path).tensors()
        try:
            models.append(loaded_model(plan, weights, source=path))
        except UserError as error:
            raise UserError(f"objective.teacher: {error}") from error
        fingerprints.append(_fingerprint(weights))
    return Teachers(objective, models, fingerprints)


def compatible_teacher_recipe(path: str, recipe: DataRecipe, tokenizer: Tokenizer) -> ModelRecipe:
    """Return the recipe of the teacher at `path`. Raises UserError if it does not fit `recipe`."""
    with naming(recipe, teacher_key(recipe)):
        theirs = open_source(path).recipe()
        vocabulary = theirs.tokenizer.load().vocabulary
    if vocabulary.tokens != tokenizer.vocabulary.tokens:
        raise UserError(
            f"objective.teacher: {path}: the teacher's vocabulary differs from "
            f"{tokenizer.config.source} "
            f"({first_difference(vocabulary.tokens, tokenizer.vocabulary.tokens)}), so the teacher "
            "predicts other tokens. Use the teacher's vocabulary in this recipe."
        )
    for problem in _incompatibilities(theirs, recipe, size=tokenizer.vocabulary.size):
        raise UserError(f"objective.teacher: {path}: {problem}")
    return theirs


def _incompatibilities(theirs: ModelRecipe, recipe: DataRecipe, *, size: int) -> Iterator[str]:
    objective, embedding = recipe.objective, theirs.model.embedding
    if not isinstance(getattr(theirs.objective, "head", None), MlmHead):
        yield (
            f"the teacher was trained with objective {theirs.objective.type} and has no head that "
            "predicts masked tokens. Give a teacher with a masked-token head."
        )
    if theirs.model.encoder.visibility not in objective.visibilities:
        yield (
            f"the teacher's encoder has {theirs.model.encoder.visibility} visibility, but "
            f"objective {objective.type} needs {' or '.join(objective.visibilities)} visibility."
        )
    if recipe.data.packing and not theirs.model.encoder.supports_packing:
        yield (
            "the teacher's encoder cannot separate the examples of a packed row. "
            "Set data.packing: false."
        )
    rows, their_rows = (one.model.shape(size).vocabulary_size for one in (recipe, theirs))
    if rows != their_rows:
        yield (
            f"the teacher's output layer has {their_rows} rows, but the student's has {rows}. Set "
            f"model.embedding.rows: {their_rows}."
        )
    longest = embedding.max_sequence_length
    if longest is not None and longest < recipe.data.sequence_length:
        yield (
            f"the teacher has {longest} positions, but data.sequence_length = "
            f"{recipe.data.sequence_length}. Lower data.sequence_length."
        )
    here, there = recipe.model.encoder.hidden_size, theirs.model.encoder.hidden_size
    if objective.compares_hidden_states and here != there:
        yield (
            f"the teacher's hidden size is {there}, but the student's is {here} "
            "(model.encoder.hidden_size), so the cosine loss is undefined. Make the sizes equal, "
            "or set objective.weights.cosine: 0."
        )


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
