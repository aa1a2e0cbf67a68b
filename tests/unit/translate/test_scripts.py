"""Lines of UER-py's scripts/ become commands, and later lines use what they write."""

from __future__ import annotations

import pytest

from ptm.cli.entry import build_parser
from ptm.errors import UserError
from ptm.translate.steps import Translation
from ptm.translate.translate import translate


def _translated(text: str) -> Translation:
    return translate(text, recipe_path="r.yaml")


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        (
            "scripts/build_vocab.py --corpus_path c.txt --output_path m/v.txt --delimiter space "
            "--min_count 3 --workers_num 8",
            ["ptm vocab train c.txt --out m/v --type space --min-count 3"],
        ),
        (
            "scripts/dynamic_vocab_adapter.py --old_model_path m/a.bin --old_vocab_path a.txt "
            "--new_vocab_path b.txt --new_model_path m/b.bin",
            [
                "ptm import m/a.bin m/a --from uer --config models/bert/base_config.json "
                "--vocab a.txt",
                "ptm vocab adapt m/a m/b --vocab b.txt",
            ],
        ),
        (
            "scripts/convert_bert_from_huggingface_to_uer.py --input_model_path "
            "m/hf/pytorch_model.bin --output_model_path m/b.bin --layers_num 12",
            [
                "ptm import m/hf m/hf/pytorch_model-imported --from hf",
                "ptm export m/hf/pytorch_model-imported m/b-uer --to uer",
            ],
        ),
        (
            "scripts/convert_gpt2_from_tencentpretrain_to_huggingface.py --input_model_path "
            "m/a.bin --output_model_path m/b.bin",
            [
                "ptm import m/a.bin m/a --from uer --config models/bert/base_config.json "
                "--vocab models/google_zh_vocab.txt",
                "ptm export m/a m/b-hf --to hf",
            ],
        ),
        (
            "scripts/diff_vocab.py --vocab_1 a.txt --vocab_2 b.txt",
            ["ptm vocab compare a.txt b.txt"],
        ),
        (
            "scripts/average_models.py --model_list_path a.bin-1 a.bin-2 --output_model_path c.bin",
            ["ptm export runs/NAME c --to uer --average 2"],
        ),
    ],
)
def test_scripts_are_commands(line: str, commands: list[str]) -> None:
    translation = _translated(f"python3 {line}")
    assert translation.commands == commands
    assert not translation.recipes
    parser = build_parser()
    for command in commands:
        parser.parse_args(command.split()[1:])


def test_a_training_uses_the_vocabulary_and_the_model_of_earlier_lines() -> None:
    text = (
        "python3 scripts/build_vocab.py --corpus_path c.txt --output_path m/v.txt "
        "--delimiter space\n"
        "python3 scripts/dynamic_vocab_adapter.py --old_model_path m/a.bin --old_vocab_path a.txt "
        "--new_vocab_path m/v.txt --new_model_path m/b.bin\n"
        "python3 preprocess.py --corpus_path c.txt --vocab_path m/v.txt --tokenizer space "
        "--target bert\n"
        "python3 pretrain.py --vocab_path m/v.txt --pretrained_model_path m/b.bin --target bert "
        "--output_model_path m/c.bin\n"
        "python3 scripts/convert_bert_from_uer_to_huggingface.py --input_model_path m/c.bin-100000 "
        "--output_model_path m/d.bin --type bert"
    )
    translation = _translated(text)
    data = translation.recipes[0].draft.data
    assert data["init_from"] == "m/b"
    assert data["tokenizer"]["vocab"] == "m/v/vocab.txt"
    assert "ptm vocab adapt m/a m/b --vocab m/v/vocab.txt" in translation.commands
    assert translation.commands[-1] == "ptm export m/c m/d-hf --to hf"


@pytest.mark.parametrize(
    "script",
    [
        "convert_bert_from_original_tf_to_uer",
        "convert_vit_from_huggingface_to_tencentpretrain",
        "convert_sbert_from_uer_to_huggingface",
        "convert_bert_text_classification_from_uer_to_huggingface",
        "convert_bert_token_classification_from_huggingface_to_uer",
        "run_ner",
    ],
)
def test_scripts_without_counterpart_are_listed(script: str) -> None:
    translation = _translated(f"python3 {script}.py --anything 1")
    assert not translation.commands
    assert [written for written, _ in translation.notes] == [f"{script}.py"]


def test_an_unknown_option_of_a_script_is_an_error() -> None:
    with pytest.raises(UserError, match="Did you mean --min_count"):
        _translated("python3 scripts/build_vocab.py --min_counts 2 --delimiter space")
