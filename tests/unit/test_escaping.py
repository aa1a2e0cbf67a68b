"""Control characters are visible in everything that is printed or logged."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER
from ptm.escaping import EscapingFormatter, escaped, escaped_block, shown_url
from ptm.recipe import load_recipe
from ptm.train.run_log import log_to
from tests.support.small_runs import QUICKSTART

# Colour, title of the window, carriage return, next line (C1), reversed text, separator.
HOSTILE = "a\x1b[31mb\x1b]0;title\x07\r\x9b2J\u202egnp.\u2028\nptm: forged\udc80"
SHOWN = "a\\u001b[31mb\\u001b]0;title\\u0007\\r\\u009b2J\\u202egnp.\\u2028\\nptm: forged\\udc80"
RECIPE = QUICKSTART / "roberta-tiny.yaml"


def test_control_characters_are_escaped_and_texts_are_not() -> None:
    assert escaped(HOSTILE) == SHOWN
    assert escaped_block(HOSTILE) == SHOWN.replace("\\n", "\n")
    for text in ("中文 ÄÖ", "emoji \U0001f600 \U0001f469\u200d\U0001f4bb", "नमस्ते", "a\u200cb"):
        assert escaped(text) == escaped_block(text) == text
    text = json.dumps({"text": HOSTILE[:-1]}, ensure_ascii=False)
    assert json.loads(escaped(text)) == {"text": HOSTILE[:-1]}


def test_a_log_has_one_line_per_message_and_whole_tracebacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ptm", "DeepSpeed"):
        # Other handlers would record the raw message, and pytest-xdist cannot send a surrogate.
        monkeypatch.setattr(logging.getLogger(name), "propagate", False)
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    with log_to(tmp_path / "train.log", active=True):
        logging.getLogger("ptm.test").warning("name %s", HOSTILE)
        logging.getLogger("DeepSpeed").warning(HOSTILE)
    first, second = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert first.endswith(f"WARNING ptm.test: name {SHOWN}")
    assert second.endswith(f"WARNING DeepSpeed: {SHOWN}")
    formatter = EscapingFormatter("%(message)s")
    try:
        raise ValueError("\x1b")
    except ValueError:
        record = logging.LogRecord("ptm", 40, "", 1, "failed", (), sys.exc_info())
    text = formatter.format(record)
    assert text.startswith("failed\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: \\u001b")


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "no\x1b[31m\nptm: forged.yaml"],
        ["validate", str(RECIPE), "train.\x1b[31m\u202e=1"],
        ["train", str(RECIPE), "name=\x85\nptm: forged"],
        ["runs", "no\x1b[31m\nptm: forged"],
        ["launch", str(RECIPE), "--hostfile=no\x1b[31m\nptm: forged"],
        ["fill", "--bogus\x1b[31m\nptm: forged", "x", "y"],
    ],
    ids=["recipe", "override", "value", "folder", "hostfile", "option"],
)
def test_arguments_are_quoted_escaped(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    assert code == EXIT_USER
    error = capsys.readouterr().err
    assert "\\u001b" in error or "\\u0085" in error
    assert not set(error) & {"\x1b", "\x85", "\u202e", "\r"}
    assert not any(line.startswith("ptm: forged") for line in error.splitlines())


def test_every_mistake_in_a_recipe_has_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(RECIPE), "train.steps=x", "seed=x"]) == EXIT_USER
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_names_of_files_are_escaped_in_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a\x1b[31m\nrun"
    run.mkdir()
    recipe = load_recipe(str(RECIPE)).model_dump_json()
    (run / "recipe.yaml").write_text(recipe, encoding="utf-8")
    assert main(["runs", str(tmp_path)]) == 0
    _header, line = capsys.readouterr().out.splitlines()
    assert line.startswith("a\\u001b[31m\\nrun ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host/a.txt: no", "https://HIDDEN@host/a.txt: no"),
        ("https://host/a?x=1&token=b:c%2F:12: no.", "https://host/a?x=HIDDEN&token=HIDDEN:12: no."),
        ('"s3://key@bucket/a" and s3://b/*?.txt', '"s3://HIDDEN@bucket/a" and s3://b/*?.txt'),
        ("a@b.org, c?d=e, https://host/a@b", "a@b.org, c?d=e, https://host/a@b"),
    ],
)
def test_secrets_of_urls_are_hidden(text: str, shown: str) -> None:
    assert shown_url(text) == shown


def test_messages_hide_secrets_of_urls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(RECIPE), "data.format=https://me:secret@host/"]) == EXIT_USER
    assert "secret" not in capsys.readouterr().err
    record = logging.LogRecord("ptm", logging.INFO, "", 0, "s3://me:secret@host/", None, None)
    assert EscapingFormatter().format(record) == "s3://HIDDEN@host/"
