"""Recipes of UER-py's and TencentPretrain's run_classifier.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.recipe import load_recipe
from ptm.translate.steps import Translation
from ptm.translate.translate import translate

_LINE = "python3 finetune/run_classifier.py --train_path a.tsv --dev_path b.tsv --vocab_path v.txt"


def _translated(text: str) -> Translation:
    return translate(text, recipe_path="r.yaml")


def test_a_line_is_a_valid_recipe_of_a_classification(tmp_path: Path) -> None:
    translation = _translated(
        f"{_LINE} --test_path c.tsv --pretrained_model_path m/b.bin-5 --output_model_path m/o.bin "
        "--epochs_num 4 --batch_size 64 --learning_rate 5e-5 --seq_length 256 --pooling mean"
    )
    draft = translation.recipes[0].draft
    path = tmp_path / "r.yaml"
    path.write_text(draft.yaml())
    assert load_recipe(str(path)) == draft.validated()
    data = draft.data
    assert data["data"]["corpus"] == "a.tsv"
    assert data["data"]["layout"] == "labelled"
    assert data["data"]["evaluation"] == {
        "dev": {"corpus": "b.tsv", "store": "b-store"},
        "test": {"corpus": "c.tsv", "store": "c-store"},
    }
    assert data["data"]["sequence_length"] == 256
    assert data["objective"] == {"type": "classification", "labels": 2, "pooling": "mean"}
    assert data["train"]["epochs"] == 4
    assert data["train"]["global_batch_size"] == data["train"]["micro_batch_size"] == 64
    assert "steps" not in data["train"]
    assert data["optimizer"]["learning_rate"] == 5e-5
    assert data["checkpoint"]["best"] == "dev/accuracy"
    assert not translation.notes
    assert translation.commands == [
        "ptm import m/b.bin-5 m/b --from uer --config models/bert/base_config.json --vocab v.txt",
        "ptm validate r.yaml",
        "ptm preprocess r.yaml",
        "ptm train r.yaml",
        "ptm export m/o m/o-uer --to uer --step best",
    ]
    assert data["init_from"] == "m/b"


def test_the_defaults_are_those_of_uer_py() -> None:
    draft = _translated(_LINE).recipes[0].draft
    assert draft.data["name"] == "finetuned_model"
    assert draft.data["train"]["epochs"] == 3
    assert draft.data["train"]["global_batch_size"] == 32
    assert draft.data["data"]["sequence_length"] == 128
    assert draft.comments["train.epochs"] == "default of --epochs_num"


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["0\tx", "2\ty", "1\tz"], 3),
        (["label\ttext_a", "1\tx", "0\ty"], 2),
        (["text_a\ttext_b\tlabel", "x\ty\tno", "y\tz\tyes"], ["no", "yes"]),
        (["1\tx", "2\ty"], ["1", "2"]),
    ],
)
def test_labels_and_steps_are_counted_in_the_train_file(
    rows: list[str], labels: int | list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("\n".join(rows) + "\n")
    line = f"{_LINE.replace('a.tsv', str(path))} --batch_size 2"
    draft = _translated(line).recipes[0].draft
    assert draft.data["objective"]["labels"] == labels
    texts = sum("label" not in row for row in rows)
    assert draft.data["tracking"]["evaluate_every"] == (texts + 1) // 2
    assert draft.validated().objective.type == "classification"


def test_labels_of_an_absent_file_are_a_marked_placeholder() -> None:
    comments = _translated(_LINE).recipes[0].draft.comments
    assert comments["objective.labels"].startswith("a placeholder: a.tsv does not exist here")


def test_it_starts_from_the_run_of_an_earlier_line() -> None:
    text = (
        "python3 pretrain.py --vocab_path v.txt --target mlm --output_model_path m/a.bin\n"
        "mv m/a.bin-100000 m/base.bin\n"
        f"{_LINE} --pretrained_model_path m/base.bin"
    )
    translation = _translated(text)
    assert translation.recipes[1].draft.data["init_from"] == "m/a"
    assert not translation.notes


def test_visible_gpus_share_the_batch() -> None:
    translation = _translated(f"CUDA_VISIBLE_DEVICES=0,1 {_LINE}")
    train = translation.recipes[0].draft.data["train"]
    assert (train["global_batch_size"], train["micro_batch_size"]) == (32, 16)
    assert "CUDA_VISIBLE_DEVICES=0,1 ptm launch --num-gpus 2 r.yaml" in translation.commands


def test_another_vocabulary_needs_stores_of_its_own() -> None:
    text = f"{_LINE}\n{_LINE.replace('v.txt', 'w.txt')}\n{_LINE} --seed 3"
    data = [recipe.draft.data["data"] for recipe in _translated(text).recipes]
    stores = [(one["store"], one["evaluation"]["dev"]["store"]) for one in data]
    assert stores == [("a-store", "b-store"), ("a-store-2", "b-store-2"), ("a-store", "b-store")]


def test_a_file_that_is_named_twice_has_two_stores() -> None:
    line = f"{_LINE.replace('b.tsv', 'a.tsv')} --test_path a.tsv"
    draft = _translated(line).recipes[0].draft
    draft.validated()
    data = draft.data["data"]
    stores = [data["store"], *(one["store"] for one in data["evaluation"].values())]
    assert stores == ["a-store", "a-store-dev", "a-store-test"]


def test_options_without_counterpart_are_listed() -> None:
    line = f"{_LINE} --use_adv --soft_targets --soft_alpha 0.3 --target mlm --log_path a.log"
    listed = {written for written, _ in _translated(line).notes}
    assert listed == {
        *("--use_adv", "--soft_targets", "--soft_alpha 0.3", "--target mlm", "--log_path a.log"),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{_LINE} --epoch_num 3", "Did you mean --epochs_num"),
        (f"{_LINE} --total_steps 3", "--total_steps is not an option"),
        (
            "python3 run_classifier.py --dev_path b.tsv",
            "run_classifier.py: --train_path is missing",
        ),
        (f"{_LINE} --test_path=", "--test_path is missing"),
        ("python3 run_classifier.py --train_path b.tsv", "--dev_path is missing"),
    ],
)
def test_bad_lines_are_errors(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _translated(line)


def test_a_script_for_another_task_alone_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", "python3 finetune/run_ner.py --train_path a.tsv"]) == EXIT_USER
    assert capsys.readouterr().err == (
        "ptm: nothing was translated: run_ner.py: a script for a task, which `ptm translate` does "
        "not convert; for the classification of texts start from recipes/classification.\n"
    )
    assert main(["translate", f"{_LINE}\npython3 finetune/run_ner.py"]) == EXIT_DONE
    assert "# run_ner.py: a script for a task" in capsys.readouterr().out
