"""Labels, confusions and worst examples of evaluation sets, in files and in the report's page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ptm.components.objectives.classification import Classification
from ptm.components.objectives.scores.diagnosis import Confusion, LabelScore, WorstExample
from ptm.components.objectives.tagging import Tagging
from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, PredictionOptions, predictor_of
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from ptm.runs.report import write_report
from ptm.runs.report_diagnosis import diagnosis_section
from ptm.train.diagnoses import DiagnosisFile, read_diagnoses
from tests.support.classifiers import write_classifier
from tests.support.labelled_texts import DEV, write_corpora, write_stores


@pytest.mark.parametrize("classes", [3, 40])
def test_scores_and_confusions_are_those_of_scikit_learn(classes: int) -> None:
    names = [f"c{number:02}" for number in range(classes)]
    objective = Classification(type="classification", labels=tuple(names))
    dice = np.random.default_rng(classes)
    labels, predicted = dice.integers(0, classes - 1, (2, 500))
    loss = dice.random(500).astype(np.float32)
    found = objective.diagnosis({"label": labels, "predicted": predicted, "loss": loss})
    scores = precision_recall_fscore_support(labels, predicted, zero_division=0)
    # The last class occurs nowhere.
    assert [one.label for one in found.labels] == names[:-1]
    for at, one in enumerate(found.labels):
        expected = [column[at] for column in scores]
        assert [one.precision, one.recall, one.f1, one.support] == pytest.approx(expected)
    matrix = confusion_matrix(labels, predicted)
    counts = [one.count for one in found.confusions]
    assert len(counts) == min(400, np.count_nonzero(matrix))
    for cell in found.confusions:
        assert matrix[names.index(cell.label), names.index(cell.predicted)] == cell.count
    if classes == 3:
        assert counts == sorted(counts, reverse=True)
    else:
        assert all(cell.label != cell.predicted for cell in found.confusions)
    assert [one.example for one in found.worst] == np.argsort(-loss)[:20].tolist()


def test_entities_are_counted_by_type() -> None:
    objective = Tagging(type="tagging", entities=("PER", "LOC"))
    tags = {name: at for at, name in enumerate(objective.label_set.names)}
    true = [tags[one] for one in ("B-PER", "I-PER", "O", "B-LOC", "B-PER")]
    predicted = [tags[one] for one in ("B-PER", "I-PER", "B-LOC", "B-LOC", "O")]
    begins = np.array([True, False, False, True, True])
    found = objective.diagnosis(
        {"tag": np.array(true), "predicted": np.array(predicted), "begins": begins}
    )
    assert [(one.label, one.precision, one.recall, one.support) for one in found.labels] == [
        ("PER", 1.0, 0.5, 2),
        ("LOC", 0.5, 1.0, 1),
    ]
    cells = {(one.label, one.predicted): one.count for one in found.confusions}
    assert cells[("O", "B-LOC")] == 1
    assert sum(cells.values()) == 5


def test_evaluate_writes_what_the_report_shows(tmp_path: Path) -> None:
    write_corpora(tmp_path)
    write_stores(tmp_path)
    run = write_classifier(tmp_path, "run")
    evaluate_source(open_source(str(run)), [])
    (found,) = read_diagnoses(run)
    assert (found.evaluation, found.step) == ("dev", 12)
    predictor = predictor_of(open_source(str(run)), PredictionOptions())
    (window,) = predictor.windows(InputFiles((str(tmp_path / "dev.tsv"),)))
    answers = [one.values for one in predictor.predict(window.inputs)]
    losses = [-np.log(one["probabilities"][one["label"]]) for one in answers]
    expected = np.argsort(-np.array(losses), kind="stable")[:20].tolist()
    assert [one.example for one in found.worst] == expected
    assert len(losses) == DEV
    for one, tokens in zip(found.worst, found.texts, strict=True):
        answer, text = answers[one.example], window.inputs[one.example].texts[0]
        assert one.loss == pytest.approx(losses[one.example], abs=1e-4)
        assert (one.label, one.predicted) == (answer["label"], answer["prediction"])
        assert tokens.replace(" ", "").replace("##", "")[:4] == text.lower().replace(" ", "")[:4]
    page = write_report([run]).read_text(encoding="utf-8")
    assert "<h2>dev (step 12)</h2>" in page
    assert "<h3>Confusion matrix</h3>" in page
    assert page.count("<tr>") > 20 + 2 * 3
    assert found.texts[0][:10] in page


def section_of(
    scores: Sequence[tuple[str, int]], cells: Sequence[tuple[str, str]], *texts: str
) -> str:
    """The section of a set with labels and their numbers, cells of confusions, and texts."""
    return diagnosis_section(
        DiagnosisFile(
            evaluation="dev",
            step=1,
            labels=tuple(LabelScore(name, 0.5, 0.5, 0.5, number) for name, number in scores),
            confusions=tuple(Confusion(label, predicted, 1) for label, predicted in cells),
            worst=tuple(WorstExample(at, "0", "1", 2.681818) for at, _ in enumerate(texts)),
            texts=texts,
        )
    )


def first_cells(section: str, heading: str) -> list[str]:
    """The first cell of each row of the table that follows a heading."""
    table = section.split(heading, 1)[1].split("</table>", 1)[0]
    return re.findall(r"<tr><td>(.*?)</td>", table)


def test_labels_have_one_order_that_of_the_recipe() -> None:
    names = ("2", "0", "10")
    section = section_of(tuple(zip(names, (3, 9, 5), strict=True)), [("10", "0"), ("2", "10")])
    assert first_cells(section, "<h2>dev") == list(names)
    assert first_cells(section, "Confusion matrix") == list(names)
    assert "<th>2</th><th>0</th><th>10</th>" in section


def test_tags_are_in_the_order_of_their_entities() -> None:
    section = section_of([("PER", 1), ("LOC", 2)], [("O", "B-LOC"), ("I-PER", "B-PER")])
    assert first_cells(section, "Confusion matrix") == ["B-PER", "I-PER", "B-LOC", "O"]


def test_the_most_frequent_labels_are_kept() -> None:
    section = section_of([(f"c{number:03}", number) for number in range(103)], [])
    assert first_cells(section, "<h2>dev")[0] == "c003"
    assert "3 rarer labels are left out." in section


def test_every_table_scrolls_instead_of_breaking_words() -> None:
    section = section_of([("0", 1)], [("0", "1")], "a text")
    assert section.count("<table") == section.count('<div class="scroll"><table class=') == 3
    assert '<table class="texts">' in section


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "evaluations").mkdir(parents=True)
    (run / "evaluations" / "dev.json").write_text(json.dumps({"evaluation": "dev"}))
    with pytest.raises(UserError, match=r"evaluations/dev\.json: the file is damaged: .*Remove it"):
        read_diagnoses(run)
    damage: list[str] = []
    assert read_diagnoses(run, damage=damage) == []
    assert len(damage) == 1
