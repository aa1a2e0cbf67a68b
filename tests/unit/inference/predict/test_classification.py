"""`ptm predict` with classifiers: answers, their order, formats, labels, and inputs without one."""

from __future__ import annotations

import gzip
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ptm.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USER
from ptm.inference.predict.base import InputFiles, PredictionOptions, predictor_of
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from ptm.text.corpus.files import FORMATS
from tests.support.classifiers import run_command, transformers_classifier, write_classifier
from tests.support.labelled_texts import DEV, LABELS, write_corpora, write_stores

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("predicted")
    write_corpora(made)
    write_stores(made)
    write_classifier(made, "single")
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return folder / "runs" / "single"


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[list[str]]:
    """The cells of dev.tsv: label and text."""
    lines = (folder / "dev.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


def objects(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def predicted(run: Path, file: Path | str, capsys: Capture, *options: str) -> list[dict[str, Any]]:
    words = ["predict", str(run), str(file), "--format", "json_lines", *options]
    code, lines, _ = run_command(words, capsys)
    assert code == EXIT_DONE
    return objects(lines)


# Answers


@pytest.mark.parametrize("texts", [1, 2])
def test_probabilities_are_those_of_transformers(
    tmp_path: Path, capsys: Capture, texts: int
) -> None:
    write_corpora(tmp_path, texts=texts)
    write_stores(tmp_path)
    run = write_classifier(tmp_path, "run")
    found = predicted(run, tmp_path / "dev.tsv", capsys)
    source = open_source(str(run))
    model, tokenizer = (
        transformers_classifier(source, len(LABELS)),
        source.recipe().tokenizer.load(),
    )
    vocabulary = tokenizer.vocabulary
    cls, sep = (vocabulary.special_id(role) for role in ("cls", "sep"))
    compared = 0
    lines = (tmp_path / "dev.tsv").read_text(encoding="utf-8").splitlines()
    for line, answer in zip(lines, found, strict=True):
        _, *parts = line.split("\t")
        first, *second = tokenizer.encode(parts)
        ids = [cls, *first, sep] + [one for more in second for one in (*more, sep)]
        if len(ids) > 64:
            continue
        segments = [0] * (len(first) + 2) + [1] * (len(ids) - len(first) - 2)
        with torch.no_grad():
            logits = model(torch.tensor([ids]), token_type_ids=torch.tensor([segments])).logits
        expected = dict(zip(LABELS, logits.softmax(-1)[0].tolist(), strict=True))
        assert answer["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert answer["prediction"] == max(expected, key=lambda name: expected[name])
        assert answer["probability"] == max(answer["probabilities"].values())
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("encoder", ["lstm", "gated_cnn"])
def test_the_accuracy_is_that_of_evaluate(folder: Path, capsys: Capture, encoder: str) -> None:
    block = {
        "lstm": "{type: lstm, layers: 1, hidden_size: 32}",
        "gated_cnn": "{type: gated_cnn, layers: 3, hidden_size: 32}",
    }[encoder]
    run = write_classifier(
        folder,
        encoder,
        f"model.encoder={block}",
        "model.embedding={parts: [word]}",
        "objective.pooling=mean",
    )
    words = ["predict", str(run), str(folder / "dev.tsv")]
    code, lines, errors = run_command(words, capsys)
    assert code == EXIT_DONE
    rows = [line.split("\t") for line in lines[1:]]
    accuracy = evaluate_source(open_source(str(run)), [])["dev/accuracy"]
    hits = sum(answer == label for answer, _, label in rows)
    assert hits / DEV == pytest.approx(accuracy)
    assert f"accuracy {accuracy:.5f} on {DEV} labels" in errors


def test_mlm_beside_the_classification_masks_no_text(
    run: Path, folder: Path, capsys: Capture
) -> None:
    labels = ", ".join(LABELS)
    masked = write_classifier(
        folder, "masked", f"objective={{type: classification, labels: [{labels}], mlm: {{}}}}"
    )
    # The weights that both have are drawn first, so they are equal.
    first, second = open_source(str(run)).tensors(), open_source(str(masked)).tensors()
    assert "mlm_transform.dense.weight" in second.keys() - first.keys()
    assert torch.equal(first["classifier.weight"], second["classifier.weight"])
    found = predicted(masked, folder / "dev.tsv", capsys)
    assert found == predicted(run, folder / "dev.tsv", capsys)


def test_windows_change_nothing(run: Path, folder: Path) -> None:
    files = InputFiles((str(folder / "dev.tsv"),))
    found = []
    for window in (1, 5, 1000):
        options = PredictionOptions(probabilities=True, window=window)
        predictor = predictor_of(open_source(str(run)), options)
        windows = list(predictor.windows(files))
        assert len(windows) == -(-DEV // window)
        assert windows[-1].bytes_read == windows[0].bytes_total
        predictor.columns(windows[0])
        found.append([one for part in windows for one in predictor.predict(part.inputs)])
    for other in found[1:]:
        assert [one.values["prediction"] for one in other] == [
            one.values["prediction"] for one in found[0]
        ]
        for mine, theirs in zip(other, found[0], strict=True):
            assert mine.values["probabilities"] == pytest.approx(
                theirs.values["probabilities"], abs=1e-6
            )


def test_bf16_is_close_to_fp32(run: Path, folder: Path, capsys: Capture) -> None:
    exact = predicted(run, folder / "dev.tsv", capsys)
    rounded = predicted(run, folder / "dev.tsv", capsys, "--precision", "bf16")
    differences = [
        abs(a["probability"] - b["probability"]) for a, b in zip(exact, rounded, strict=True)
    ]
    assert 0 < max(differences) < 0.1


# Formats of the input and of the output


def test_every_format_has_the_same_answers(
    run: Path, folder: Path, rows: list[list[str]], tmp_path: Path, capsys: Capture
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels, texts = zip(*rows, strict=True)
    (tmp_path / "plain.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (tmp_path / "header.tsv").write_text("\n".join(["text_a", *texts]), encoding="utf-8")
    (tmp_path / "other.tsv").write_text(
        "\n".join(["id\ttext\tlabel", *(f"1\t{t}\t{label}" for label, t in rows)])
    )
    (tmp_path / "lines.jsonl").write_text(
        "".join(json.dumps({"text": t, "label": label}) + "\n" for label, t in rows)
    )
    with gzip.open(tmp_path / "lines.tsv.gz", "wt", encoding="utf-8") as file:
        file.write((folder / "dev.tsv").read_text(encoding="utf-8"))
    pq.write_table(pa.table({"text": texts}), tmp_path / "table.parquet")
    expected = [one["probabilities"] for one in predicted(run, folder / "dev.tsv", capsys)]
    labelled = {"other.tsv", "lines.jsonl", "lines.tsv.gz"}
    for path in sorted(tmp_path.iterdir()):
        found = predicted(run, path, capsys)
        assert [one["probabilities"] for one in found] == expected, path.name
        given = [one.get("label") for one in found]
        assert given == (list(labels) if path.name in labelled else [None] * DEV), path.name


def test_tsv_has_a_header_and_on_request_all_probabilities(
    run: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "texts").write_text("看书\n", encoding="utf-8")
    words = ["predict", str(run), str(tmp_path / "texts"), "--probabilities"]
    _, (header, line), errors = run_command(words, capsys)
    assert header.split("\t") == [
        *("prediction", "probability"),
        *(f"probability_{name}" for name in LABELS),
    ]
    name, likely, *each = line.split("\t")
    assert dict(zip(LABELS, each, strict=True))[name] == likely
    assert sum(map(float, each)) == pytest.approx(1, abs=1e-4)
    assert "accuracy" not in errors


def test_fields_are_those_of_the_recipe_or_of_options(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = write_classifier(folder, "named", "data.fields={text: body.review, label: stars}")
    (tmp_path / "a.jsonl").write_text('{"body": {"review": "看书"}, "stars": "long"}\n')
    (tmp_path / "b.jsonl").write_text('{"words": "看书"}\n')
    (tmp_path / "c.jsonl").write_text('{"words": "看书", "gold": "short"}\n')
    first = predicted(run, tmp_path / "a.jsonl", capsys)[0]
    assert first["label"] == "long"
    second = predicted(run, tmp_path / "b.jsonl", capsys, "--text-field", "words")[0]
    assert second["probabilities"] == first["probabilities"]
    assert "label" not in second
    options = ("--text-field", "words", "--label-field", "gold")
    assert predicted(run, tmp_path / "c.jsonl", capsys, *options)[0]["label"] == "short"
    words = ["predict", str(run), str(tmp_path / "b.jsonl"), *options]
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_USER
    assert 'the record has no field "gold"' in errors


def test_standard_input_is_read_and_named(
    run: Path,
    rows: list[list[str]],
    folder: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "".join(f"{text}\n" for _, text in rows)
    expected = [one["probabilities"] for one in predicted(run, folder / "dev.tsv", capsys)]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert [one["probabilities"] for one in predicted(run, "-", capsys)] == expected
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\tb\nc\n")))
    code, _, errors = run_command(["predict", str(run), "-"], capsys)
    assert code == EXIT_USER
    assert errors == (
        "ptm: stdin:2: the line has 1 columns, but the first line of the file has 2. Replace a TAB "
        "inside a text by a space.\n"
    )


def test_two_columns_are_label_and_text_or_a_pair(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "two"
    file.write_text("long\t看书\n", encoding="utf-8")
    assert predicted(run, file, capsys)[0]["label"] == "long"
    file.write_text("书\t看书\n", encoding="utf-8")
    assert "label" not in predicted(run, file, capsys)[0]
    file.write_text("a\tb\tc\td\n", encoding="utf-8")
    code, _, errors = run_command(["predict", str(run), str(file)], capsys)
    assert code == EXIT_USER
    assert "has 4 columns, and without a header" in errors


@pytest.mark.parametrize("name", [*FORMATS, "yaml"])
def test_every_format_can_be_declared(
    run: Path, tmp_path: Path, capsys: Capture, name: str
) -> None:
    words = ["predict", str(run), str(tmp_path / "absent"), "--input-format", name]
    if name == "yaml":
        with pytest.raises(SystemExit):
            run_command(words, capsys)
        return
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_USER
    assert "cannot be read: No such file" in errors


def test_a_record_of_json_lines_may_lack_the_label(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text('{"text": "看书", "label": "long"}\n{"text": "看书"}\n{"label": "long"}\n')
    first, second, third = predicted(run, file, capsys)
    assert second["probabilities"] == first["probabilities"]
    assert (first["label"], "label" in second) == ("long", False)
    assert third["prediction"] is None


# Inputs without an answer


def test_line_n_of_the_output_is_that_of_line_n_of_the_input(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "texts"
    file.write_bytes("看书\n\n \n\u200b\n".encode() + b"\xff\xfe\n" + "a\0b\n好书".encode())
    code, lines, errors = run_command(["predict", str(run), str(file)], capsys)
    assert code == EXIT_DONE
    assert len(lines) == 8
    assert [bool(line.strip()) for line in lines] == [True, True, *[False] * 5, True]
    assert errors.splitlines() == [
        "3 inputs have no text, and therefore no answer.",
        f"2 inputs could not be read and got no answer; the first is {file}:5: the line is "
        "not valid UTF-8.",
    ]


def test_long_texts_are_cut_and_counted(
    run: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["predict", str(run), str(folder / "dev.tsv"), "--sequence-length"]
    _, cut, errors = run_command([*words, "8"], capsys)
    assert re.match(r"\d\d texts were longer than 8 tokens and cut at the end", errors)
    _, whole, errors = run_command([*words, "512"], capsys)
    assert "longer than" not in errors
    assert cut != whole
    for length, message in ((4, "must be at least 5"), (513, "the model has 512 positions")):
        code, _, errors = run_command([*words, str(length)], capsys)
        assert code == EXIT_USER
        assert message in errors


def test_labels_that_the_model_does_not_have_are_counted(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("label\ttext\nlong\t看书\ntall\t看书\n", encoding="utf-8")
    code, lines, errors = run_command(["predict", str(run), str(file)], capsys)
    assert code == EXIT_DONE
    assert [line.split("\t")[2] for line in lines] == ["label", "long", "tall"]
    assert (
        "1 label is none of the model's, and not counted in the accuracy; the first is "
        f'{file}:3: "tall".' in errors
    )
    assert errors.rstrip().endswith("on 1 label")


def test_single_texts_and_pairs_do_not_mix(run: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "one").write_text("看书\n", encoding="utf-8")
    (tmp_path / "two").write_text("看\t书\n", encoding="utf-8")
    words = ["predict", str(run), str(tmp_path / "one"), str(tmp_path / "two")]
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_USER
    assert f"{tmp_path / 'two'}:1: the input is a pair of texts" in errors


def test_inputs_that_the_model_was_not_trained_on_are_noted(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    note = "The inputs are {}, but the model was trained on {}: its answers mean little."
    (tmp_path / "one").write_text("看书\n", encoding="utf-8")
    (tmp_path / "two").write_text("看\t书\n", encoding="utf-8")
    _, _, errors = run_command(["predict", str(run), str(tmp_path / "two")], capsys)
    assert note.format("pairs of texts", "single texts") in errors
    _, _, errors = run_command(["predict", str(run), str(tmp_path / "one")], capsys)
    assert errors == ""
    write_corpora(tmp_path, texts=2)
    write_stores(tmp_path)
    pairs = write_classifier(tmp_path, "pairs")
    _, _, errors = run_command(["predict", str(pairs), str(tmp_path / "one")], capsys)
    assert note.format("single texts", "pairs of texts") in errors


# Wrong uses, and outputs that end early


def test_a_model_without_the_head_is_rejected(store: Path, tmp_path: Path, capsys: Capture) -> None:
    from tests.support.written_runs import write_run

    run = write_run(store, tmp_path, "mlm")
    (tmp_path / "texts").write_text("看书\n", encoding="utf-8")
    code, lines, errors = run_command(["predict", str(run), str(tmp_path / "texts")], capsys)
    assert (code, lines) == (EXIT_USER, [])
    assert errors.count("\n") == 1
    assert f"{run}: a model trained with objective mlm has no head that `ptm predict`" in errors


def test_a_file_is_written_whole_or_not_at_all(
    run: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.tsv"
    words = ["predict", str(run), str(folder / "dev.tsv"), "--out", str(out)]
    code, lines, _ = run_command(words, capsys)
    assert (code, lines) == (EXIT_DONE, [])
    whole = out.read_text(encoding="utf-8")
    assert whole.count("\n") == DEV + 1
    (tmp_path / "bad").write_text("看书\n" * 5000 + "a\tb\n", encoding="utf-8")
    words = ["predict", str(run), str(tmp_path / "bad"), "--out", str(out)]
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_USER
    assert ":5001: the line has 2 columns" in errors
    assert out.read_text(encoding="utf-8") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "out.tsv"]
    for path in (tmp_path, tmp_path / "no" / "out.tsv"):
        code, _, errors = run_command([*words[:3], "--out", str(path)], capsys)
        assert code == EXIT_USER
        assert errors.startswith(f'ptm: --out "{path}"')


def test_an_input_is_not_overwritten(
    run: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_bytes((folder / "dev.tsv").read_bytes())
    (tmp_path / "link.tsv").symlink_to(corpus)
    before = corpus.read_bytes()
    for name in ("corpus.tsv", "link.tsv"):
        words = ["predict", str(run), str(corpus), "--out", str(tmp_path / name)]
        code, _, errors = run_command(words, capsys)
        assert (code, "is one of the inputs" in errors) == (EXIT_USER, True)
    assert corpus.read_bytes() == before


def test_an_interrupted_command_leaves_no_file(
    run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert len(list(tmp_path.iterdir())) == 1, "the output is being written"
            raise KeyboardInterrupt

    class Stdin:
        buffer = Interrupted()

    monkeypatch.setattr("sys.stdin", Stdin())
    words = ["predict", str(run), "-", "--out", str(tmp_path / "out.tsv")]
    code, lines, errors = run_command(words, capsys)
    assert (code, lines, errors) == (EXIT_INTERRUPTED, [], "ptm: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_a_terminated_command_leaves_no_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("看书\n" * 2_000_000, encoding="utf-8")
    out = tmp_path / "out.tsv"
    command = [sys.executable, "-m", "ptm", "predict", str(run), str(tmp_path / "texts")]
    with subprocess.Popen([*command, "--out", str(out)]) as process:
        while len(list(tmp_path.iterdir())) < 2:
            assert process.poll() is None, "the command ended by itself"
            time.sleep(0.05)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_a_reader_that_stops_ends_the_command_quietly(run: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("看书\n" * 40_000, encoding="utf-8")
    command = [sys.executable, "-m", "ptm", "predict", str(run), str(tmp_path / "texts"), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"prediction\tprobability\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == EXIT_DONE
