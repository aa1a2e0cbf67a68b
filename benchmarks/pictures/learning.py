"""Pictures of learning curves, from the JSON files beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.pictures.panel import Box, Curve, Panel
from benchmarks.pictures.svg import Picture

TOOLS = {
    "ptm": ("ptm", "a", ""),
    "uer": ("UER-py", "b", "7 3"),
    "hf": ("Hugging Face Trainer", "c", "3 3"),
}
"""Key of a tool -> its name, colour and dashes."""
COLOURS = ("a", "b", "c", "d")


def peers(data: Path) -> Picture:
    """Held-out loss of the same model trained by three tools, over real tokens."""
    found = json.loads(data.read_text(encoding="utf-8"))
    form = "single"
    picture = Picture(
        title="The same training with three tools",
        subtitle="Tiny RoBERTa on book reviews: same model, texts, tokens per step, rate, schedule "
        "and number of steps, fp32",
        description="Held-out loss of masked tokens over real tokens seen, for ptm, UER-py and "
        "Hugging Face's Trainer. " + last_losses(found["curves"], form),
        height=440,
    )
    curves = [
        Curve(
            name=name,
            points=[(one["tokens"] / 1e6, one[form]) for one in found["curves"][key]],
            colour=colour,
            dashes=dashes,
        )
        for key, (name, colour, dashes) in TOOLS.items()
    ]
    longest = max(x for curve in curves for x, _ in curve.points)
    losses = [loss for curve in curves for _, loss in curve.points]
    panel = Panel(
        picture,
        Box(left=64, top=104, right=620, bottom=380),
        x_range=(0, longest),
        y_range=(min(losses) - 0.05, max(losses) + 0.05),
        labels=("real tokens, millions", "loss of masked tokens of held-out reviews, nats"),
    )
    panel.level(found["frequencies"][form], "frequencies of tokens alone", left=True)
    panel.draw(curves)
    return picture


def last_losses(curves: dict[str, list[dict[str, Any]]], form: str) -> str:
    """One sentence with the last loss of each tool."""
    ends = [f"{name} {curves[key][-1][form]:.2f}" for key, (name, _, _) in TOOLS.items()]
    return f"At the end: {', '.join(ends)}."


def recurrent(data: Path) -> Picture:
    """Loss and accuracy of the recurrent and convolutional language models."""
    found = json.loads(data.read_text(encoding="utf-8"))
    picture = Picture(
        title="Recurrent and convolutional language models learn",
        subtitle="Tiny recipes on book reviews, 4 rows of 128 tokens per step",
        description="Training loss and accuracy of the next token over steps for the tiny LSTM, "
        "GRU, RNN and gated CNN. All losses end below that of the frequencies of tokens.",
        height=400,
    )
    boxes = {"loss": (64, 340), "accuracy": (480, 700)}
    names = {"loss": "loss, nats", "accuracy": "accuracy of the next token"}
    for metric, (left, right) in boxes.items():
        curves = [
            Curve(name=name, points=[(p["step"], p[metric]) for p in points], colour=colour)
            for (name, points), colour in zip(found["curves"].items(), COLOURS, strict=True)
        ]
        values = [y for curve in curves for x, y in curve.points if x > 50]
        top = max(*values, found["frequencies"]) if metric == "loss" else max(values)
        panel = Panel(
            picture,
            Box(left=left, top=104, right=right, bottom=340),
            x_range=(0, max(x for curve in curves for x, _ in curve.points)),
            y_range=(min(values) * 0.98, top * 1.02),
            labels=("step", names[metric]),
        )
        if metric == "loss":
            panel.level(found["frequencies"], "frequencies alone")
        panel.draw(curves)
    return picture


def classification(data: Path) -> Picture:
    """Losses of ptm and of transformers on the same batches from the same weights."""
    found = json.loads(data.read_text(encoding="utf-8"))
    picture = Picture(
        title="Fine-tuning: ptm and transformers have the same losses",
        subtitle="Book reviews, two layers of 128, the same initial weights and batches; "
        "means over 25 steps",
        description="Classification loss over 625 steps. The curves of ptm and of transformers "
        "lie on each other.",
        height=400,
    )
    theirs, ours = found["curves"]["transformers"], found["curves"]["ptm"]
    values = [loss for _, loss in (*theirs, *ours)]
    panel = Panel(
        picture,
        Box(left=64, top=104, right=660, bottom=340),
        x_range=(0, ours[-1][0]),
        y_range=(min(values) - 0.02, max(values) + 0.02),
        labels=("step", "loss"),
    )
    curves = [Curve("transformers", theirs, "b", width=6), Curve("ptm", ours, "a")]
    panel.draw(curves)
    return picture
