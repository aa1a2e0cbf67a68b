"""The blocks of a recipe, as pydantic reads them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ptm.component import (
    Config,
    Listed,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from ptm.components.optimizers import AnyOptimizer
from ptm.components.schedules import AnySchedule
from ptm.recipe.model_recipe import BatchBlock, DataRecipe

Paths = Annotated[tuple[str, ...], Listed]


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


class TrainingLength(Config):
    """How long a training is."""

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and only one of them")
        return self


class TrainBlock(BatchBlock, TrainingLength):
    """How long, and in what portions."""

    global_batch_size: PositiveInt
    micro_batch_size: PositiveInt
    gradient_clipping: NonNegativeFloat = 1.0
    """Largest gradient norm; 0: no clipping."""
    freeze: Paths = ()
    """Patterns of canonical names (`encoder_0[0-5]*`): parameters that keep their first value."""
    early_stopping: EarlyStopping | None = None
    anomalies: AnomalyBlock = AnomalyBlock()
    wall_time_hours: PositiveFloat | None = None
    """After this long in one start: save and exit 75, to be continued."""


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


class Recipe(DataRecipe):
    """One training, from text to model."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    runs_dir: str = "runs"
    init_from: str | InitFrom | None = None
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
