"""Messages on values that pydantic rejects: plain words, no expressions and no names of classes."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ptm.errors import UserError
from ptm.files.reading import FileContentError
from ptm.files.records import parse_json
from ptm.recipe import load_recipe
from ptm.validation import text_of
from tests.support.small_runs import QUICKSTART

JARGON = re.compile(
    r"[Ii]nput|[Ss]hould|[Ss]tring|dictionary|tuple|boolean|integer|[Vv]alue error|None|True"
    r"|\^\[|\]\*"
)


class Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = text_of(r"^[a-z]+$", "have small letters only")


class Whole(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    number: int = Field(default=3, ge=1, lt=10, multiple_of=3)
    share: float = Field(default=0.5, gt=0, le=1, allow_inf_nan=False)
    flag: bool = True
    names: tuple[str, ...] = Field(default=("a",), min_length=1, max_length=2)
    inner: Inner = Inner(name="a")
    kind: Literal["a", "b"] = "a"
    title: str = Field(default="ab", min_length=2, max_length=3)


@pytest.mark.parametrize(
    ("json", "sentence"),
    [
        ('{"number": "3"}', "number: must be a whole number"),
        ('{"number": 0}', "number: must be at least 1"),
        ('{"number": 12}', "number: must be less than 10"),
        ('{"number": 4}', "number: must be a multiple of 3"),
        ('{"share": "x"}', "share: must be a number"),
        ('{"share": 0.0}', "share: must be greater than 0"),
        ('{"share": 1.5}', "share: must be at most 1"),
        ('{"share": NaN}', "share: must be a finite number"),
        ('{"flag": 1}', "flag: must be true or false"),
        ('{"names": "a"}', "names: must be a list"),
        ('{"names": []}', "names: must have at least 1 entries"),
        ('{"names": ["a", "b", "c"]}', "names: must have at most 2 entries"),
        ('{"names": [1]}', "names.0: must be text"),
        ('{"inner": 1}', "inner: must be a block of keys"),
        ('{"inner": {}}', "inner.name: is required and missing"),
        ('{"inner": {"name": "A1"}}', "inner.name: must have small letters only"),
        ('{"other": 1}', "other: is an unknown key"),
        ('{"kind": "c"}', "kind: must be 'a' or 'b'"),
        ('{"title": "a"}', "title: must have at least 2 characters"),
        ('{"title": "abcd"}', "title: must have at most 3 characters"),
        ("[]", "must be a block of keys"),
    ],
)
def test_a_file_with_a_wrong_value_is_described_in_words(json: str, sentence: str) -> None:
    with pytest.raises(FileContentError) as caught:
        parse_json(json, Whole)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("name='a b'", '"a b": must have only a-z, A-Z, 0-9, `.`, `_` and `-`, and begin with'),
        (
            "data.corpus={'a b': {files: x, weight: 1}}",
            'data.corpus.a b: "a b": must have only a-z, A-Z, 0-9, `_` and `-`, and begin with',
        ),
        ("data.evaluation={'': {corpus: x, store: y}}", "must have only a-z, A-Z, 0-9"),
        ("name=中文", '"中文": must have only a-z, A-Z, 0-9'),
        (
            "tracking.wandb.project=a:b",
            'tracking.wandb.project: "a:b": must have 1 to 128 characters, and none of',
        ),
        ("data.corpus=5", "data.corpus: 5: must be text or a list."),
        ("data.corpus=null", "data.corpus: null: must be text or a list."),
        ("data.corpus=[1, a.txt]", "data.corpus.0: 1: must be text."),
        ("data.corpus={a: {files: {}, weight: 1}}", "files: {}: must be text or a list."),
        ("data.packing=3", "data.packing: 3: must be true or false."),
        ("train.steps=true", "train.steps: true: must be a whole number."),
        ("data.fields=[1]", "data.fields: [1]: must be a block of keys."),
        ("data.held_out=1", "data.held_out: 1: must be less than 1."),
    ],
)
def test_a_recipe_with_a_wrong_value_is_described_in_words(override: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [override])
    message: Any = str(caught.value)
    assert sentence in message
    assert not JARGON.search(message.replace(override, ""))
    assert len(caught.value.args) == 1
