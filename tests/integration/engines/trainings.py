"""Which trainings every launch makes, in an order that DeepSpeed bears within one process."""

from __future__ import annotations

import math
import random

from tests.support.launched import RUNS, Training

STEPS = 20
EXACT = ("model.dropout=0.0", f"train.steps={STEPS}", "tracking.evaluate_every=10")
UNTIED = "objective.head={tied: false, bias: true}"
RECOMPUTED = "engine.activation_checkpointing=true"
# Adam takes as large a step after gradients of any size, so what clipping does hardly shows: but
# for a large epsilon.
SENSITIVE = "optimizer.epsilon=1e-3"
UNCLIPPED = (SENSITIVE, "train.gradient_clipping=0.0")
CLIP = 0.05
CLIPPED = (SENSITIVE, f"train.gradient_clipping={CLIP}")
# Faster, and as good where the comparison is coarse or accumulation is not the question.
TOGETHER = "train.micro_batch_size=4"
FROZEN = ('train.freeze=["word*", "embedding.*", "encoder_01.*"]',)


def taught_by(teacher: str) -> tuple[str, ...]:
    """A student of one layer, whose layers learn at rates of their own; `teacher`: a training."""
    return (
        f"objective={{type: distil, teacher: {RUNS}/{teacher}}}",
        *("model.encoder.layers=1", "optimizer.layer_decay=0.8"),
    )


HALF = {
    "bf16": ("engine.precision=bf16", TOGETHER),
    "fp16": ("engine.precision=fp16", "engine.loss_scale.initial_power=10", TOGETHER),
}
OVERFLOWING = (
    *("engine.precision=fp16", "engine.loss_scale.initial_power=28", TOGETHER),
    # Slowly, so that gradients do not grow out of the scale that was found.
    "optimizer.learning_rate=3.0e-4",
)
FLOOR = (
    *("engine.precision=fp16", TOGETHER),
    "engine.loss_scale={initial_power: 28, minimum: 268435456, hysteresis: 1}",
)


def zero(stage: int | str) -> str:
    return f"engine.deepspeed=zero{stage}"


def stages(count: int) -> tuple[str, str]:
    return ("engine.deepspeed=pipeline", f"engine.pipeline_stages={count}")


def exact(name: str, *overrides: str) -> Training:
    """Without dropout, so that it depends on no layout."""
    return Training(name, (*EXACT, *overrides))


ONE_RANK = [
    exact("alone", zero(0)),
    exact("alone-other-seed", zero(0), "seed=8"),
    exact("alone-untied", zero(0), UNTIED),
    exact("alone-clipped", zero(0), *CLIPPED),
    exact("alone-unclipped", zero(0), *UNCLIPPED),
    exact("alone-recomputed", zero(0), RECOMPUTED),
    exact("alone-distil", zero(0), *taught_by("alone")),
    exact("alone-frozen", zero(0), *FROZEN),
    *(exact(f"alone-fp16-clipped-zero{n}", zero(n), *HALF["fp16"], *CLIPPED) for n in (0, 1)),
    *(exact(f"alone-floor-zero{stage}", zero(stage), *FLOOR) for stage in (0, 1)),
    *(
        exact(f"alone-{precision}-zero{stage}", zero(stage), *half)
        for stage in range(4)
        for precision, half in HALF.items()
    ),
    *(exact(f"alone-overflow-zero{stage}", zero(stage), *OVERFLOWING) for stage in (0, 1, 3)),
]

REFUSED = {
    "uneven": ("train.global_batch_size=7",),
    "too-many-stages": stages(3),
    "pipeline-with-zero2": (zero(2), "engine.pipeline_stages=2"),
}

TWO_RANKS = [
    *(exact(name, *overrides) for name, overrides in REFUSED.items()),
    *(exact(f"zero{stage}", zero(stage)) for stage in (0, 1, 2, "2-offload")),
    exact("accumulated-4-times", zero(1), "train.micro_batch_size=1"),
    exact("not-accumulated", zero(1), "train.micro_batch_size=4"),
    *(exact(f"clipped-zero{stage}", zero(stage), *CLIPPED) for stage in (0, 1, 2)),
    exact("frozen-zero2", zero(2), *FROZEN),
    exact("distil-zero2", zero(2), *taught_by("zero1")),
    exact("zero3", zero(3)),
    exact("frozen-zero3", zero(3), *FROZEN),
    exact("distil-zero3", zero(3), *taught_by("zero1")),
    exact("zero3-offload", zero("3-offload"), TOGETHER),
    exact("clipped-zero3", zero(3), *CLIPPED, TOGETHER),
    exact("recomputed-zero3", zero(3), RECOMPUTED, TOGETHER),
    *(exact(f"{precision}-zero3", zero(3), *half) for precision, half in HALF.items()),
    exact("stages2", *stages(2)),
    exact("recomputed-stages2", *stages(2), RECOMPUTED),
    exact("untied-stages2", *stages(2), UNTIED),
    exact("frozen-stages2", *stages(2), *FROZEN),
    exact("clipped-stages2", *stages(2), *CLIPPED),
    *(exact(f"{precision}-stages2", *stages(2), *half) for precision, half in HALF.items()),
    exact("overflow-stages2", *stages(2), *OVERFLOWING),
]

FOUR_RANKS = [
    *(exact(f"zero{stage}", zero(stage)) for stage in range(4)),
    exact("stages4", *stages(4)),
    exact("stages2x2", *stages(2)),
    exact("clipped-stages2x2", *stages(2), *CLIPPED),
]

# With dropout, which every rank draws for itself.
DROPPING = (
    *("model.dropout=0.1", "train.steps=10", "tracking.evaluate_every=5"),
    TOGETHER,
)
RESUMED = {
    **{f"zero{stage}": (zero(stage),) for stage in (0, 1, 2)},
    "bf16": (zero(1), "engine.precision=bf16"),
    # Overflows in the first five steps.
    "fp16": (zero(2), "engine.precision=fp16", "engine.loss_scale.initial_power=22"),
    "zero3": (zero(3),),
    "stages2": stages(2),
}
STOPPED_AT = {name: random.Random(name).randint(2, 4 if name == "fp16" else 8) for name in RESUMED}
STOPPED = [
    training
    for name, overrides in RESUMED.items()
    for training in (
        Training(f"calm-{name}", (*DROPPING, *overrides)),
        Training(f"stopped-{name}", (*DROPPING, *overrides), stop_at=STOPPED_AT[name]),
        Training(f"stopped-{name}", (*DROPPING, *overrides)),
    )
]

# Steps unlike the others, on ranks and across stages.
UNLIKE = 8
POLICIES = {
    "skip-nan": ("skip", math.nan),
    "skip-spike": ("skip", 100.0),
    "rollback-nan": ("rollback", math.nan),
    "stop-nan": ("stop", math.nan),
}
DISTURBED = [
    Training(
        f"{name}-{engine}",
        (
            *(*overrides, *DROPPING, "checkpoint.every=4"),
            f"train.anomalies={{policy: {policy}, sigmas: 6, window: 6}}",
        ),
        disturbed=(UNLIKE, factor),
    )
    for engine, overrides in {"zero2": (zero(2),), "stages2": stages(2)}.items()
    for name, (policy, factor) in POLICIES.items()
]
