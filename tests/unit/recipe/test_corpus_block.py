"""The keys of a recipe that say how a corpus is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.cli.entry import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.recipe import Recipe
from tests.support.corpora import FORMATS

Load = Callable[..., Recipe]

JSON = '{"id": 1, "body": "a b"}\n'


def test_the_defaults_recognise_everything_but_the_encoding(load: Load) -> None:
    options = load().data.corpora["data"].reading
    assert (options.format, options.encoding, dict(options.fields)) == (None, "utf-8", {})
    assert options.quoting is None


def test_text_field_is_short_for_a_field(load: Load) -> None:
    short = load("data.text_field=page.body").data.corpora["data"].reading
    long = load("data.fields.text=page.body").data.corpora["data"].reading
    assert dict(short.fields) == dict(long.fields) == {"text": "page.body"}
    with pytest.raises(UserError, match=r"text_field = a and fields.text = b are the same"):
        load("data.text_field=a", "data.fields.text=b")


def test_an_evaluation_set_is_read_as_the_corpus_unless_it_has_keys_of_its_own(load: Load) -> None:
    news = "data.evaluation.news={corpus: n.csv, store: n"
    data = ("data.text_field=body", "data.encoding=gbk", "data.quoting=false", "data.format=tsv")
    same = load(*data, f"{news}}}").data.corpora["data.evaluation.news"].reading
    assert (same.format, same.encoding, dict(same.fields)) == ("tsv", "gbk", {"text": "body"})
    assert (same.quoting, same.key) == (False, "data.evaluation.news")
    own = ", format: csv, encoding: latin-1, text_field: t, quoting: true}"
    other = load(*data, f"{news}{own}").data.corpora["data.evaluation.news"].reading
    assert (other.format, other.encoding, dict(other.fields)) == ("csv", "iso8859-1", {"text": "t"})
    assert other.quoting is True


def test_a_source_of_a_mixture_is_read_as_data_unless_it_has_keys_of_its_own(load: Load) -> None:
    data = ("data.text_field=body", "data.encoding=gbk")
    sources = (
        "data.corpus={same: {files: a.jsonl, weight: 1}, "
        "own: {files: b.csv, weight: 1, encoding: latin-1, text_field: t}}"
    )
    corpora = load(*data, sources).data.corpora
    same, own = (corpora[f"data.corpus.{name}"].reading for name in ("same", "own"))
    assert (same.encoding, dict(same.fields), same.key) == (
        "gbk",
        {"text": "body"},
        "data.corpus.same",
    )
    assert (own.encoding, dict(own.fields)) == ("iso8859-1", {"text": "t"})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.fields.source=a"], r"fields\.source: data\.layout = documents has no source"),
        (["data.fields.label=a"], r"Its fields: text\. Remove the key"),
        (["data.layout=pairs", "data.text_field=a"], r"text_field: .* pairs has no text"),
        (
            ["data.evaluation.n={corpus: n, store: n, fields: {target: a}}"],
            r"evaluation\.n\.fields\.target: data\.layout = documents has no target",
        ),
        (["data.encoding=gb18003"], r'data\.encoding.*Did you mean "gb18030"\?'),
        (["data.format=jsonl"], r"data\.format.*The nearest is json_lines\."),
        (["data.text_column=a"], r'data\.text_column.*Did you mean "text_field"\?'),
        (["data.fields={txt: a}"], r'data\.fields\.txt.*Did you mean "text"\?'),
    ],
)
def test_a_wrong_key_is_an_error_that_names_the_right_one(
    load: Load, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(*overrides)


# Commands


@pytest.fixture
def run(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command on the quickstart's recipe with a corpus; its exit code and output."""
    recipe = project / "recipes" / "quickstart" / "roberta-tiny.yaml"
    vocab = project / "recipes" / "quickstart" / "vocab.txt"

    def command(name: str, corpus: object, *overrides: str) -> tuple[int, str]:
        code = main(
            [
                *(name, str(recipe), f"data.corpus={corpus}", f"data.store={tmp_path / 'store'}"),
                *(f"tokenizer.vocab={vocab}", *overrides),
            ]
        )
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return command


Run = Callable[..., tuple[int, str]]


def test_validate_looks_at_the_first_records(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(JSON * 2000, encoding="utf-8")
    code, output = run("validate", path)
    assert code == EXIT_USER
    assert 'corpus.jsonl:1: the record has no field "text"' in output
    assert "Set data.text_field to the field that has it, e.g. body." in output
    assert run("validate", path, "data.text_field=body")[0] == EXIT_DONE


def test_validate_looks_at_evaluation_sets_too(run: Run, tmp_path: Path) -> None:
    for name in ("corpus", "news"):
        (tmp_path / f"{name}.jsonl").write_text(JSON, encoding="utf-8")
    code, output = run(
        *("validate", tmp_path / "corpus.jsonl", "data.text_field=body"),
        f"data.evaluation.news={{corpus: {tmp_path}/news.jsonl, store: n, text_field: bdoy}}",
    )
    assert code == EXIT_USER
    assert 'news.jsonl:1: the record has no field "bdoy". Did you mean "body"?' in output


def test_validate_does_not_open_remote_files(run: Run) -> None:
    # The port is closed.
    code, output = run("validate", "http://127.0.0.1:1/corpus.jsonl")
    assert code == EXIT_DONE
    assert 'data.corpus: "http://127.0.0.1:1/corpus.jsonl" is remote and was not opened' in output


def test_preprocess_names_the_formats_that_it_read(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for suffix in (".jsonl", ".parquet"):
        (folder / f"corpus{suffix}").write_bytes(FORMATS[suffix]([{"text": "a b"}, {"text": "c"}]))
    (folder / "quotes.tsv").write_text('text\tid\n"a\t1\nb"\t2\n', encoding="utf-8")
    (folder / "plain.txt").write_text("d\n", encoding="utf-8")
    code, output = run("preprocess", folder)
    assert code == EXIT_DONE
    assert "read 1 file of JSON lines (utf-8; fields: text)" in output
    assert "1 file of parquet (fields: text)" in output
    assert "1 file of plain text (utf-8)" in output
    assert "TSV (utf-8; fields: text; quotes are characters of the texts)" in output


def test_a_vocabulary_is_trained_on_a_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes('{"id": "zzz", "body": "猫 狗 猫"}\n'.encode("gb18030") * 20)
    out = tmp_path / "vocabulary"
    arguments = ["vocab", "train", str(path), "--out", str(out), "--type", "space"]
    assert main(arguments) == EXIT_USER
    assert "Set --encoding to the encoding of the file" in capsys.readouterr().err
    assert main([*arguments, "--encoding", "gb18030"]) == EXIT_USER
    assert "Set --text-field" in capsys.readouterr().err
    options = ["--text-field", "body", "--encoding", "gb18030"]
    assert main([*arguments, *options]) == EXIT_DONE
    words = (out / "vocab.txt").read_text("utf-8").split()
    assert {"猫", "狗"} <= set(words)
    assert "zzz" not in words
