"""The comparison with another version's imports and exports finds what became worse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.parity.cases.unusual import UNUSUAL
from tests.integration.parity.compare_trees import ROOT, Compared, compare_imports, main, table
from tests.integration.parity.drawn_models import EQUAL, Outcome, saved_models, small_texts

NAMES = ("hidden_act", "unknown_option")


def rejected(reason: str) -> Outcome:
    return Outcome("bert {}", reason, rejected=True)


@pytest.mark.parametrize(
    ("other", "this", "worse"),
    [
        (Outcome("bert {}", EQUAL), Outcome("bert {}", EQUAL), False),
        (Outcome("bert {}", EQUAL), rejected("hidden_act = 3"), True),
        (Outcome("bert {}", EQUAL), rejected("unknown_option = 1"), False),
        (Outcome("bert {}", "differs by 0.1"), rejected("hidden_act = 3"), False),
        (rejected("hidden_act = 3"), Outcome("bert {}", "differs by 0.1"), True),
        (rejected("hidden_act = 3"), Outcome("bert {}", EQUAL), False),
    ],
    ids=str,
)
def test_a_model_that_is_no_longer_exact_is_worse(
    other: Outcome, this: Outcome, worse: bool
) -> None:
    compared = Compared(other, this, NAMES)
    assert compared.is_worse is worse
    assert ("WORSE" in table([compared])) is worse


def test_an_error_is_counted_by_the_key_that_it_names() -> None:
    compared = Compared(rejected("hidden_act = 3"), rejected("the activation"), NAMES)
    lines = table([compared]).splitlines()
    assert "      1      0  error: bert: hidden_act" in lines
    assert "      0      1  error: bert: hidden_act, unknown_option" in lines


def test_a_tree_that_multiplies_the_weights_differs(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(ROOT / "ptm", other / "ptm")
    file = other / "ptm" / "interop" / "import_model.py"
    right = "tensors = folder.canonical()"
    text = file.read_text(encoding="utf-8")
    assert right in text
    wrong = "tensors = {n: t * 1.5 for n, t in folder.canonical().items()}"
    file.write_text(text.replace(right, wrong), encoding="utf-8")
    vocab, texts = small_texts(tmp_path)
    models = list(saved_models(6, 1, vocab=vocab, texts=texts, folder=tmp_path / "models"))
    compared = compare_imports(other, models, tmp_path / "both")
    assert all(one.other.differs and one.this.reason == EQUAL for one in compared), table(compared)


@pytest.mark.slow
def test_nothing_is_worse_than_in_the_same_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT), "--seed", "6", "--drawn", "5", "--unusual", "--recipes"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "5 drawn"
    assert f"{len(UNUSUAL)} unusual" in printed
