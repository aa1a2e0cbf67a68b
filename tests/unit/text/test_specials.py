"""Special tokens of other tools' JSON files, by role."""

from __future__ import annotations

import pytest

from ptm.text.tokenizers.specials import special_roles


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"bos_token": "<s>", "eos_token": "</s>"}, {"cls": "<s>", "sep": "</s>"}),
        ({"cls_token": "<s>", "bos_token": "<s>"}, {"cls": "<s>"}),
        (
            {"cls_token": "[CLS]", "bos_token": {"content": "<bos>"}},
            {"cls": "[CLS]", "bos": "<bos>"},
        ),
        ({"sep_token": "[SEP]", "eos_token": "</s>"}, {"sep": "[SEP]", "eos": "</s>"}),
        ({"pad_token": None, "unk_token": 3}, {}),
    ],
    ids=["only-bos", "equal", "different-bos", "different-eos", "not-tokens"],
)
def test_bos_and_eos_are_kept_if_they_differ_from_cls_and_sep(
    named: dict[str, object], expected: dict[str, str]
) -> None:
    assert special_roles(named) == expected
