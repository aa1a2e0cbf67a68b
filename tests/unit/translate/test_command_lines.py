"""Pasted text is split as a shell splits it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.translate.command_line import read_command_lines
from ptm.translate.shell_words import split_commands


@pytest.mark.parametrize(
    "line",
    [
        "python3 pretrain.py --a 1 --b 'two words' --c \"x 'y'\"",
        r'python3 a.py --path with\ space --quote \" "in \"quotes\""',
        "python3 a.py --name='a b'c\"d\"",
        "python3 a.py --空格 '语料 库.txt' --x=",
        "python3 a.py a#b '#c' \"\"",
    ],
)
def test_words_are_those_of_a_shell(line: str) -> None:
    assert split_commands(line) == [shlex.split(line)]


@pytest.mark.parametrize(
    "text",
    [
        "a.py 1 && b.py 2",
        "a.py 1; b.py 2",
        "a.py 1\nb.py 2",
        "a.py 1\r\nb.py 2\r\n",
        "a.py \\\n 1\n\n\n  b.py \\  \n  2 # && c.py 3",
        "a.py \\\r\n1\r\nb.py 2",
        "# c.py 3\na.py 1 > log.txt 2>&1 && b.py 2 >>log.txt &",
        "a.py 1 | tee log.txt\nb.py 2 2>/dev/null",
        "a.py 1&&b.py 2;;",
    ],
)
def test_separators_comments_and_redirections(text: str) -> None:
    found = [words for words in split_commands(text) if words[0] != "tee"]
    assert found == [["a.py", "1"], ["b.py", "2"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python3 a.py --x 'abc", "the quote ' before 'abc' is not closed"),
        ('python3 a.py\npython3 b.py "abc', 'line 2: the quote "'),
        ("python3 a.py --x $MODEL", r"\$MODEL: variables"),
        ('python3 a.py --x "${MODEL}/x"', "variables"),
        ("python3 a.py --x $(date)", "variables"),
        ("python3 a.py --x `date`", "variables"),
        ("python3 a.py --x a\0b", "null character"),
    ],
)
def test_unclosed_quotes_and_variables_are_errors(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        split_commands(text)


def test_the_home_folder() -> None:
    assert split_commands("a.py ~/b x~/c '~/d'") == [["a.py", f"{Path.home()}/b", "x~/c", "~/d"]]


def test_dollar_in_single_quotes_is_text() -> None:
    assert split_commands("a.py '$x' 5$") == [["a.py", "$x", "5$"]]


@pytest.mark.parametrize(
    "prefix",
    [
        "python3",
        "python -u",
        "/usr/bin/python3.11",
        "nohup python3",
        "$ python3",
        "env python3",
        "time python3 -W ignore",
    ],
)
def test_the_interpreter_is_left_out(prefix: str) -> None:
    (line,) = read_command_lines(f"{prefix} some/folder/pretrain.py --seed 1")
    assert (line.program, line.words) == ("pretrain.py", ("--seed", "1"))


@pytest.mark.parametrize("prefix", ["Node-1 :", "Node-1:", "node1:", "Node-1：", "NODE_1 ："])
def test_the_number_of_a_node_is_read(prefix: str) -> None:
    (line,) = read_command_lines(f"{prefix} A=1 python3 pretrain.py")
    assert (line.node, dict(line.environment)) == (1, {"A": "1"})


@pytest.mark.parametrize(
    ("launcher", "ranks", "hosts"),
    [
        ("torchrun --nproc_per_node 8", 8, 1),
        ("torchrun --nproc-per-node=4 --nnodes=2 --node_rank 0 --master_addr a", 8, 2),
        ("python -m torch.distributed.launch --nproc_per_node=2", 2, 1),
        ("python3 -m torch.distributed.run --standalone --nproc_per_node 3", 3, 1),
        ("deepspeed --num_gpus 4 --num_nodes 2", 8, 2),
        ("accelerate launch --num_processes 16 --num_machines 2", 16, 2),
        ("python3", None, 1),
    ],
)
def test_ranks_of_launchers(launcher: str, ranks: int | None, hosts: int) -> None:
    (line,) = read_command_lines(f"{launcher} run_mlm.py --do_train")
    assert (line.launched_ranks, line.launched_hosts) == (ranks, hosts)
    assert line.words == ("--do_train",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ls -l", None),
        ("foo bar", "does not start a Python script"),
        ("python3", "does not start a Python script"),
        ("python3 -m pytest x", "python -m pytest"),
        ("pretrain", "does not start a Python script"),
    ],
)
def test_other_programs(text: str, words: str | None) -> None:
    if words is None:
        assert not read_command_lines(text)[0].is_script
        return
    with pytest.raises(UserError, match=words):
        read_command_lines(text)


def test_a_number_of_ranks_must_be_an_integer() -> None:
    (line,) = read_command_lines("torchrun --nproc_per_node gpu run_mlm.py")
    with pytest.raises(UserError, match='--nproc_per_node: "gpu" is not a positive integer'):
        _ = line.launched_ranks
