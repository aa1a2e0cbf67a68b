"""Options are parsed as argparse parses them."""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping

import pytest

from ptm.errors import UserError
from ptm.translate.command_line import CommandLine
from ptm.translate.huggingface_recipe import TABLES
from ptm.translate.options import Option, parse_options
from ptm.translate.uer_trainings import PREPROCESS, PRETRAIN

_TYPES = {"integer": int, "number": float, "text": str}


def _parser(table: Mapping[str, Option]) -> argparse.ArgumentParser:
    """The other tool's parser: that of UER-py has only its own options."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    for option in table.values():
        if option.tool != "uer":
            continue
        if option.kind == "flag":
            parser.add_argument(option.name, action="store_true", default=argparse.SUPPRESS)
        else:
            parser.add_argument(
                option.name,
                type=_TYPES[option.kind],
                nargs="+" if option.many else None,
                choices=[*option.choices, *option.former_choices] or None,
                default=argparse.SUPPRESS,
            )
    return parser


def _random_words(table: Mapping[str, Option], dice: random.Random) -> list[str]:
    words = []
    options = [option for option in table.values() if option.tool == "uer"]
    for option in dice.sample(options, dice.randint(1, 12)):
        if option.kind == "flag":
            words.append(option.name)
            continue
        values = {
            "integer": [str(dice.randint(-5, 99))],
            "number": [dice.choice(["1e-4", "-0.5", "3", ".25"])],
            "text": [dice.choice(option.choices or ("a/b.txt", "语料.txt", "x=y"))],
        }[option.kind]
        if option.many:
            values = values * dice.randint(1, 3)
            words += [option.name, *values]
        else:
            words += dice.choice([[option.name, *values], [f"{option.name}={values[0]}"]])
    return words


@pytest.mark.parametrize("table", [PREPROCESS, PRETRAIN], ids=["preprocess", "pretrain"])
def test_values_are_those_of_argparse(table: Mapping[str, Option]) -> None:
    dice, parser = random.Random(3), _parser(table)
    for _ in range(300):
        words = _random_words(table, dice) + _random_words(table, dice)
        given = parse_options(CommandLine("x.py", tuple(words)), table)
        assert given.values == vars(parser.parse_args(words)), words


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("--save_checkpoint 5", "save_checkpoint_steps"),
        ("--save-checkpoint-steps 5", "save_checkpoint_steps"),
        ("--tie_weight", "tie_weights"),
        ("--wwm", "whole_word_masking"),
        ("--layernorm t5", "layernorm"),
        ("--report 5", "report_steps"),
    ],
)
def test_abbreviations_and_earlier_spellings(words: str, field: str) -> None:
    given = parse_options(CommandLine("pretrain.py", tuple(words.split())), PRETRAIN)
    assert list(given.values) == [field]
    assert given.written[field] == words


def test_the_documented_misspelling() -> None:
    words = ("--sentence_selection_stratege", "random")
    given = parse_options(CommandLine("preprocess.py", words), PREPROCESS)
    assert given.get("sentence_selection_strategy") == "random"


def test_the_last_of_repeated_options_counts() -> None:
    words = ("--seed", "1", "--batch_size", "2", "--seed=3")
    given = parse_options(CommandLine("pretrain.py", words), PRETRAIN)
    assert given.values == {"batch_size": 2, "seed": 3}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--do_train", True),
        ("--do_train True", True),
        ("--do_train False", False),
        ("--do_train=false", False),
        ("--no_do_train", False),
        ("--do-train --seed 1", True),
    ],
)
def test_switches_of_transformers(words: str, *, value: bool) -> None:
    line = CommandLine("run_mlm.py", tuple(words.split()))
    assert parse_options(line, TABLES["run_mlm.py"]).get("do_train") is value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--lerning_rate 1",
            "--lerning_rate is not an option of this script. Did you mean --learning_rate?",
        ),
        ("--zzz 1", "--zzz is not an option of this script. `ptm translate`"),
        ("--span", "--span is ambiguous: --span_geo_prob, --span_masking, --span_max_length."),
        ("-- x", "-- is not an option of this script"),
        ("-h", "-h is not an option of this script"),
        ("--learning_rate", "--learning_rate has no value"),
        ("--learning_rate --seed 1", "--learning_rate has no value"),
        ("--gpu_ranks", "--gpu_ranks has no value"),
        ("--learning_rate fast", '--learning_rate: "fast" is not a number'),
        ("--batch_size 1.5", '--batch_size: "1.5" is not an integer'),
        (
            "--mask casual",
            '--mask: "casual" is not one of fully_visible, causal, '
            "causal_with_prefix. Did you mean causal?",
        ),
        ("--tie_weights=1", '--tie_weights takes no value, but "1" is given'),
        ("--seed 1 2", '"2" belongs to no option'),
        ("extra", '"extra" belongs to no option'),
    ],
)
def test_what_cannot_be_parsed_is_an_error(words: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_options(CommandLine("pretrain.py", tuple(words.split())), PRETRAIN)
    assert message in str(caught.value)
    assert str(caught.value).startswith("pretrain.py: ")


def test_a_switch_needs_a_truth_value() -> None:
    line = CommandLine("run_mlm.py", ("--do_train=perhaps",))
    with pytest.raises(UserError, match='"perhaps" is neither True nor False'):
        parse_options(line, TABLES["run_mlm.py"])
