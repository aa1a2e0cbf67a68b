"""A missing file of a recipe is reported with its line, key and path, and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER, UserError
from ptm.recipe import load_recipe
from ptm.recipe.input_files import OF_PREPROCESSING, OF_TRAINING, missing_files, naming
from tests.support.small_runs import PROJECT

RECIPE = str(PROJECT / "recipes" / "roberta" / "tiny.yaml")


def line_of(key: str) -> int:
    lines = Path(RECIPE).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(key))


@pytest.mark.parametrize("command", ["preprocess", "train", "corpus", "show --batch"])
def test_every_command_names_line_key_and_fix(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *options = command.split()
    assert main([name, RECIPE, *options]) == EXIT_USER
    (error,) = capsys.readouterr().err.splitlines()
    place = f'ptm: {RECIPE}:{line_of("tokenizer:")}: tokenizer.vocab: "vocab.txt" is not a file'
    assert error.startswith(place)
    assert error.endswith("Give another path with tokenizer.vocab=PATH.")


@pytest.mark.parametrize(
    ("override", "key", "blocks"),
    [
        ("tokenizer={type: bpe, vocab: /no.json, merges: /no.txt}", "merges", OF_TRAINING),
        ("tokenizer={type: sentencepiece, model: /no.model}", "tokenizer.model", OF_TRAINING),
        ("tokenizer={type: huggingface, file: /no.json}", "tokenizer.file", OF_PREPROCESSING),
        ("data.segmenter={type: jieba, dictionary: /no.txt}", "dictionary", OF_PREPROCESSING),
        ("objective.masking={unit: phrase, lexicon: /no.txt}", "lexicon", OF_TRAINING),
    ],
)
def test_each_kind_of_file_has_its_key(override: str, key: str, blocks: tuple[str, ...]) -> None:
    found = list(missing_files(load_recipe(RECIPE, [override]), blocks))
    assert any(f'{key}: "/no.' in one and f"{key}=PATH." in one for one in found)
    # The command line set the path, so that no line of the file is named.
    assert not any(one.startswith(RECIPE) for one in found if key in one)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.corpus=/no/*.txt", "data.corpus"),
        ("data.evaluation={news: {corpus: /no.txt, store: news}}", "data.evaluation.news.corpus"),
        ("init_from=/no/model", "init_from"),
        ("init_from={source: /no/model}", "init_from.source"),
    ],
)
def test_validate_names_missing_corpora_and_models(
    override: str,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["validate", RECIPE, "--inputs", override]) == EXIT_USER
    errors = capsys.readouterr().err.splitlines()
    assert any(f"{key}: " in one and f"{key}=PATH." in one for one in errors)


def test_an_error_of_the_file_itself_keeps_its_own_fix() -> None:
    with (
        pytest.raises(UserError, match=rf"^{RECIPE}:\d+: data\.corpus: a\.txt: is empty\.$"),
        naming(load_recipe(RECIPE), "data.corpus"),
    ):
        raise UserError("a.txt: is empty.")
