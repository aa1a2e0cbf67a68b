"""The block `tracking` of a recipe: intervals of reports and a block per tracker."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ptm.component import Config, Listed, NonNegativeFloat, PositiveInt
from ptm.validation import text_of

WandbProject = Annotated[
    str, text_of(r"^[^/\\#?%:]{1,128}$", r"have 1 to 128 characters, and none of / \ # ? % :")
]


class WandbBlock(Config):
    """Weights & Biases: online if the user is logged in and the server answers, otherwise offline.

    `WANDB_MODE=offline` and `disabled` take precedence.
    """

    project: WandbProject = "ptm"
    """The W&B project."""
    entity: str | None = None
    """The W&B user or team; none: the default of the account."""
    group: str | None = None
    """The group of runs that it belongs to; none: the folder of the recipe below `recipes`
    (`roberta`), or else the type of the objective."""
    job_type: str | None = None
    """None: `pretrain`, or `finetune` with `init_from`."""
    tags: Annotated[tuple[str, ...], Listed] = ()
    """Tags of the run, such as `[chinese, base]`."""
    notes: str | None = None
    """A description of the run."""
    alerts: bool = True
    """Send an alert at an anomaly, when the run stops or fails, and at its end."""


class MlflowBlock(Config):
    """MLflow: parameters, metrics, best values and the state of the run."""

    uri: str | None = None
    """The tracking server or database (`http://host:5000`, `sqlite:///mlflow.db`); none:
    `MLFLOW_TRACKING_URI`, or else the database `mlflow.db` in `runs_dir`."""
    experiment: str = "ptm"
    """The experiment that the run belongs to. It is created if it does not exist."""


class SwanlabBlock(Config):
    """SwanLab: online if an API key is configured, otherwise offline.

    `SWANLAB_MODE=offline`, `local` and `disabled` take precedence.
    """

    project: str = "ptm"
    """The SwanLab project."""
    workspace: str | None = None
    """The SwanLab user or organization; none: the default of the account."""
    group: str | None = None
    """The group of runs that it belongs to; none: the folder of the recipe below `recipes`
    (`roberta`), or else the type of the objective."""
    tags: Annotated[tuple[str, ...], Listed] = ()
    """Tags of the run, such as `[chinese, base]`."""
    notes: str | None = None
    """A description of the run."""


class TrackingBlock(Config):
    """Intervals of logging and evaluation; the trackers that receive the reports."""

    log_every: PositiveInt = 100
    """Steps between two records in metrics.jsonl, on the console and in the trackers."""
    evaluate_every: PositiveInt = 1000
    """Steps between two evaluations. The last step is always evaluated."""
    samples: Annotated[int, Field(ge=0, le=64)] = 4
    """Examples of the first evaluation set whose predictions are written to samples.jsonl at each
    evaluation, and shown by `ptm report` and the trackers: what the model fills in or writes, its
    labels or scores. 0: none. Objective `bilm`, and with pipeline stages models that write text,
    have no samples."""
    wandb: WandbBlock | None = None
    """`{}` for the defaults; none: no W&B."""
    tensorboard: bool = False
    """Write TensorBoard event files. Needs the extra: `pip install -e '.[tensorboard]'`."""
    mlflow: MlflowBlock | None = None
    """`{}` for the defaults; none: no MLflow. Needs the extra: `pip install -e '.[mlflow]'`."""
    swanlab: SwanlabBlock | None = None
    """`{}` for the defaults; none: no SwanLab. Needs the extra: `pip install -e '.[swanlab]'`."""
    system_every: NonNegativeFloat = 10.0
    """Seconds between two samples of what each host does: processor, memory, disk, network, GPUs.
    Reports have the newest ones as `system/HOST/NAME`. 0: none. With `checkpoint.node_local`, those
    of the first host alone."""
