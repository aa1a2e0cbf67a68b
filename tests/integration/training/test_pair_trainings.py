"""Trainings on pairs: errors before the start, and the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.store.reader import TokenStore
from ptm.train.run import train
from ptm.train.validate import check_recipe
from tests.support.small_runs import PROJECT, QUICKSTART, Runs, vocab

PAIRS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of pairs of the bundled texts, and a vocabulary for their targets."""
    sides = [
        (QUICKSTART / "corpus" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        for name in ("english", "chinese")
    ]
    lines = [f"{a[:80]}\t{b[:30]}" for a, b in zip(*sides, strict=False)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines[:PAIRS]) + "\n", encoding="utf-8")
    tokens = vocab().read_text(encoding="utf-8").splitlines()
    (tmp_path / "targets.txt").write_text("\n".join(tokens[:-7]) + "\n", encoding="utf-8")
    return tmp_path


Arguments = Callable[..., list[str]]


@pytest.fixture
def arguments(folder: Path) -> Arguments:
    def build(family: str, *others: str) -> list[str]:
        overrides = [
            f"name={family}",
            f"runs_dir={folder / 'runs'}",
            f"tokenizer.vocab={vocab()}",
            "tokenizer.size=null",
            f"data.corpus={folder / 'pairs.txt'}",
            f"data.store={folder / family}",
            *("data.held_out=0.1", "data.sequence_length=64"),
            *("model.encoder.layers=1", "model.encoder.hidden_size=32", "model.encoder.heads=2"),
            *("train.steps=4", "train.global_batch_size=4", "train.micro_batch_size=4"),
            *("checkpoint.every=2", "tracking.log_every=2", "tracking.evaluate_every=4"),
        ]
        if family == "translation":
            overrides += [
                f"target_tokenizer.vocab={folder / 'targets.txt'}",
                "target_tokenizer.size=null",
                *("model.decoder.layers=1", "model.decoder.hidden_size=32"),
                *("model.decoder.heads=2", "data.target_sequence_length=32"),
            ]
        last = {word.partition("=")[0]: word for word in (*overrides, *others)}
        return [str(PROJECT / "recipes" / family / "tiny.yaml"), *last.values()]

    return build


def trained(arguments: list[str]) -> int:
    return train(lambda: load_recipe(arguments[0], arguments[1:]), fresh=False)


@pytest.mark.parametrize("family", ["translation", "prefixlm"])
def test_a_training_on_pairs_is_resumed_and_evaluated_from_the_copies_in_its_run_folder(
    folder: Path, arguments: Arguments, family: str
) -> None:
    assert main(["preprocess", *arguments(family)]) == EXIT_DONE
    assert trained(arguments(family)) == EXIT_DONE
    runs = Runs(folder / family, folder / "runs")
    last = runs.metrics(family)[-1]
    assert {"loss", "lm_loss", "lm_accuracy", "perplexity"} <= last.keys()
    assert trained(arguments(family, "train.steps=6")) == EXIT_DONE
    (folder / "targets.txt").unlink()
    found = evaluate_source(open_source(str(folder / "runs" / family)), [])
    assert found["loss"] == pytest.approx(runs.metrics(family)[-1]["loss"], rel=1e-5)


def test_a_store_of_another_target_tokenizer_is_rejected_by_key(
    folder: Path, arguments: Arguments
) -> None:
    assert main(["preprocess", *arguments("translation")]) == EXIT_DONE
    other = arguments("translation", f"target_tokenizer.vocab={vocab()}")
    with pytest.raises(
        UserError, match=r"data\.store: .* made with another target tokenizer .*target_tokenizer: "
    ):
        trained(other)
    with pytest.raises(UserError, match="another target tokenizer"):
        check_recipe(load_recipe(other[0], other[1:]), need_inputs=True)
    alone = arguments("prefixlm", f"data.store={folder / 'translation'}")
    with pytest.raises(UserError, match=r"target tokenizer .* but the recipe has no target_tok"):
        trained(alone)
    assert main(["preprocess", *arguments("prefixlm")]) == EXIT_DONE
    without = arguments("translation", f"data.store={folder / 'prefixlm'}")
    with pytest.raises(UserError, match=r"made without a target tokenizer, but the recipe"):
        trained(without)
    assert not (folder / "runs").exists()


def test_weights_of_another_target_vocabulary_are_rejected(
    folder: Path, arguments: Arguments
) -> None:
    assert main(["preprocess", *arguments("translation")]) == EXIT_DONE
    assert trained(arguments("translation")) == EXIT_DONE
    start = f"init_from={folder / 'runs' / 'translation'}"
    again = arguments("translation", "name=again", start)
    assert trained(again) == EXIT_DONE
    lines = (folder / "targets.txt").read_text(encoding="utf-8").splitlines()
    (folder / "turned.txt").write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    turned = (
        f"target_tokenizer.vocab={folder / 'turned.txt'}",
        f"data.store={folder / 'turned'}",
    )
    other = arguments("translation", "name=other", start, *turned)
    assert main(["preprocess", *other]) == EXIT_DONE
    with pytest.raises(
        UserError, match=r"the model's target vocabulary has other tokens than .*turned"
    ):
        trained(other)


def test_a_target_vocabulary_without_a_special_token_is_rejected_by_name(
    folder: Path, arguments: Arguments
) -> None:
    path = folder / "targets.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("[SEP]", "[END]"), encoding="utf-8")
    assert main(["preprocess", *arguments("translation")]) == EXIT_DONE
    with pytest.raises(UserError, match=r"no \[SEP\] .* target_tokenizer\.special_tokens\.eos"):
        trained(arguments("translation"))


def test_a_missing_target_vocabulary_is_reported_with_its_key(arguments: Arguments) -> None:
    recipe, *overrides = arguments("translation", "target_tokenizer.vocab=nowhere.txt")
    verdict = check_recipe(load_recipe(recipe, overrides), need_inputs=False)
    what = 'target_tokenizer.vocab: "nowhere.txt" is not a file (current directory: '
    assert any(one.startswith(what) for one in verdict.unchecked)


def test_a_line_without_a_tab_ends_preprocessing_with_its_line_number_and_no_store(
    folder: Path, arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (folder / "pairs.txt").read_text(encoding="utf-8").splitlines()
    lines[16] = lines[16].replace("\t", " ")
    (folder / "pairs.txt").write_text("\n".join(lines), encoding="utf-8")
    assert main(["preprocess", *arguments("translation")]) == EXIT_USER
    (message,) = capsys.readouterr().err.splitlines()
    assert "pairs.txt:17: " in message
    assert "source<TAB>target" in message
    assert not list(folder.glob("translation*"))


def test_the_number_of_truncated_tokens_is_reported(
    arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    short = arguments("translation", "data.target_sequence_length=8")
    assert main(["preprocess", *short]) == EXIT_DONE
    assert "60 pairs, " in capsys.readouterr().out
    assert main(["show", *short]) == EXIT_DONE
    assert "target tokens cut off (pairs too long for a row: " in capsys.readouterr().out


def test_show_counts_the_rows_of_each_side(
    arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("data.target_sequence_length=64", "train.micro_batch_size=8")
    every = arguments("translation", *sizes, "train.global_batch_size=8")
    assert main(["preprocess", *every]) == EXIT_DONE
    assert main(["show", *every]) == EXIT_DONE
    found = re.search(
        r"a micro-batch of the first 8 rows needs (\d) of the encoder, ([\d.]+) % filled, "
        r"and (\d) of the decoder, ([\d.]+) % filled",
        capsys.readouterr().out,
    )
    assert found is not None
    rows, shares = [int(n) for n in found.groups()[::2]], [float(n) for n in found.groups()[1::2]]
    assert max(rows) == 8 > min(rows)
    assert all(50 < share <= 100 for share in shares)
    assert main(["show", *every, "data.packing=false"]) == EXIT_DONE
    assert "packed apart" not in capsys.readouterr().out


def test_show_decodes_each_side_with_its_own_vocabulary(
    folder: Path, arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = (folder / "targets.txt").read_text(encoding="utf-8").splitlines()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    turned = [*reversed([token for token in tokens if token not in special]), *special]
    (folder / "targets.txt").write_text("\n".join(turned) + "\n", encoding="utf-8")
    assert main(["preprocess", *arguments("translation")]) == EXIT_DONE
    recipe, *overrides = arguments("translation")
    assert main(["show", "--batch", recipe, *overrides]) == EXIT_DONE
    shown = capsys.readouterr().out
    first = (folder / "pairs.txt").read_text(encoding="utf-8").splitlines()
    targets = {line.split("\t")[1][:6] for line in first}
    read = [line for line in shown.splitlines() if "the decoder reads: [CLS] " in line]
    assert read
    for line in read:
        assert line.split("[CLS] ")[1].replace(" ", "").replace("##", "")[:6] in targets
    store = TokenStore.open(folder / "translation")
    assert store.info.target_size == len(turned)


def test_adapting_the_source_vocabulary_keeps_the_target_embeddings(
    folder: Path, arguments: Arguments
) -> None:
    assert main(["preprocess", *arguments("translation")]) == EXIT_DONE
    assert trained(arguments("translation")) == EXIT_DONE
    tokens = vocab().read_text(encoding="utf-8").splitlines()
    (folder / "larger.txt").write_text("\n".join([*tokens, "newword"]) + "\n", encoding="utf-8")
    out, run = folder / "adapted", folder / "runs" / "translation"
    words = ["vocab", "adapt", str(run), str(out), "--vocab", str(folder / "larger.txt")]
    assert main(words) == EXIT_DONE
    was, now = open_source(str(run)).tensors(), open_source(str(out)).tensors()
    changed = {name for name in was if was[name].shape != now[name].shape}
    assert changed == {"word_embedding.weight"}
    recipe = open_source(str(out)).recipe()
    assert recipe.target_tokenizer is not None
    assert Path(recipe.target_tokenizer.source).parent == out / "target_tokenizer"
    start = (f"tokenizer.vocab={folder / 'larger.txt'}", f"data.store={folder / 'larger'}")
    again = arguments("translation", "name=again", f"init_from={out}", *start)
    assert main(["preprocess", *again]) == EXIT_DONE
    assert trained(again) == EXIT_DONE
