"""Rules between the blocks of a recipe: combinations that cannot learn or run are errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ptm.component import Config
from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders import Encoder, encoder_types
from ptm.components.objectives import Objective
from ptm.data.mixture import LONGEST_BLOCK, rows_per_block
from ptm.recipe.blocks import EngineBlock, Recipe
from ptm.recipe.data_block import DataBlock, metric_key
from ptm.recipe.model_block import ModelBlock
from ptm.recipe.model_recipe import Architecture, DataRecipe

_WITHOUT_WORDS = ("pairs", "triplets", "tagged", "questions", "choices")
"""Layouts whose objectives mask no words."""


@dataclass(frozen=True)
class Problem:
    """An error at a dotted path of the recipe."""

    path: str
    sentence: str


def problems(recipe: Config) -> Iterator[Problem]:
    """The errors of a recipe whose blocks are valid by themselves."""
    if isinstance(recipe, Architecture):
        yield from _model_problems(recipe)
    if isinstance(recipe, DataRecipe):
        yield from _layout_problems(recipe)
        yield from _data_problems(recipe)
        yield from _mixture_problems(recipe.data)
        yield from _pair_problems(recipe)
        yield from _target_problems(recipe)
    if isinstance(recipe, Recipe):
        if recipe.data.corpus == ():
            yield Problem("data.corpus", "is an empty list. Give at least one file.")
        yield from _train_problems(recipe)
        yield from _attention_problems(recipe.model, recipe.engine)
        yield from _pipeline_problems(recipe)


def _model_problems(recipe: Architecture) -> Iterator[Problem]:
    objective, encoder = recipe.objective, recipe.model.encoder
    yield from _visibility_problems(objective, encoder)
    for path, obstacle in objective.shape_obstacles(recipe.model.shape(vocabulary_size=1)):
        yield Problem(path, obstacle)
    attends = encoder.has_attention or recipe.model.decoder is not None
    if recipe.model.attention_dropout is not None and not attends:
        yield Problem(
            "model.attention_dropout",
            f"an encoder of type {encoder.type} has no attention. Remove attention_dropout.",
        )
    branches = encoder.residual_outputs() or recipe.model.decoder is not None
    if recipe.model.init.residual_scaling and not branches:
        yield Problem(
            "model.init.residual_scaling",
            f"an encoder of type {encoder.type} has no residual branches. Set "
            "residual_scaling: false.",
        )
    if objective.needs_decoder != (recipe.model.decoder is not None):
        yield Problem(
            "model.decoder",
            f"is missing: objective.type = {objective.type} has a source and a target, and the "
            "decoder reads the target. Add the block model.decoder."
            if objective.needs_decoder
            else f"is not used with objective.type = {objective.type}{_without(objective)}. Remove "
            "it.",
        )


def _without(objective: Objective) -> str:
    """The key that an objective lacks to use a decoder, for a message."""
    has_key = "decoder_start" in type(objective).model_fields
    return " without objective.decoder_start" if has_key else ""


def _visibility_problems(objective: Objective, encoder: Encoder) -> Iterator[Problem]:
    if objective.needs_separate_directions and not encoder.separate_directions:
        types = [name for name, one in encoder_types().items() if one.separate_directions]
        reason = (
            "reads from left to right only"
            if encoder.visibility == "causal"
            else "reads both directions in every layer, so it sees the tokens to predict"
        )
        yield Problem(
            "objective.type",
            f'"{objective.type}" needs a separate stream of layers for each direction '
            f"(model.encoder.type: {' or '.join(types)}), but model.encoder.type = {encoder.type} "
            f"{reason}.",
        )
    elif encoder.visibility not in objective.visibilities:
        leak = ", so the encoder sees the tokens to predict" if encoder.visibility == "full" else ""
        other = (
            f" model.encoder.type = {encoder.type} always reads both directions. Set "
            "objective.type: bilm to predict from each of them."
            if encoder.separate_directions
            else ""
        )
        if "bidirectional" in type(encoder).model_fields and "full" in objective.visibilities:
            other = " Set model.encoder.bidirectional: true."
        yield Problem(
            "objective.type",
            f'"{objective.type}" needs model.encoder.visibility: '
            f"{' or '.join(objective.visibilities)}, but the visibility is "
            f"{encoder.visibility}{leak}.{other}",
        )
    elif (obstacle := objective.visibility_obstacle(encoder.visibility)) is not None:
        yield Problem("objective", obstacle)


def _layouts_of(objective: Objective) -> str:
    """The key that decides which layouts an objective reads, with its value."""
    key = objective.layouts_depend_on
    chosen = "" if key is None else f" with objective.{key} = {getattr(objective, key)}"
    return f"objective.type = {objective.type}{chosen}"


def _layout_problems(recipe: DataRecipe) -> Iterator[Problem]:
    objective = recipe.objective
    if recipe.data.layout not in objective.layouts:
        yield Problem(
            "data.layout",
            f'"{recipe.data.layout}" is not supported by {_layouts_of(objective)}. '
            f"Supported: {' or '.join(objective.layouts)}.",
        )
    splits = recipe.data.sentence_splitting
    if objective.needs_sentences and recipe.data.layout == "documents" and not splits:
        yield Problem(
            "data.sentence_splitting",
            f"is false, but objective.type = {objective.type} needs sentences, and with "
            "data.layout = documents each line is a whole document. Set data.sentence_splitting: "
            "true, or data.layout: sentences for a corpus with one sentence per line.",
        )
    if recipe.data.sequence_length < objective.min_sequence_length:
        yield Problem(
            "data.sequence_length",
            f"{recipe.data.sequence_length} is too short for objective.type = {objective.type}. "
            f"Set {objective.min_sequence_length} or more.",
        )
    else:
        obstacle = objective.row_obstacle(recipe.data.row_size)
        if obstacle is not None:
            yield Problem("data.sequence_length", obstacle)
    if objective.needs_word_starts and recipe.data.segmenter is None:
        yield Problem(
            "objective.masking",
            "masks whole words, which needs data.segmenter. Set data.segmenter: {type: jieba} "
            "for Chinese text, {type: space} for text with spaces between words.",
        )


def _pair_problems(recipe: DataRecipe) -> Iterator[Problem]:
    layout = recipe.data.layout
    if recipe.target_tokenizer is not None and layout != "pairs":
        yield Problem(
            "target_tokenizer",
            f"is used only with data.layout = pairs, but the layout is {layout}. Remove it.",
        )
    elif recipe.target_tokenizer is not None and not recipe.objective.needs_decoder:
        yield Problem(
            "target_tokenizer",
            f"cannot be used with objective.type = {recipe.objective.type}, which reads source "
            "and target as one text with one vocabulary. Remove it.",
        )
    if recipe.data.segmenter is not None and layout in _WITHOUT_WORDS:
        yield Problem(
            "data.segmenter",
            f"is used only to mask whole words, but no objective with data.layout = {layout} masks "
            "tokens. Remove it.",
        )


def _target_problems(recipe: DataRecipe) -> Iterator[Problem]:
    """Errors of the target and the decoder."""
    data, model = recipe.data, recipe.model
    if not recipe.objective.needs_decoder:
        if data.target_sequence_length is not None:
            yield Problem(
                "data.target_sequence_length",
                f"is used only with a decoder, and objective.type = {recipe.objective.type} has "
                "no decoder. Remove it.",
            )
        return
    if model.decoder is None:
        return
    embedding = model.decoder_embedding
    if recipe.target_tokenizer is not None and embedding.shared:
        yield Problem(
            "model.target_embedding",
            "shares the word vectors of model.embedding, but target_tokenizer has another "
            "vocabulary. Set model.target_embedding.shared: false.",
        )
    key = "target_sequence_length" if data.target_sequence_length else "sequence_length"
    table = "target_embedding" if model.target_embedding else "embedding"
    if (key, table) != ("sequence_length", "embedding"):
        yield from _too_long(f"data.{key}", data.row_size.target, embedding, f"model.{table}")


def _too_long(key: str, length: int, embedding: EmbeddingConfig, table: str) -> Iterator[Problem]:
    longest = embedding.max_sequence_length
    if longest is not None and length > longest:
        offset = embedding.position_offset
        less = f" minus position_offset = {offset}" if offset else ""
        yield Problem(
            key,
            f"{length} is longer than {table}.positions = {embedding.positions}{less}. Reduce "
            f"{key} or raise {table}.positions.",
        )


def _data_problems(recipe: DataRecipe) -> Iterator[Problem]:
    data, embedding = recipe.data, recipe.model.embedding
    yield from _too_long("data.sequence_length", data.sequence_length, embedding, "model.embedding")
    if "segment" in embedding.parts and embedding.segments < recipe.objective.segments:
        yield Problem(
            "model.embedding.segments",
            f"{embedding.segments} is less than the {recipe.objective.segments} segments of an "
            f"example of objective.type = {recipe.objective.type}. Set "
            f"{recipe.objective.segments} or more.",
        )
    if data.packing and not recipe.model.encoder.supports_packing:
        yield Problem(
            "data.packing",
            f"an encoder of type {recipe.model.encoder.type} cannot keep packed examples apart. "
            "Set data.packing: false.",
        )
    if data.sentence_splitting and data.layout != "documents":
        yield Problem(
            "data.sentence_splitting",
            f"is used only with data.layout = documents, but the layout is {data.layout}. Remove "
            "it.",
        )


def _mixture_problems(data: DataBlock) -> Iterator[Problem]:
    if data.corpus == {}:
        yield Problem("data.corpus", "has no sources. Give at least one.")
    elif not data.sources and data.exhaustion is not None:
        yield Problem(
            "data.exhaustion",
            "is used only if data.corpus has named sources. Remove it.",
        )
    elif data.sources:
        weights = [source.weight for source in data.sources.values()]
        for name, weight, rows in zip(data.sources, weights, rows_per_block(weights), strict=True):
            if not rows:
                yield Problem(
                    f"data.corpus.{name}.weight",
                    f"{weight:g} is too small: the share of a source is at least 1 / "
                    f"{LONGEST_BLOCK:,} of all rows. Raise it, or remove the source.",
                )


def _attention_problems(model: ModelBlock, engine: EngineBlock) -> Iterator[Problem]:
    if engine.attention in ("auto", "sdpa"):
        return
    if not model.encoder.has_attention:
        yield Problem(
            "engine.attention",
            f"{engine.attention} is a kernel of self-attention, which an encoder of type "
            f"{model.encoder.type} does not have. Set engine.attention: auto.",
        )
        return
    if engine.attention == "varlen" and engine.precision == "fp32":
        yield Problem(
            "engine.attention",
            "varlen computes in half precision only, but engine.precision = fp32. Set "
            "engine.precision: bf16 or engine.attention: auto.",
        )
    dropout = model.dropout if model.attention_dropout is None else model.attention_dropout
    if engine.attention == "flex" and dropout > 0:
        yield Problem(
            "engine.attention",
            f"flex does not support dropout of attention weights, which is {dropout:g}. Set "
            "model.attention_dropout: 0.0 or engine.attention: auto.",
        )
    if getattr(model.encoder, "residual_attention", False):
        yield Problem(
            "engine.attention",
            f"{engine.attention} does not return attention scores, which "
            "model.encoder.residual_attention needs. Set engine.attention: auto.",
        )


def _pipeline_problems(recipe: Recipe) -> Iterator[Problem]:
    if recipe.engine.pipeline_stages == 1:
        return
    if recipe.objective.pipeline_obstacle is not None:
        yield Problem(
            "engine.pipeline_stages",
            f"objective.type = {recipe.objective.type} does not support pipeline stages: "
            f"{recipe.objective.pipeline_obstacle}. Set engine.pipeline_stages: 1.",
        )
    if recipe.optimizer.needs_whole_parameters:
        yield Problem(
            "engine.pipeline_stages",
            f"{recipe.engine.pipeline_stages} stages run with ZeRO 1, which flattens parameters, "
            f"but optimizer.type = {recipe.optimizer.type} needs whole matrices. Set "
            "engine.pipeline_stages: 1 and engine.deepspeed: zero0, or optimizer.type: adamw.",
        )


def _train_problems(recipe: Recipe) -> Iterator[Problem]:
    train, schedule = recipe.train, recipe.schedule
    if recipe.adapter is not None and recipe.init_from is None:
        yield Problem(
            "adapter",
            "leaves all other weights of the layers as they are, which without init_from are "
            "random numbers. Set init_from, or remove adapter.",
        )
    shape = recipe.model.shape(vocabulary_size=1)
    for path, obstacle in recipe.objective.training_obstacles(
        dropout=max(shape.dropout, shape.attention_dropout),
        rows=train.global_batch_size,
        layout=recipe.data.layout,
    ):
        yield Problem(path, obstacle)
    if train.steps is not None and schedule.warmup_steps(train.steps) >= train.steps:
        yield Problem(
            "schedule.warmup",
            f"{schedule.warmup:g} is {schedule.warmup_steps(train.steps)} steps of warm-up, but "
            f"train.steps is {train.steps}, so the full learning rate is never reached. Shorten "
            "the warm-up.",
        )
    elif train.steps is not None:
        warmup, decay = schedule.warmup_steps(train.steps), schedule.decay_steps(train.steps)
        if warmup + decay > train.steps:
            yield Problem(
                "schedule.decay",
                f"{decay} steps of decay and {warmup} of warm-up are more than train.steps = "
                f"{train.steps}. Shorten one of them.",
            )
    if schedule.warmup >= 1 and schedule.warmup != int(schedule.warmup):
        yield Problem(
            "schedule.warmup",
            f"{schedule.warmup:g} is neither a share of all steps (below 1) nor a whole number of "
            "steps.",
        )
    rules = {
        "train.early_stopping": train.early_stopping.metric if train.early_stopping else None,
        "checkpoint.best": recipe.checkpoint.best,
    }
    measured = recipe.objective.evaluation_names
    sets = recipe.data.training_evaluation_names
    known = {metric_key(name, metric) for name in sets for metric in measured}
    for path, metric in rules.items():
        if metric is None:
            continue
        if not sets:
            yield Problem(
                path,
                "needs an evaluation set. Set data.held_out above 0, or data.evaluation with a set "
                "that is evaluated during training.",
            )
        elif metric not in known:
            key = path if path == "checkpoint.best" else f"{path}.metric"
            name = metric.rpartition("/")[0]
            if name in set(recipe.data.evaluation_names) - set(sets):
                yield Problem(
                    key,
                    f'"{metric}" is not measured during training: data.evaluation.{name} has '
                    "during_training: false. Choose a metric of another set.",
                )
                continue
            yield Problem(
                key,
                f'"{metric}" is not a metric of this recipe. Choose one of: '
                f"{', '.join(sorted(known))}.",
            )
