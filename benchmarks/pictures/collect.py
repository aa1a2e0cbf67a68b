"""Take the data of pictures from the folders of measurements.

python -m benchmarks.pictures.collect storm FOLDER              of benchmarks/storm.py
python -m benchmarks.pictures.collect classification FOLDER     of benchmarks/classification.py
python -m benchmarks.pictures.collect recurrent FREQUENCIES RUN...

writes docs/pictures/NAME.json. FREQUENCIES: the loss of a model that knows only the frequencies of
the tokens (benchmarks/learning.py prints it as `entropy`). RUN: lstm-tiny, gru-tiny, rnn-tiny and
gated-cnn-tiny, in this order.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
FAULT = re.compile(r"\s*\d+ step\s+(\d+) .*?engine\.\S+\s+(.*?)\s+exit (-?\d+)$")
RECURRENT = ("LSTM", "GRU", "RNN", "gated CNN")
STEPS_PER_POINT = 25
"""Number of steps whose mean loss is a point of a curve of `classification`."""


def training_reports(metrics: Path) -> list[dict[str, Any]]:
    """The training reports of a file metrics.jsonl."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if one["split"] == "train"]


def losses(metrics: Path) -> list[float]:
    """The training loss of each step; the reports must be those of consecutive steps."""
    reports = training_reports(metrics)
    assert [one["step"] for one in reports] == list(range(1, len(reports) + 1)), "missing steps"
    return [one["loss"] for one in reports]


def faults(log: list[str]) -> list[dict[str, Any]]:
    """Step, name and exit code of each fault of a log."""
    return [
        {"step": int(match[1]), "fault": match[2], "exit": int(match[3])}
        for match in map(FAULT.match, log)
        if match is not None
    ]


def storm(folder: Path) -> dict[str, Any]:
    """Losses of the undisturbed and of the struck training, and the faults."""
    log = (folder / "storm.log").read_text(encoding="utf-8").splitlines()
    curves = {name: losses(folder / f"{name}.jsonl") for name in ("calm", "storm")}
    return {**curves, "faults": faults(log), "verdict": log[-1]}


def means(values: list[float]) -> list[tuple[int, float]]:
    """The mean of every 25 steps, with the number of the last one."""
    parts = [values[at : at + STEPS_PER_POINT] for at in range(0, len(values), STEPS_PER_POINT)]
    ends = [min((index + 1) * STEPS_PER_POINT, len(values)) for index in range(len(parts))]
    return [(end, round(sum(p) / len(p), 4)) for end, p in zip(ends, parts, strict=True)]


def classification(folder: Path) -> dict[str, Any]:
    """Losses of ptm and of transformers."""
    theirs = json.loads((folder / "theirs.json").read_text(encoding="utf-8"))["losses"]
    return {
        "curves": {
            "ptm": means(losses(folder / "ptm" / "metrics.jsonl")),
            "transformers": means(theirs),
        }
    }


def recurrent(frequencies: float, runs: list[Path]) -> dict[str, Any]:
    """Loss and accuracy of each report of four runs."""
    curves = {
        name: [
            {"step": one["step"], "loss": one["loss"], "accuracy": one["lm_accuracy"]}
            for one in training_reports(run / "metrics.jsonl")
        ]
        for name, run in zip(RECURRENT, runs, strict=True)
    }
    return {"frequencies": frequencies, "curves": curves}


def main(words: list[str]) -> None:
    kind, first, *rest = words
    if kind == "storm":
        name, content = "storm", storm(Path(first))
    elif kind == "classification":
        name, content = "classification", classification(Path(first))
    else:
        name, content = "learning-recurrent", recurrent(float(first), list(map(Path, rest)))
    (FOLDER / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
