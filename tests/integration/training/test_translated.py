"""Translated command lines train: tiny versions of their models, 20 steps on the bundled text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ptm.cli import main
from ptm.errors import EXIT_DONE
from ptm.recipe import load_recipe
from ptm.train.run import train
from ptm.train.trainer import ignore_step
from tests.conftest import Bundled, sentences_of
from tests.support.covers import by_default
from tests.support.uer_commands import UerCommands, skip_without_component, uer_commands

_BY_DEFAULT = ("roberta", "t5-v1.1", "translation", "lstm language model", "gpt2")
_SENTINELS = 32
_HUGGINGFACE = {
    "masked": "python run_mlm.py --model_type bert --tokenizer_name x --train_file a.txt",
    "causal": "python run_clm.py --model_type gpt2 --tokenizer_name bert-x --train_file a.txt",
    "t5": "python run_t5_mlm_flax.py --model_type t5 --tokenizer_name bert-x --train_file a.txt",
}


@pytest.fixture(scope="module")
def corpora(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of every layout, a vocabulary with sentinels, and pieces."""
    folder = tmp_path_factory.mktemp("corpora")
    sentinels = "".join(f"<extra_id_{number}>\n" for number in range(_SENTINELS))
    words = bundled.vocab.read_text(encoding="utf-8") + sentinels
    (folder / "vocab.txt").write_text(words, encoding="utf-8")
    lines = bundled.chinese.read_text(encoding="utf-8").splitlines()[:400]
    english = bundled.english.read_text(encoding="utf-8").splitlines()[:400]
    halves = [(line[: len(line) // 2], line[len(line) // 2 :]) for line in lines]
    joined = ["".join(lines[at : at + 4]) for at in range(0, len(lines), 4)]
    texts = {
        "documents": lines,
        "pairs": [f"{source}\t{target}" for source, target in halves if source],
        "labelled": [
            f"{label}\t{line}"
            for pair in zip(lines, english, strict=False)
            for label, line in enumerate(pair)
        ],
        "sentences": ["\n".join(sentences_of(document)) + "\n" for document in joined],
    }
    # The tokenizer `space` reads words between spaces; here every character is a word.
    texts["sentences-spaced"] = [" ".join(sentences) for sentences in texts["sentences"]]
    for layout, texts_of_layout in texts.items():
        (folder / f"{layout}.txt").write_text("\n".join(texts_of_layout) + "\n", encoding="utf-8")
    options = ["--type", "unigram", "--size", "800", "--out", str(folder / "pieces")]
    assert main(["vocab", "train", str(folder / "documents.txt"), *options]) == EXIT_DONE
    return folder


def _tiny(data: Mapping[str, Any], corpora: Path, folder: Path) -> list[str]:
    """Overrides for the files of `corpora` and for a model of two layers and 20 steps."""
    spaced = "-spaced" if data["tokenizer"]["type"] == "space" else ""
    found = [
        f"data.corpus={corpora / data['data']['layout']}{spaced}.txt",
        f"data.store={folder / 'store'}",
        f"runs_dir={folder / 'runs'}",
        *("name=tiny", "init_from=null", "data.workers=1", "data.sequence_length=64"),
        *("train.epochs=null", "train.steps=20", "train.global_batch_size=8"),
        *("train.micro_batch_size=4", "optimizer.learning_rate=1.0e-3", "schedule.warmup=2"),
        *("engine.precision=fp32", "engine.deepspeed=zero0", "tracking.log_every=1"),
        *("checkpoint.every=100", "checkpoint.keep_every=null", "model.dropout=0.0"),
    ]
    for block in ("tokenizer", "target_tokenizer"):
        if block in data:
            if data[block]["type"] == "sentencepiece":
                found.append(f"{block}.model={corpora / 'pieces/sentencepiece.model'}")
                if "ids" not in data[block]:
                    found.append(f"{block}.special_tokens={{pad: <unk>, cls: <s>, sep: </s>}}")
            else:
                found.append(f"{block}.vocab={corpora / 'vocab.txt'}")
    if "segmenter" in data["data"]:
        found.append("data.segmenter.type=rjieba")
    if "size" in data["model"]["embedding"]:
        found.append("model.embedding.size=16")
    for stack in ("encoder", "decoder"):
        if stack in data["model"]:
            found += _tiny_stack(data["model"][stack], f"model.{stack}")
    if "decoder" in data["model"]:
        found.append("data.target_sequence_length=64")
    return found


def _tiny_stack(stack: Mapping[str, Any], block: str) -> list[str]:
    layers = 3 if stack["type"] == "gated_cnn" else 2
    sizes = {"layers": layers, "hidden_size": 32}
    if "heads" in stack:
        sizes |= {"heads": 2, "feed_forward_size": 64}
    if "head_size" in stack:
        sizes["head_size"] = 8
    return [f"{block}.{name}={value}" for name, value in sizes.items()]


def _losses(lines: str, corpora: Path, folder: Path, *overrides: str) -> list[float]:
    """Translate, preprocess and train; returns the loss of every step."""
    recipe = folder / "recipe.yaml"
    assert main(["translate", lines, "--out", str(recipe)]) == EXIT_DONE
    data = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    words = [str(recipe), *_tiny(data, corpora, folder), *overrides]
    assert main(["preprocess", *words]) == EXIT_DONE
    code = train(lambda: load_recipe(words[0], words[1:]), fresh=False, on_step_begin=ignore_step)
    assert code == EXIT_DONE
    metrics = (folder / "runs/tiny/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in metrics]
    return [record["loss"] for record in records if record.get("split", "train") == "train"]


@pytest.mark.parametrize(
    "commands",
    [by_default(one, [one] if one.name in _BY_DEFAULT else []) for one in uer_commands()],
    ids=[one.name for one in uer_commands()],
)
def test_lines_of_uer_py_train(commands: UerCommands, corpora: Path, tmp_path: Path) -> None:
    skip_without_component(commands.name)
    losses = _losses(commands.text, corpora, tmp_path)
    assert len(losses) == 20
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.parametrize("kind", [by_default(kind, ["causal"]) for kind in _HUGGINGFACE])
def test_lines_of_hugging_face_train(kind: str, corpora: Path, tmp_path: Path) -> None:
    line = _HUGGINGFACE[kind]
    overrides = [f"tokenizer={{type: wordpiece, vocab: {corpora / 'vocab.txt'}}}"]
    losses = _losses(line, corpora, tmp_path, *overrides)
    assert len(losses) == 20
    assert sum(losses[-3:]) < sum(losses[:3])
