"""The blocks of a recipe that only training needs, and the whole recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from ptm.component import (
    Config,
    Listed,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from ptm.components.adapters import AnyAdapter
from ptm.components.optimizers import AnyOptimizer
from ptm.components.schedules import AnySchedule
from ptm.limits import MOST_STAGES
from ptm.recipe.model_recipe import BatchBlock, DataRecipe
from ptm.recipe.origin import RecipeOrigin
from ptm.recipe.tracking import TrackingBlock
from ptm.validation import text_of

Paths = Annotated[tuple[str, ...], Listed]


class EarlyStopping(Config):
    """Ends the training when a held-out metric has stopped improving."""

    metric: str = "loss"
    """A metric of the evaluation: `loss`, `mlm_accuracy`, or `news/loss` for the set `news`."""
    patience: PositiveInt = 3
    """The number of consecutive evaluations without an improvement after which training ends."""
    min_delta: NonNegativeFloat = 0.0
    """The smallest change that counts as an improvement."""


class AnomalyBlock(Config):
    """The reaction to a loss or gradient norm that is not finite, or that spikes."""

    policy: Literal["stop", "skip", "rollback"] = "stop"
    """stop: end the training. skip: drop the update and continue. rollback: load the last
    checkpoint and continue with the data after the anomaly."""
    sigmas: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """A value this many standard deviations above the mean of the window is a spike; none: spikes
    are not detected."""
    window: Annotated[int, Field(ge=4, le=100_000)] = 100
    """The number of preceding steps that a step is compared with."""
    limit: PositiveInt = 10
    """A run with more anomalies than this ends, whatever the policy."""
    record_text: bool = False
    """Whether events.jsonl holds the texts of the batch besides the numbers of its examples."""


class ProfileBlock(Config):
    """The steps whose time and memory are recorded in `profile/` of the run folder, on rank 0."""

    start: PositiveInt = 10
    """The first of these steps; earlier ones warm up."""
    steps: Annotated[int, Field(gt=0, le=100)] = 4
    """Their number."""


class TrainingLength(Config):
    """The length of a training: steps or epochs."""

    steps: PositiveInt | None = None
    """Optimizer steps. Give either `steps` or `epochs`."""
    epochs: PositiveFloat | None = None
    """Passes over the data; steps per epoch follow from the rows of the store."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is None and self.epochs is None:
            raise ValueError("set exactly one of steps and epochs; neither is set")
        if self.steps is not None and self.epochs is not None:
            raise ValueError(
                "set exactly one of steps and epochs; both are set. train.epochs=null keeps steps "
                f"= {self.steps}, and train.steps=null keeps epochs = {self.epochs:g}"
            )
        return self


class TrainBlock(BatchBlock, TrainingLength):
    """Training length, batch sizes, clipping and what ends or guards a training."""

    global_batch_size: PositiveInt
    """Rows per step over all ranks."""
    gradient_clipping: NonNegativeFloat = 1.0
    """Maximum norm of the gradient; 0: no clipping."""
    freeze: Paths = ()
    """Patterns of canonical parameter names (`encoder_0[0-5]*`). Parameters that match keep their
    initial value."""
    early_stopping: EarlyStopping | None = None
    """Early stopping on a held-out metric; none: train to the end."""
    anomalies: AnomalyBlock = AnomalyBlock()
    profile: ProfileBlock | None = None
    """Profile some steps with torch's profiler (`ptm profile` prints the result); none: do not."""
    wall_time_hours: PositiveFloat | None = None
    """Time limit of one start of the run, in hours. The run then saves a checkpoint and exits with
    75; the same command resumes it."""


class LossScaleBlock(Config):
    """The dynamic loss scale of fp16 (Micikevicius et al. 2017, section 3.2)."""

    initial_power: Annotated[int, Field(ge=0, le=32)] = 16
    """The initial scale is two to the power of this."""
    window: PositiveInt = 1000
    """The scale doubles after this many steps without overflow."""
    hysteresis: PositiveInt = 2
    """The scale is halved after this many overflows (with ZeRO 0: after each)."""
    minimum: PositiveInt = 1
    """The smallest scale. A training whose gradients overflow even there ends with an error."""

    @model_validator(mode="after")
    def _check_minimum(self) -> LossScaleBlock:
        if self.minimum > 2**self.initial_power:
            raise ValueError(
                f"minimum = {self.minimum} is above the initial scale, 2 to the power of "
                f"initial_power = {self.initial_power}. Lower minimum or raise initial_power."
            )
        return self


class EngineBlock(Config):
    """DeepSpeed config, precision, pipeline stages and communication."""

    deepspeed: str = "zero1"
    """`NAME` for ds_configs/NAME.json of the project, otherwise the path of a JSON file."""
    backend: Literal["auto", "nccl", "gloo"] = "auto"
    """The communication backend; auto: NCCL with GPUs, otherwise gloo."""
    timeout_minutes: Annotated[float, Field(gt=0, le=100_000)] = 30
    """How long ranks wait in a collective call before all of them fail."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the computation. Master weights and optimizer states are fp32."""
    loss_scale: LossScaleBlock = LossScaleBlock()
    """The loss scale, used only with fp16."""
    pipeline_stages: Annotated[int, Field(gt=0, le=MOST_STAGES)] = 1
    """The number of parts that the model is split into, each on its own ranks. A number
    above 1 needs `deepspeed: pipeline`."""
    attention: Literal["auto", "varlen", "sdpa", "flex"] = "auto"
    """varlen: FlashAttention over the examples of packed rows, on GPUs from Ampere on and in half
    precision. sdpa: scaled_dot_product_attention with masks. flex: torch's FlexAttention, which
    skips masked blocks of packed, causal or windowed rows; on GPUs only, and without dropout of
    attention weights. auto: varlen if it can run, else sdpa."""
    peak_tflops: PositiveFloat | None = None
    """Peak rate of one device, in TFLOP/s, to which `mfu` relates; none: that of the GPU's data
    sheet."""
    activation_checkpointing: bool = False
    """Store only the inputs of each layer and recompute the rest in the backward pass."""

    def __str__(self) -> str:
        recomputed = ", activations recomputed" if self.activation_checkpointing else ""
        return f"{self.deepspeed} in {self.precision}{recomputed}"


class CheckpointBlock(Config):
    """When checkpoints are written and which of them are kept."""

    every: PositiveInt = 1000
    """Steps between two checkpoints. The last step is always saved."""
    keep: PositiveInt = 3
    """The number of newest checkpoints that are kept."""
    keep_every: PositiveInt | None = None
    """Also keep every checkpoint whose step is a multiple of this."""
    best: str | None = None
    """A metric of the evaluation (`loss`, `mlm_accuracy`): the checkpoint with its best value is
    also kept."""
    async_save: bool = True
    """Copy the state to host memory and write it while training continues (not with NVMe
    offload)."""
    node_local: bool = False
    """Whether `runs_dir` is a different disk on every host, not a shared one."""


class InitFrom(Config):
    """The model whose weights training starts from, and the layers that are taken from it."""

    source: str
    """A run, an export, an import or a Hub id."""
    every: PositiveInt | None = None
    """Take every n-th layer, starting with the first."""
    layers: Annotated[tuple[NonNegativeInt, ...], Listed] = ()
    """Take these layers, counted from 0: the first of the list becomes layer 0, and so on."""

    @model_validator(mode="after")
    def _one_choice(self) -> InitFrom:
        if self.every is not None and self.layers:
            raise ValueError("set at most one of every and layers")
        return self


class Recipe(DataRecipe):
    """A whole training, from text to model."""

    name: Annotated[
        str,
        text_of(
            r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            "have only a-z, A-Z, 0-9, `.`, `_` and `-`, and begin with a letter or a digit",
        ),
    ]
    """The run's folder is `runs_dir/name`."""
    runs_dir: str = "runs"
    """The folder of runs."""
    init_from: str | InitFrom | None = None
    """A run, an export, an import or a Hub id whose weights training starts from (a Hub model is
    downloaded when training starts; `ptm validate` only looks into the cache), or the block below,
    which takes some of its layers ([adapt.md](adapt.md))."""
    adapter: AnyAdapter | None = None
    """Train small matrices, and a head for labels, beside frozen weights, those of `init_from`;
    none: train all weights."""
    optimizer: AnyOptimizer
    schedule: AnySchedule
    train: TrainBlock
    engine: EngineBlock = EngineBlock()
    checkpoint: CheckpointBlock = CheckpointBlock()
    tracking: TrackingBlock = TrackingBlock()
    # Private, so that it is in no dump and in no schema.
    _origin: RecipeOrigin = PrivateAttr(default=RecipeOrigin())

    @property
    def origin(self) -> RecipeOrigin:
        """The file and the overrides that the recipe was read from."""
        return self._origin

    def set_origin(self, origin: RecipeOrigin) -> None:
        """Note where the recipe was read. A recipe with another origin stays equal."""
        self._origin = origin

    @property
    def start(self) -> InitFrom | None:
        """`init_from` as a block, also if only a path is given."""
        return (
            InitFrom(source=self.init_from) if isinstance(self.init_from, str) else self.init_from
        )

    @field_validator("runs_dir")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("must be the path of a folder")
        return value
