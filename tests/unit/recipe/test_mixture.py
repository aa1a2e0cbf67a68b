"""Named sources in `data.corpus`: what is accepted, and the message for each mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from ptm.recipe import Recipe, recipe_yaml

TWO = "data.corpus={web: {files: [a.txt, b.txt], weight: 3}, poems: {files: c.txt, weight: 1}}"


def test_weights_are_relative_and_each_source_has_a_store_of_its_own(
    load: Callable[..., Recipe],
) -> None:
    data = load(TWO).data
    assert data.shares == {"web": 0.75, "poems": 0.25}
    assert {key: (one.store, one.corpus_patterns) for key, one in data.corpora.items()} == {
        "data.corpus.web": ("stores/tiny/web", ("a.txt", "b.txt")),
        "data.corpus.poems": ("stores/tiny/poems", ("c.txt",)),
    }
    assert data.evaluation_names == ("eval", "web", "poems")


def test_a_source_may_be_a_store_that_exists_already(load: Callable[..., Recipe]) -> None:
    data = load(TWO, "data.corpus.web={store: stores/other, weight: 1}").data
    assert data.corpora["data.corpus.web"].store == "stores/other"
    assert data.corpora["data.corpus.web"].corpus_patterns == ()


def test_without_held_out_documents_there_is_no_mean(load: Callable[..., Recipe]) -> None:
    data = load(TWO, "data.held_out=0", "data.evaluation={news: {corpus: n, store: s}}").data
    assert data.evaluation_names == ("news",)
    assert data.held_out_shares == {}


def test_a_mixture_survives_its_own_yaml(load: Callable[..., Recipe]) -> None:
    recipe = load(TWO, "data.exhaustion=stop")
    assert load(text=yaml.safe_dump(yaml.safe_load(recipe_yaml(recipe)))) == recipe


def test_metrics_of_a_source_may_be_tracked(
    load: Callable[..., Recipe], error_of: Callable[..., str]
) -> None:
    assert load(TWO, "checkpoint.best=poems/loss").checkpoint.best == "poems/loss"
    assert 'checkpoint.best: "verse/loss" is not a metric' in error_of(
        TWO, "checkpoint.best=verse/loss"
    )


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["data.corpus.web.wieght=1"],
            'data.corpus.web.wieght: unknown key. Did you mean "weight"',
        ),
        (["data.corpus.web.weight=0"], "data.corpus.web.weight: 0: must be greater than 0"),
        (["data.corpus.web.weight=-0.5"], "data.corpus.web.weight: -0.5: must be greater than 0"),
        (["data.corpus.web.weight=.nan"], "data.corpus.web.weight: nan: must be a finite number"),
        (["data.corpus.web.weight=.inf"], "data.corpus.web.weight: inf: must be a finite number"),
        (
            ["data.corpus.web.weight=half"],
            'data.corpus.web.weight: "half": must be a number',
        ),
        (["data.corpus.web.weight=1e-9"], "data.corpus.web.weight: 1e-09 is too small"),
        (["data.corpus.web={files: a.txt}"], "data.corpus.web.weight: is required and missing"),
        (["data.corpus.web={weight: 1}"], "data.corpus.web: has neither `files` nor `store`"),
        (["data.corpus.web.files=[]"], "data.corpus.web: `files` is an empty list"),
        (["data.corpus.web=a.txt"], 'data.corpus.web: "a.txt": must be a block of keys'),
        (["data.corpus={}"], "data.corpus: has no sources"),
        (["data.corpus={a/../b: {files: c, weight: 1}}"], "data.corpus.a/../b: "),
        (["data.corpus={诗: {files: c, weight: 1}}"], "data.corpus.诗: "),
        (["data.corpus={eval: {files: c, weight: 1}}"], '"eval" has a fixed meaning in reports'),
        (["data.corpus={share: {files: c, weight: 1}}"], '"share" has a fixed meaning in reports'),
        (
            ["data.evaluation={web: {corpus: n, store: s}}"],
            "corpus.web: an evaluation set in data.evaluation has the same name",
        ),
        (
            ["data.corpus.poems.store=stores/tiny/web"],
            'corpus.poems.store: "stores/tiny/web" is also the store of data.corpus.web',
        ),
        (
            ["data.evaluation={news: {corpus: n, store: stores/tiny/poems}}"],
            'evaluation.news.store: "stores/tiny/poems" is also the store of data.corpus.poems',
        ),
        (["data.exhaustion=cycle"], 'data.exhaustion: "cycle" is not supported'),
    ],
)
def test_a_mistake_is_an_error_that_names_its_key(
    error_of: Callable[..., str], overrides: list[str], sentence: str
) -> None:
    message = error_of(TWO, *overrides)
    assert sentence in message
    assert len(message.splitlines()) == 1


def test_exhaustion_without_sources_is_an_error(error_of: Callable[..., str]) -> None:
    assert "data.exhaustion: is used only if data.corpus has named" in error_of(
        "data.exhaustion=stop"
    )


def test_a_mistake_in_the_file_is_named_with_its_line(
    changed: Callable[[str, str], str], error_of: Callable[..., str]
) -> None:
    sources = "corpus:\n    web: {files: a.txt, weight: 1}\n    poems: {files: b.txt, weight: 0}\n"
    message = error_of(text=changed("corpus: corpus/*.txt\n", sources))
    assert "recipe.yaml:7: data.corpus.poems.weight: 0: must be greater than 0." in message
