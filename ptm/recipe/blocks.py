"""The blocks of a recipe, as pydantic reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ptm.component import (
    Config,
    Listed,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from ptm.data.packing import RowSize
from ptm.decoders import AnyDecoder, Decoder
from ptm.embeddings import EmbeddingConfig, TargetEmbeddingConfig
from ptm.encoders import AnyEncoder, Encoder
from ptm.nn.shape import WORD_KEY, ModelShape
from ptm.objectives import AnyObjective
from ptm.optimizers import AnyOptimizer
from ptm.schedules import AnySchedule
from ptm.text.corpus import Layout
from ptm.text.segmenters import AnySegmenter
from ptm.text.tokenizers import AnyTokenizer

Paths = Annotated[tuple[str, ...], Listed]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


EVAL = "eval"
"""The evaluation set that is held out of the training's own store."""
_TAKEN = (EVAL, "train", "perf")


def metric_key(evaluation: str, metric: str) -> str:
    """`loss` of what is held out, `news/loss` of the set `news`."""
    return metric if evaluation == EVAL else f"{evaluation}/{metric}"


class CorpusBlock(Config):
    """Text, and what becomes of it."""

    corpus: str | Paths
    """A path, a glob or a list of them; plain text, .gz, .xz or .zst."""
    store: str
    """The folder that `ptm preprocess` writes and training and evaluation read."""

    @property
    def corpus_patterns(self) -> tuple[str, ...]:
        """The corpus as a list of paths and globs."""
        return (self.corpus,) if isinstance(self.corpus, str) else self.corpus


class DataBlock(CorpusBlock):
    """What is read."""

    layout: Layout
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the distinct documents kept for evaluation."""
    evaluation: dict[SetName, CorpusBlock] | None = None
    """Further corpora to evaluate on, each whole, by name."""
    sequence_length: Annotated[int, Field(ge=4)]
    target_sequence_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens of a row on the decoder's side; as sequence_length if left out."""
    packing: bool = True
    """Whether several short examples share a row."""
    sentence_splitting: bool = False
    """Whether `ptm preprocess` splits the lines of the layout `documents` into sentences."""
    segmenter: AnySegmenter | None = None
    """Finds words on the text; needed for whole-word masking."""
    workers: NonNegativeInt = 0
    """Processes of `ptm preprocess`; 0: one a core."""

    @model_validator(mode="after")
    def _names_are_free(self) -> DataBlock:
        taken = sorted(set(self.evaluation or ()) & set(_TAKEN))
        if taken:
            raise ValueError(
                f'evaluation.{taken[0]}: "{taken[0]}" has a meaning of its own in reports; choose '
                "another name"
            )
        return self

    @model_validator(mode="after")
    def _stores_are_apart(self) -> DataBlock:
        stores = {self.store: "data.store"}
        for name, block in (self.evaluation or {}).items():
            if block.store in stores:
                raise ValueError(
                    f'evaluation.{name}.store: "{block.store}" is that of {stores[block.store]} '
                    "already: name another folder"
                )
            stores[block.store] = f"data.evaluation.{name}"
        return self

    @property
    def row_size(self) -> RowSize:
        """Tokens of a row on both sides."""
        return RowSize(self.sequence_length, self.target_sequence_length or self.sequence_length)

    @property
    def corpora(self) -> dict[str, CorpusBlock]:
        """Everything that is preprocessed, by the key of the recipe it stands under."""
        named = (self.evaluation or {}).items()
        return {"data": self, **{f"data.evaluation.{name}": block for name, block in named}}

    @property
    def evaluation_names(self) -> tuple[str, ...]:
        """All sets that are evaluated: what is held out, and the named ones."""
        return ((EVAL,) if self.held_out > 0 else ()) + tuple(self.evaluation or ())


class InitBlock(Config):
    """How weights begin: N(0, std); biases 0, norms 1 and 0."""

    std: PositiveFloat = 0.02
    embedding_std: PositiveFloat | None = None
    """Of word embeddings; as `std` if left out."""
    residual_scaling: bool = False
    """Divide the std of what writes into the residual stream by the root of its branches."""


class ModelBlock(Config):
    """What is trained."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Of attention weights; as `dropout` if left out."""
    embedding: EmbeddingConfig = EmbeddingConfig()
    encoder: AnyEncoder
    target_embedding: TargetEmbeddingConfig | None = None
    """Of the decoder; with a decoder and left out, as `embedding`, with the same word vectors."""
    decoder: AnyDecoder | None = None
    """Reads the encoder's output, for objectives that have a source and a target."""
    init: InitBlock = InitBlock()

    @model_validator(mode="after")
    def _sides_fit(self) -> ModelBlock:
        if self.decoder is None:
            if self.target_embedding is not None:
                raise ValueError(
                    "target_embedding is a decoder's: set decoder too, or leave it out"
                )
            return self
        here, there = self.encoder.hidden_size, self.decoder.hidden_size
        if here != there:
            raise ValueError(
                f"decoder.hidden_size = {there} differs from encoder.hidden_size = {here}, which "
                "the decoder reads: make them equal"
            )
        target = self.decoder_embedding
        if target.shared and target.size not in (self.embedding.size, None):
            raise ValueError(
                f"target_embedding.size = {target.size} differs from embedding.size = "
                f"{self.embedding.size}, with which it shares its word vectors: leave it out, or "
                "set target_embedding.shared: false"
            )
        return self

    @property
    def decoder_embedding(self) -> TargetEmbeddingConfig:
        """`target_embedding`, also where it is left out."""
        if self.target_embedding is not None:
            return self.target_embedding
        given = {name: getattr(self.embedding, name) for name in self.embedding.model_fields_set}
        return TargetEmbeddingConfig(**given)

    def shape(self, vocabulary_size: int) -> ModelShape:
        """The sizes that embedding, encoder and head share."""
        return self._shape(vocabulary_size, self.embedding, self.encoder)

    def target_shape(self, vocabulary_size: int) -> ModelShape:
        """The sizes that the decoder, its embedding and the head share."""
        assert self.decoder is not None, "there is no decoder"
        target = self.decoder_embedding
        shape = self._shape(vocabulary_size, target, self.decoder)
        if target.shared:
            return replace(shape, embedding_size=self.shape(vocabulary_size).embedding_size)
        return replace(shape, word_key=f"target_{WORD_KEY}")

    def _shape(
        self, vocabulary_size: int, embedding: EmbeddingConfig, stack: Encoder | Decoder
    ) -> ModelShape:
        attention_dropout = self.attention_dropout
        return ModelShape(
            vocabulary_size=vocabulary_size,
            embedding_size=embedding.size or stack.hidden_size,
            hidden_size=stack.hidden_size,
            positions=embedding.positions,
            dropout=self.dropout,
            attention_dropout=self.dropout if attention_dropout is None else attention_dropout,
            activation=stack.activation_name,
            norm_epsilon=stack.epsilon,
            norm_kind=stack.norm_kind,
            bias=stack.has_biases,
        )


class EarlyStopping(Config):
    """End the training when a held-out metric no longer gets better."""

    metric: str = "loss"
    """A metric of the evaluation; `…accuracy` is better when higher, all others when lower."""
    patience: PositiveInt = 3
    """Evaluations in a row without a better value."""
    minimum_change: NonNegativeFloat = 0.0


class AnomalyBlock(Config):
    """What happens to steps whose loss or gradient is not finite, or far above the steps before."""

    policy: Literal["stop", "skip", "rollback"] = "stop"
    """stop: end the training; skip: go on without the step; rollback: go on from the checkpoint
    before with the data after it."""
    sigmas: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """A spike: this many standard deviations above the mean of the window; none: no spikes."""
    window: Annotated[int, Field(ge=4, le=100_000)] = 100
    """Steps before it that a step is compared with."""
    limit: PositiveInt = 10
    """More anomalies than this in a run end it under any policy."""
    text: bool = False
    """Whether events.jsonl has the texts of the batch, and not their numbers alone."""


class TrainBlock(Config):
    """How long, and in what portions."""

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    global_batch_size: PositiveInt
    """Rows a step, over all ranks."""
    micro_batch_size: PositiveInt
    """The most rows a rank holds at once; accumulation follows from it."""
    gradient_clipping: NonNegativeFloat = 1.0
    """Largest gradient norm; 0: no clipping."""
    freeze: Paths = ()
    """Patterns of canonical names (`encoder_0[0-5]*`): parameters that keep their first value."""
    early_stopping: EarlyStopping | None = None
    anomalies: AnomalyBlock = AnomalyBlock()
    wall_time_hours: PositiveFloat | None = None
    """After this long in one start: save and exit 75, to be continued."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainBlock:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and only one of them")
        return self


class LossScaleBlock(Config):
    """How fp16's dynamic loss scale moves (Micikevicius et al. 2017, section 3.2)."""

    initial_power: Annotated[int, Field(ge=0, le=32)] = 16
    """It begins at two to the power of this."""
    window: PositiveInt = 1000
    """Steps without overflow after which it doubles."""
    hysteresis: PositiveInt = 2
    """Overflows before it is halved (at ZeRO 0: always one)."""
    minimum: PositiveInt = 1
    """Its floor: a training whose gradients overflow even there is ended, with a sentence."""

    @model_validator(mode="after")
    def _begins_above_its_floor(self) -> LossScaleBlock:
        if self.minimum > 2**self.initial_power:
            raise ValueError(
                f"minimum = {self.minimum} is above the beginning, 2 to the power of "
                f"initial_power = {self.initial_power}"
            )
        return self


class EngineBlock(Config):
    """What runs it."""

    deepspeed: str = "zero1"
    """`NAME` for ds_configs/NAME.json of the project, else the path of a JSON file."""
    backend: Literal["auto", "nccl", "gloo"] = "auto"
    """What ranks talk over; auto: NCCL where there are GPUs, else gloo."""
    timeout_minutes: Annotated[float, Field(gt=0, le=100_000)] = 30
    """How long ranks wait for one that does not answer before all give up."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    loss_scale: LossScaleBlock = LossScaleBlock()
    pipeline_stages: PositiveInt = 1
    """Parts the model is cut into, each on ranks of its own."""
    attention: Literal["sdpa", "flex"] = "sdpa"
    """flex: torch's FlexAttention, which leaves out blocks of a row that nobody may see and has no
    tensor of all scores; on GPUs, without dropout of attention weights."""
    activation_checkpointing: bool = False
    """Keep the inputs of each layer alone and compute the rest again in the backward pass."""

    def __str__(self) -> str:
        recomputed = ", activations recomputed" if self.activation_checkpointing else ""
        return f"{self.deepspeed} in {self.precision}{recomputed}"


class CheckpointBlock(Config):
    """What is kept."""

    every: PositiveInt = 1000
    """Steps between two checkpoints; the end of a run is always kept."""
    keep: PositiveInt = 3
    """How many of the newest stay."""
    keep_every: PositiveInt | None = None
    """Besides, those whose step is a multiple of this stay for good."""
    best: str | None = None
    """A held-out metric: the checkpoint where it was best is saved and stays."""
    write_behind: bool = True
    """Copy what is saved to host memory and write it while training goes on."""
    node_local: bool = False
    """Whether runs_dir is a disk of its own on every host, instead of one that all share."""


class WandbBlock(Config):
    """Weights & Biases: online where the user has logged in, offline otherwise."""

    project: str = "ptm"
    entity: str | None = None


class TrackingBlock(Config):
    """What is told."""

    report_every: PositiveInt = 100
    evaluate_every: PositiveInt = 1000
    """Steps between two evaluations; the end of a run is always evaluated."""
    wandb: WandbBlock | None = None
    tensorboard: bool = False


class InitFrom(Config):
    """The weights to begin with, and which layers of their encoder become this one's."""

    source: str
    """A run, an export or an import."""
    every: PositiveInt | None = None
    """Take every n-th layer, from the first on."""
    layers: Annotated[tuple[NonNegativeInt, ...], Listed] = ()
    """Take these, counted from 0: the first of them becomes layer 0, and so on."""

    @model_validator(mode="after")
    def _one_choice(self) -> InitFrom:
        if self.every is not None and self.layers:
            raise ValueError("give either every or layers, not both")
        return self


class Recipe(Config):
    """One training, from text to model."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    runs_dir: str = "runs"
    seed: NonNegativeInt = 7
    init_from: str | InitFrom | None = None
    tokenizer: AnyTokenizer
    target_tokenizer: AnyTokenizer | None = None
    """Of the target, where it is not the source's (translation)."""
    data: DataBlock
    model: ModelBlock
    objective: AnyObjective
    optimizer: AnyOptimizer
    schedule: AnySchedule
    train: TrainBlock
    engine: EngineBlock = EngineBlock()
    checkpoint: CheckpointBlock = CheckpointBlock()
    tracking: TrackingBlock = TrackingBlock()

    @property
    def start(self) -> InitFrom | None:
        """`init_from`, also where it is only a path."""
        return (
            InitFrom(source=self.init_from) if isinstance(self.init_from, str) else self.init_from
        )

    @field_validator("runs_dir")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("must name a folder")
        return value
