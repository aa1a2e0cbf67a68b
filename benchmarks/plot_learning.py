"""Draw learning curves: of masked tokens beside measured points of UER-py, or of next tokens.

python benchmarks/plot_learning.py OUT.svg RUN [RUN ...] [--entropy NATS] (needs extra `figures`)

`--entropy`: a horizontal line in the panel of losses, the loss of a model that knows only the
frequencies of the targets (benchmarks/learning.py prints it).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# UER-py (snapshot 5743050): the same tiny model, corpus, vocabulary and batch of 32 x 128, learning
# rate 1e-4, linear with 10 % warm-up, one review per row. (loss, accuracy), means over 100 steps.
UER = [
    (8.93, 0.033),
    (6.68, 0.045),
    (6.47, 0.047),
    (6.45, 0.044),
    (6.41, 0.047),
    (6.42, 0.049),
    (6.40, 0.048),
    (6.35, 0.046),
    (6.39, 0.049),
    (6.40, 0.049),
]
MASKED, NEXT = "mlm_accuracy", "lm_accuracy"
TITLES = {"loss": "loss", MASKED: "masked accuracy", NEXT: "accuracy of the next token"}


def reports(run: str) -> list[dict[str, Any]]:
    """The training reports of a run."""
    lines = Path(run, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == "train"]


def main(words: list[str]) -> None:
    """Draw two panels, loss and accuracy over steps, into one file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--entropy", type=float)
    parsed = parser.parse_args(words)
    curves = {Path(run).name: reports(run) for run in parsed.runs}
    accuracy = MASKED if all(MASKED in records[0] for records in curves.values()) else NEXT
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for panel, name, column in zip(panels, ("loss", accuracy), (0, 1), strict=True):
        for label, records in curves.items():
            panel.plot([r["step"] for r in records], [r[name] for r in records], label=label)
        if accuracy == MASKED:
            steps = [100 * (index + 1) for index in range(len(UER))]
            panel.plot(steps, [point[column] for point in UER], "--", label="UER-py, rate 1e-4")
        if parsed.entropy is not None and column == 0:
            panel.axhline(parsed.entropy, color="grey", linestyle=":", label="frequencies alone")
        panel.set_xlabel("step")
        panel.set_title(TITLES[name])
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set_ylim(5.5, 9.0)
    figure.savefig(parsed.out)


if __name__ == "__main__":
    main(sys.argv[1:])
