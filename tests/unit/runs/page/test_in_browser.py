"""The page in headless Chromium, where it is installed: it draws, and no script fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ptm.components.objectives.scores.diagnosis import Confusion, LabelScore, WorstExample
from ptm.recipe import load_recipe
from ptm.runs.report import report_page
from ptm.train.diagnoses import DiagnosisFile
from ptm.train.environment import environment
from tests.support.run_folders import write_run
from tests.support.small_runs import QUICKSTART, store

__all__ = ["store"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=5000", "--window-size=1280,900"),
)
MOST_BYTES = 1_500_000
BEFORE = """<script>
var problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
</script>"""
# Each canvas: the number of different colours that the chart has.
AFTER = """<script>
addEventListener("load", () => {
  const colours = [...document.querySelectorAll("canvas")].map((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
  });
  const result = {
    problems, colours, width: document.documentElement.scrollWidth,
    headings: [...document.querySelectorAll("h2")].map((heading) => heading.textContent),
    keys: [...document.querySelectorAll(".keys b")].map((key) => key.textContent.trim()),
  };
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify(result);
  document.body.append(found);
});
</script>"""
# A page of another width than the window: a frame that reads its tables and charts from outside.
# `broken`: words and numbers that are on two lines; paths may break after a slash or hyphen.
FRAME = """<!doctype html><body><script>
const frame = document.createElement("iframe");
frame.style.cssText = "border: 0; height: 900px; width: WIDTHpx";
frame.srcdoc = PAGE;
const isSplit = (node, start, end) => {
  const range = frame.contentDocument.createRange();
  range.setStart(node, start);
  range.setEnd(node, end);
  return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1;
};
frame.addEventListener("load", () => setTimeout(() => {
  const inner = frame.contentDocument, broken = [], wide = [];
  for (const cell of inner.querySelectorAll("td, th")) {
    const node = cell.firstChild, text = cell.textContent;
    if (!node || node.nodeType !== 3 || cell.matches(".texts td:last-child")) continue;
    for (const word of text.matchAll(/[^\\s/-]+/g)) {
      if (isSplit(node, word.index, word.index + word[0].length)) broken.push(word[0]);
    }
    const isNumber = /^[\\d.,]+( %)?$/.test(text);
    const isShort = isNumber || cell.closest(".texts, .counts");
    if (isShort && isSplit(node, 0, text.length)) broken.push(text);
  }
  for (const table of inner.querySelectorAll("table")) {
    if (!table.closest(".scroll")) wide.push(table.className);
  }
  const texts = [...inner.querySelectorAll(".texts td:last-child")].map((cell) => cell.offsetWidth);
  const colours = [...inner.querySelectorAll("canvas")].map((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let blue = 0, ochre = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      const [r, g, b] = pixels.slice(at, at + 3);
      blue += r === 47 && g === 129 && b === 247;
      ochre += r === 210 && g === 153 && b === 34;
    }
    return [blue, ochre];
  });
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify({
    broken, wide, texts, colours, width: inner.documentElement.scrollWidth,
  });
  document.body.replaceChildren(found);
}, 500));
document.body.append(frame);
</script></body>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def records(steps: int) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "split": split,
            "rows": 16 * step,
            "tokens": 2000 * step,
            "loss": 8 / step,
            **(
                {"learning_rate": 1e-3 / step, "memory_bytes": 4e8 + 1e6 * step}
                if split == "train"
                else {}
            ),
        }
        for step in range(1, steps + 1)
        for split in ("train", "eval")
    ]


def write_example(folder: Path, store: Path) -> Path:
    log = "x: 568,369 parameters, objective mlm\nresuming from step 20 (x)\n"
    run = write_run(folder, f"data.store={store}", records=records(40), log=log)
    event = {"step": 30, "action": "skip", "what": "loss", "value": 12.5}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    return run


def look(page: str, folder: Path) -> Any:
    """What the browser has made of a page."""
    text = page.replace("</title>", f"</title>{BEFORE}", 1).replace("</body>", f"{AFTER}</body>", 1)
    return found_by(text, folder)


def look_at_width(page: str, folder: Path, width: int) -> Any:
    """What the browser has made of a page of this width."""
    content = json.dumps(page).replace("<", "\\u003c")
    return found_by(FRAME.replace("WIDTH", str(width)).replace("PAGE", content), folder)


def found_by(text: str, folder: Path) -> Any:
    """The JSON that the script of a page puts into its element `found`."""
    file = folder / "page.html"
    file.write_text(text, encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    return json.loads(found[1])


def test_a_run_is_drawn_without_a_script_error(store: Path, tmp_path: Path) -> None:
    page = report_page([write_example(tmp_path / "one", store)])
    assert len(page.encode()) < MOST_BYTES
    found = look(page, tmp_path)
    assert found["problems"] == []
    # Loss, learning rate, memory: background, text, grid, marks and lines have many colours.
    assert len(found["colours"]) == 3
    assert min(found["colours"]) > 20
    for heading in ("Loss", "Optimisation", "Speed and memory", "Events", "Data", "Recipe"):
        assert heading in found["headings"]
    assert found["keys"][:2] == ["0.2", "0.2"], "the last values stand beside the names"
    assert found["width"] <= 1280


def test_several_runs_are_drawn_without_a_script_error(store: Path, tmp_path: Path) -> None:
    runs = [write_example(tmp_path / name, store) for name in ("one", "two", "three")]
    (runs[2] / "metrics.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in records(15)), encoding="utf-8"
    )
    found = look(report_page(runs), tmp_path)
    assert found["problems"] == []
    assert min(found["colours"]) > 20
    assert "Differences of the recipes" in found["headings"]


def test_a_run_with_one_report_is_drawn_without_a_script_error(store: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", f"data.store={store}", records=records(1)[:1])
    found = look(report_page([run]), tmp_path)
    assert found["problems"] == []
    # Loss, learning rate, memory: a dot each.
    assert len(found["colours"]) == 3
    assert found["keys"] == ["8", "0.001", "401.0 MB"]


def write_classifier_run(folder: Path, store: Path) -> Path:
    """A run with every kind of table, and with one report of the training and one of the set."""
    found = [
        {"step": 92, "split": "train", "rows": 16, "loss": 2.0},
        {"step": 100, "split": "dev", "loss": 1.5, "accuracy": 0.25},
    ]
    run = write_run(folder, f"data.store={store}", "train.steps=40", records=found)
    origin = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), ["train.steps=40"]).origin
    content = json.dumps(environment("0" * 32, {"here": 1}, origin))
    (run / "environment.json").write_text(content, encoding="utf-8")
    names = [f"label_{number}" for number in range(12)]
    texts = ("a " * 400, "这家酒店的房间很小" * 80, "x" * 900)
    diagnosis = DiagnosisFile(
        evaluation="dev",
        step=100,
        labels=tuple(LabelScore(name, 0.5, 0.25, 0.75, 1234) for name in names),
        confusions=tuple(Confusion(name, names[0], 1234) for name in names),
        worst=tuple(WorstExample(at, "label", "not so good", 2.68181) for at in range(len(texts))),
        texts=texts,
    )
    (run / "evaluations").mkdir()
    (run / "evaluations" / "dev.json").write_text(diagnosis.model_dump_json(), encoding="utf-8")
    return run


@pytest.mark.parametrize("width", [1280, 1000, 390])
def test_tables_break_no_words_and_single_points_are_dots(
    store: Path, tmp_path: Path, width: int
) -> None:
    page = report_page([write_classifier_run(tmp_path / "one", store)])
    found = look_at_width(page, tmp_path, width)
    assert found["broken"] == []
    assert found["wide"] == [], "every table can be scrolled"
    assert found["width"] <= width
    assert min(found["texts"]) >= min(200, width / 2)
    # Dots of nine pixels: both lines of the loss, and the accuracy.
    (training, evaluation), (accuracy, _) = found["colours"]
    assert min(training, evaluation, accuracy) > 30
