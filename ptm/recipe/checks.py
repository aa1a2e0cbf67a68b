"""Rules between the parts of a recipe: what cannot learn or run is refused, with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ptm.embeddings import EmbeddingConfig
from ptm.recipe.blocks import Recipe, metric_key


@dataclass(frozen=True)
class Problem:
    """A sentence about the value at a dotted path."""

    path: str
    sentence: str


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Everything that can be said against a recipe whose parts are right in themselves."""
    yield from _objective_problems(recipe)
    yield from _data_problems(recipe)
    yield from _train_problems(recipe)
    yield from _pipeline_problems(recipe)


def _objective_problems(recipe: Recipe) -> Iterator[Problem]:
    objective, encoder = recipe.objective, recipe.model.encoder
    if encoder.visibility not in objective.visibilities:
        yield Problem(
            "objective.type",
            f'"{objective.type}" cannot learn on an encoder of {encoder.visibility} visibility; '
            f"it needs {' or '.join(objective.visibilities)}.",
        )
    if objective.needs_decoder != (recipe.model.decoder is not None):
        yield Problem(
            "model.decoder",
            f"is missing: objective.type = {objective.type} has a source and a target."
            if objective.needs_decoder
            else f"has nothing to do under objective.type = {objective.type}: leave it out.",
        )
    if recipe.data.layout not in objective.layouts:
        yield Problem(
            "data.layout",
            f'"{recipe.data.layout}" does not suit objective.type = {objective.type}, which reads '
            f"{' or '.join(objective.layouts)}.",
        )
    splits = recipe.data.sentence_splitting
    if objective.needs_sentences and recipe.data.layout == "documents" and not splits:
        yield Problem(
            "data.sentence_splitting",
            f"is false, but objective.type = {objective.type} is about sentences, and in the "
            "layout documents a line is a whole document: set it to true, or use the layout "
            "sentences for a corpus with a sentence a line.",
        )
    if recipe.data.sequence_length < objective.shortest_row:
        yield Problem(
            "data.sequence_length",
            f"{recipe.data.sequence_length} has no room for an example of objective.type = "
            f"{objective.type}: it must be at least {objective.shortest_row}.",
        )
    if objective.needs_word_starts and recipe.data.segmenter is None:
        yield Problem(
            "objective.masking",
            "whole words need data.segmenter: {type: jieba} for Chinese text, {type: space} for "
            "text whose words stand between spaces.",
        )


def _too_long(key: str, length: int, block: str, embedding: EmbeddingConfig) -> Iterator[Problem]:
    longest = embedding.longest_sequence
    if longest is not None and length > longest:
        offset = embedding.position_offset
        less = f" less position_offset = {offset}" if offset else ""
        yield Problem(
            f"data.{key}",
            f"{length} is longer than model.{block}.positions = {embedding.positions}{less}: "
            "shorten the one or raise the other.",
        )


def _data_problems(recipe: Recipe) -> Iterator[Problem]:
    data, embedding = recipe.data, recipe.model.embedding
    yield from _too_long("sequence_length", data.row_size.source, "embedding", embedding)
    if recipe.model.decoder is not None:
        yield from _too_long(
            "target_sequence_length",
            data.row_size.target,
            "target_embedding",
            recipe.model.decoder_embedding,
        )
    if "segment" in embedding.of and embedding.segments < recipe.objective.segments:
        yield Problem(
            "model.embedding.segments",
            f"{embedding.segments} is fewer than the {recipe.objective.segments} texts that an "
            f"example of objective.type = {recipe.objective.type} has.",
        )
    if data.packing and not recipe.model.encoder.separates_examples:
        yield Problem(
            "data.packing",
            f"an encoder of type {recipe.model.encoder.type} cannot keep the examples of a row "
            "apart: set packing: false.",
        )
    if data.sentence_splitting and data.layout != "documents":
        yield Problem(
            "data.sentence_splitting",
            f"is for the layout documents; in data.layout = {data.layout} the lines are what they "
            "are: leave it out.",
        )
    if not data.corpus_patterns:
        yield Problem("data.corpus", "is an empty list: name at least one file.")


def _pipeline_problems(recipe: Recipe) -> Iterator[Problem]:
    if recipe.engine.pipeline_stages == 1:
        return
    if recipe.objective.no_stages is not None:
        yield Problem(
            "engine.pipeline_stages",
            f"objective.type = {recipe.objective.type} cannot be cut into stages: "
            f"{recipe.objective.no_stages}. Set engine.pipeline_stages: 1.",
        )
    if recipe.optimizer.layer_decay is not None:
        yield Problem(
            "optimizer.layer_decay",
            "gives every layer a group of its own in the optimizer, and DeepSpeed's stages wait "
            "for each other group by group, also for layers they do not have: set "
            "engine.pipeline_stages: 1.",
        )


def _train_problems(recipe: Recipe) -> Iterator[Problem]:
    train, schedule = recipe.train, recipe.schedule
    if train.steps is not None and schedule.warmup_steps(train.steps) >= train.steps:
        yield Problem(
            "schedule.warmup",
            f"{schedule.warmup:g} is {schedule.warmup_steps(train.steps)} steps of warm-up, but "
            f"train.steps is {train.steps}: the full learning rate would never be reached.",
        )
    if schedule.warmup >= 1 and schedule.warmup != int(schedule.warmup):
        yield Problem(
            "schedule.warmup",
            f"{schedule.warmup:g} is neither a share (below 1) nor a whole number of steps.",
        )
    rules = {
        "train.early_stopping": train.early_stopping.metric if train.early_stopping else None,
        "checkpoint.best": recipe.checkpoint.best,
    }
    measured = ("loss", "perplexity", *(metric.name for metric in recipe.objective.metrics))
    sets = recipe.data.evaluation_names
    known = {metric_key(name, metric) for name in sets for metric in measured}
    for path, metric in rules.items():
        if metric is None:
            continue
        if not sets:
            yield Problem(path, "needs something to evaluate on: set data.held_out above 0.")
        elif metric not in known:
            key = path if path == "checkpoint.best" else f"{path}.metric"
            yield Problem(
                key,
                f'"{metric}" is not measured here; choose one of {", ".join(sorted(known))}.',
            )
