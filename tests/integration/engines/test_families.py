"""Every tiny recipe has one loss on one process, on two ranks at ZeRO 3 and in two stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ptm.cli import main
from ptm.recipe import load_recipe
from tests.conftest import Bundled, sentences_of
from tests.integration.engines.comparing import Reports, differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.launched import Launch, Training, launched
from tests.support.small_runs import PROJECT

WITHIN = 1e-5
TEACHER = "roberta-tiny"
RECIPES = {
    f"{path.parent.name}-{path.stem}": path
    for path in sorted((PROJECT / "recipes").glob("*/tiny*.yaml"))
    if path.parent.name != "quickstart"
}
# Plans that others have too, or with other masks: minutes more, for `-m slow`.
_LIKE_OTHERS = ("bert-wwm", "spanbert", "ernie", "xlm-roberta", "gpt-", "t5-v1.1", "pegasus")
_OTHERWISE_MASKED = ("-static", "-uer", "-words", "-bpe", "-lead", "-random", "-geometric")
VARIANTS = [
    name for name in RECIPES if name.startswith(_LIKE_OTHERS) or name.endswith(_OTHERWISE_MASKED)
]
KINDS = [name for name in RECIPES if name not in VARIANTS]
IN_STAGES = [name for name in KINDS if not name.startswith("distil")]


@dataclass(frozen=True)
class Tiny(Training):
    """A recipe of the project on the bundled text."""

    recipe: str = ""
    given: tuple[str, ...] = ()

    def arguments(self, store: Path, runs: Path) -> list[str]:
        return [self.recipe, f"name={self.name}", f"runs_dir={runs}", *self.given, *self.overrides]


@dataclass(frozen=True)
class Files:
    """What the recipes need, made from the bundled text."""

    folder: Path

    def tokenizer(self, kind: str, *, key: str = "tokenizer") -> tuple[str, ...]:
        """Overrides that name the files of a tokenizer and their size."""
        made = self.folder / kind
        files = {
            "wordpiece": {"vocab": self.folder / "wordpiece.txt"},
            "space": {"vocab": made / "vocab.txt"},
            "bpe": {"vocab": made / "vocab.json", "merges": made / "merges.txt"},
            "sentencepiece": {"model": made / "sentencepiece.model"},
        }[kind]
        return (*(f"{key}.{name}={path}" for name, path in files.items()), f"{key}.size=null")

    def overrides(self, recipe: Path) -> tuple[str, ...]:
        """What a recipe leaves to its user, and sizes that take a second."""
        said = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        kind, layout = said["tokenizer"]["type"], said["data"]["layout"]
        words = "words" if "segmenter" in said["data"] else "plain"
        split = "split" if said["data"].get("sentence_splitting") else "whole"
        sides = "two" if "target_tokenizer" in said else "one"
        ids = said["tokenizer"].get("ids", "file")
        found = [
            *self.tokenizer(kind),
            f"data.corpus={self.folder / layout}.txt",
            f"data.store={self.folder / f'{kind}-{ids}-{layout}-{words}-{split}-{sides}'}",
            *("data.sequence_length=64", "train.global_batch_size=8", "train.micro_batch_size=4"),
            # What rounding does grows with the rate: ReLU's kinks show it in gradient norms.
            "optimizer.learning_rate=1.0e-4",
            *("data.held_out=0.02", "tracking.report_every=1", "checkpoint.every=100"),
        ]
        if words == "words":
            found.append("data.segmenter={type: rjieba}")
        if "target_tokenizer" in said:
            found += self.tokenizer(said["target_tokenizer"]["type"], key="target_tokenizer")
        if "decoder" in said["model"]:
            found.append("data.target_sequence_length=64")
        masking = said["objective"].get("masking", {})
        for key in ("lexicon", "entities"):
            if key in masking:
                found.append(f"objective.masking.{key}={PROJECT / masking[key]}")
        return tuple(found)


@pytest.fixture(scope="session")
def files(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Corpora in both layouts, tokenizers of all kinds, and the stores of all recipes."""
    made = Files(tmp_path_factory.mktemp("families"))
    sentinels = "".join(f"<extra_id_{number}>\n" for number in range(32))
    words = bundled.vocab.read_text(encoding="utf-8") + sentinels
    (made.folder / "wordpiece.txt").write_text(words, encoding="utf-8")
    lines = [
        line for file in bundled.corpus for line in file.read_text(encoding="utf-8").splitlines()
    ]
    # Every fifth line: enough to train on, and not long to read. Six of them make a document.
    chosen = lines[::5]
    joined = ["".join(chosen[at : at + 6]) for at in range(0, len(chosen), 6)]
    halves = [
        (document[: len(document) // 2], document[len(document) // 2 :]) for document in chosen
    ]
    texts = {
        "documents": "\n".join(chosen),
        "pairs": "\n".join(f"{source}\t{target}" for source, target in halves),
        "sentences": "\n\n".join("\n".join(sentences_of(document)) for document in joined),
    }
    for layout, text in texts.items():
        (made.folder / f"{layout}.txt").write_text(text + "\n", encoding="utf-8")
    corpus = str(made.folder / "documents.txt")
    for kind, size in {"space": 1200, "bpe": 1200, "unigram": 1200}.items():
        out = made.folder / {"unigram": "sentencepiece"}.get(kind, kind)
        command = ["vocab", "train", corpus, "--type", kind, "--size", str(size), "--out", str(out)]
        assert main(command) == 0
    done = set()
    for recipe in RECIPES.values():
        overrides = made.overrides(recipe)
        store = next(word for word in overrides if word.startswith("data.store="))
        if store not in done and recipe.parent.name != "distilbert":
            assert main(["preprocess", str(recipe), *overrides]) == 0
            done.add(store)
    return made


def trainings(files: Files, names: list[str], *engine: str, teacher: Path) -> list[Training]:
    """The recipes `names` under one engine; the teacher's comes first."""
    found: list[Training] = []
    for name in sorted(names, key=lambda name: name != TEACHER):
        given = list(files.overrides(RECIPES[name]))
        if name.startswith("distil"):
            given += [f"objective.teacher={teacher}", f"init_from={{source: {teacher}, every: 2}}"]
        found.append(Tiny(name, (*EXACT, *engine), recipe=str(RECIPES[name]), given=tuple(given)))
    return found


@pytest.fixture(scope="session")
def alone(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("families-alone")
    those = trainings(files, KINDS, zero(0), teacher=folder / "runs" / TEACHER)
    with launched(those, ranks=1, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def zero3(
    files: Files, alone: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """The trainings of `alone` on two ranks at ZeRO 3."""
    alone.metrics(TEACHER)
    folder = tmp_path_factory.mktemp("families-zero3")
    those = trainings(files, KINDS, zero(3), teacher=alone.runs / TEACHER)
    with launched(those, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def stages2(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """The trainings of `alone` in two stages; distillation does not cross stages."""
    folder = tmp_path_factory.mktemp("families-stages2")
    those = trainings(files, IN_STAGES, *stages(2), teacher=folder)
    with launched(those, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_falls(alone: Launch, name: str) -> None:
    training = [one for one in alone.metrics(name) if one["split"] == "train"]
    term = "mlm_loss" if "mlm_loss" in training[0] else "lm_loss"
    assert training[-1][term] < training[0][term]


@pytest.mark.parametrize(
    ("engine", "name"),
    [*(("zero3", name) for name in KINDS), *(("stages2", name) for name in IN_STAGES)],
)
def test_the_losses_are_those_of_one_process(
    request: pytest.FixtureRequest, alone: Launch, engine: str, name: str
) -> None:
    launch: Launch = request.getfixturevalue(engine)
    worst = differences(launch.metrics(name), alone.metrics(name))
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_variants_have_one_loss_too(files: Files, tmp_path: Path) -> None:
    nobody = tmp_path / "no-teacher"
    found: dict[str, dict[str, Reports]] = {}
    for engine, overrides in {
        "zero0": (zero(0),),
        "zero3": (zero(3),),
        "stages2": stages(2),
    }.items():
        folder = tmp_path / engine
        folder.mkdir()
        those = trainings(files, VARIANTS, *overrides, teacher=nobody)
        ranks = 1 if engine == "zero0" else 2
        with launched(those, ranks=ranks, store=files.folder, folder=folder) as launch:
            found[engine] = {name: launch.metrics(name) for name in VARIANTS}
    for engine in ("zero3", "stages2"):
        for name in VARIANTS:
            worst = differences(found[engine][name], found["zero0"][name])
            assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}, name


def test_every_recipe_is_here() -> None:
    families = {load_recipe(str(path)).objective.type for path in RECIPES.values()}
    known = {"mlm", "bert", "albert", "distil", "lm", "prefixlm", "seq2seq", "t5", "bart", "gsg"}
    assert families == known
