"""`ptm predict` with models of tags: entities, their offsets, formats, windows and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizerFast,
    TokenClassificationPipeline,
)

from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.inference.predict.base import InputFiles, PredictionOptions, predictor_of
from ptm.interop.hf.families.bert import Bert
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from tests.support.classifiers import run_command
from tests.support.small_runs import QUICKSTART, vocab
from tests.support.tagged_texts import DEV, as_lines, sentences, tagging, write_stores
from tests.support.written_runs import write_run

Capture = pytest.CaptureFixture[str]
KINDS = {"softmax": "", "crf": ", crf: true", "bound": ", constrained_decoding: true"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tagged")
    write_stores(made)
    return made


def write_tagger(folder: Path, name: str, options: str = "", *overrides: str) -> Path:
    return write_run(
        folder / "train", folder / "runs", name, *tagging(folder, options), *overrides, std=0.3
    )


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return write_tagger(folder, "softmax")


def predicted(run: Path, file: Path, capsys: Capture, *options: str) -> list[dict[str, Any]]:
    words = ["predict", str(run), str(file), "--format", "json_lines", *options]
    code, lines, _ = run_command(words, capsys)
    assert code == EXIT_DONE
    return [json.loads(line) for line in lines]


def pipeline_of(source: ModelSource) -> TokenClassificationPipeline:
    """transformers' pipeline with the weights of ours."""
    recipe, weights = source.recipe(), source.tensors()
    names: Any = recipe.objective.label_set
    config = BertConfig(
        vocab_size=recipe.tokenizer.load().vocabulary.size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        id2label=dict(enumerate(names.names)),
    )
    theirs = BertForTokenClassification(config).eval()
    renamed = Bert().to_huggingface(weights, recipe.model, recipe.objective)
    for kind in ("weight", "bias"):
        renamed[f"classifier.{kind}"] = weights[f"tag_classifier.{kind}"]
    missing, _ = theirs.load_state_dict(
        {name: renamed[name] for name in theirs.state_dict() if name in renamed}, strict=False
    )
    assert [name for name in missing if "position_ids" not in name] == []
    return TokenClassificationPipeline(
        model=theirs,
        tokenizer=BertTokenizerFast(vocab=str(vocab()), do_lower_case=True),
        aggregation_strategy="simple",
    )


def test_entities_are_those_of_the_pipeline_of_transformers(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    chinese = (QUICKSTART / "corpus" / "chinese.txt").read_text(encoding="utf-8").splitlines()
    texts = [
        "天安门在看书,安",
        " 我 们 在天安门 看书 。",
        "书",
        *(one[:60] for one in chinese[:40:2]),
    ]
    file = tmp_path / "texts"
    file.write_text("".join(f"{text}\n" for text in texts))
    theirs = pipeline_of(open_source(str(run)))
    compared = 0
    options = ("--words", "characters", "--sequence-length", "128")
    found = predicted(run, file, capsys, *options)
    for text, answer in zip(texts, found, strict=True):
        expected = [
            (one["entity_group"], one["start"], one["end"], pytest.approx(one["score"], abs=1e-5))
            for one in theirs(text)
        ]
        entities = answer["entities"]
        assert [(e["type"], e["start"], e["end"], e["score"]) for e in entities] == expected
        assert all(text[e["start"] : e["end"]] == e["text"] for e in entities)
        compared += len(expected)
    assert compared > 20


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_evaluate_over_windows(
    folder: Path, capsys: Capture, kind: str
) -> None:
    run = write_tagger(folder, f"short-{kind}", KINDS[kind], "data.sequence_length=12")
    expected = evaluate_source(open_source(str(run)), [])
    code, lines, errors = run_command(["predict", str(run), str(folder / "dev-0.txt")], capsys)
    assert code == EXIT_DONE
    assert "longer than 12 tokens and split between words" in errors
    shown = (
        f"entity precision {expected['dev/entity_precision']:.5f}, entity recall "
        f"{expected['dev/entity_recall']:.5f}, entity f1 {expected['dev/entity_f1']:.5f}, "
        f"accuracy {expected['dev/accuracy']:.5f} on "
    )
    assert shown in errors
    assert f"words of {DEV} sentences" in errors
    header, *entities = (line.split("\t") for line in lines)
    assert header == ["input", "type", "text", "start", "end", "score"]
    assert len({one[0] for one in entities}) > 10
    assert all(0 < float(one[5]) <= 1 for one in entities)


def test_every_format_has_the_same_answers(
    run: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    some = sentences(DEV, seed=2)
    (tmp_path / "words.conll").write_text(
        "".join("".join(f"{w} {t}\n" for w, t in zip(*one, strict=True)) + "\n" for one in some)
    )
    (tmp_path / "header.tsv").write_text("tokens\ttags\n" + as_lines(some))
    (tmp_path / "lists.jsonl").write_text(
        "".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in some)
    )
    (tmp_path / "untagged.jsonl").write_text(
        "".join(json.dumps({"tokens": words}) + "\n" for words, _ in some)
    )
    (tmp_path / "plain.txt").write_text("".join(" ".join(words) + "\n" for words, _ in some))
    expected = predicted(run, folder / "dev-0.txt", capsys, "--words", "spaces")
    assert [one["labels"] for one in expected] == [tags for _, tags in some]
    assert [one["words"] for one in expected] == [words for words, _ in some]
    for path in sorted(tmp_path.iterdir()):
        found = predicted(run, path, capsys, "--words", "spaces")
        for mine, other in zip(found, expected, strict=True):
            assert mine["tags"] == other["tags"], path.name
            assert mine["entities"] == other["entities"], path.name
        tagged = path.name not in ("plain.txt", "untagged.jsonl")
        assert all(("labels" in one) == tagged for one in found), path.name
    options = ("--input-format", "conll", "--words", "spaces")
    (tmp_path / "only").write_text("".join("\n".join([*words, "", ""]) for words, _ in some))
    found = predicted(run, tmp_path / "only", capsys, *options)
    assert [one["tags"] for one in found] == [one["tags"] for one in expected]


def test_windows_change_nothing(run: Path, folder: Path) -> None:
    found = []
    for window in (1, 5, 1000):
        predictor = predictor_of(open_source(str(run)), PredictionOptions(window=window))
        files = InputFiles((str(folder / "dev-0.txt"),))
        answers = [
            one for part in predictor.windows(files) for one in predictor.predict(part.inputs)
        ]
        numbers = {int(line[0]) for one in answers for line in one.lines or ()}
        assert numbers <= set(range(1, DEV + 1))
        assert max(numbers) > 30
        found.append(([one.values["tags"] for one in answers], predictor.notes()))
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_words_of_classes_have_a_line_each(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    labels = "objective={type: tagging, labels: [N, V], scheme: plain}"
    run = write_run(folder / "train", folder / "runs", "pos", *tagging(folder), labels, std=0.3)
    file = tmp_path / "text"
    file.write_text('He read: "stop (now)".\n')
    _, lines, errors = run_command(["predict", str(run), str(file), "--words", "spaces"], capsys)
    assert [line.split("\t")[2] for line in lines[1:]] == [
        *("He", "read", ":", '"', "stop", "(", "now", ")", '"', ".")
    ]
    assert {line.split("\t")[1] for line in lines[1:]} <= {"N", "V"}
    assert errors == ""


def test_damaged_and_empty_lines_have_no_answer(run: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        '{"text": "看书"}\n\n{"text": " "}\n{"tokens": 3}\n{"tokens": ["a"], "tags": []}\n'
        '{"text": "天安门\\t在\\n看书"}\n'.encode()
        + b'{"text": "\xff"}\n'
    )
    words = ["predict", str(run), str(file), "--format", "json_lines"]
    code, lines, errors = run_command([*words, "--text-field", "text"], capsys)
    assert code == EXIT_DONE
    answers = [json.loads(line)["tags"] for line in lines]
    assert [one is None for one in answers] == [False, *[True] * 4, False, True]
    assert errors.splitlines() == [
        "2 inputs have no text, and therefore no answer.",
        f"3 inputs could not be read and got no answer; the first is {file}:4: the record "
        'has no field "text". Choose one of: tokens.',
    ]


def test_tags_that_the_model_does_not_have_are_not_scored(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"tokens": ["看书"], "tags": ["O"]}\n{"tokens": ["看书"], "tags": ["B-LOCK"]}\n'
    )
    _, _, errors = run_command(["predict", str(run), str(file)], capsys)
    assert "1 sentence has tags that the model does not have" in errors
    assert f'{file}:2: "B-LOCK" is not one of the tags' in errors
    assert errors.rstrip().endswith("on 1 word of 1 sentence")


def test_options_of_other_models_are_errors(
    run: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["predict", str(run), str(folder / "dev-0.txt")]
    for option in (("--probabilities",), ("--text-b-field", "b")):
        code, _, errors = run_command([*words, *option], capsys)
        assert code == EXIT_USER
        assert errors.startswith(f"ptm: {option[0]}: ")
