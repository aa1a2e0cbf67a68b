"""Every tiny recipe has the same loss on one process, on two ranks at ZeRO 3 and in two stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ptm.cli import main
from ptm.recipe import load_recipe
from tests.conftest import Bundled, sentences_of
from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.launched import Launch, Training, launched
from tests.support.small_runs import PROJECT

WITHIN = 1e-5
TEACHER = "roberta-tiny"
TRAINED = {"sentencepiece": "unigram"}
"""Tokenizer type -> `ptm vocab train --type`, where they differ."""
RECIPES = {
    f"{path.parent.name}-{path.stem}": path
    for path in sorted((PROJECT / "recipes").glob("*/tiny*.yaml"))
    if path.parent.name != "quickstart"
}
# Recipes with the plan of another recipe, or that differ in masking only.
_LIKE_OTHERS = (
    *("bert-wwm", "spanbert", "ernie", "xlm-roberta", "gpt-", "t5-v1.1", "pegasus"),
    *("rnn", "gru"),
)
_OTHERWISE_MASKED = ("-static", "-uer", "-words", "-bpe", "-lead", "-random", "-geometric")
VARIANTS = [
    name for name in RECIPES if name.startswith(_LIKE_OTHERS) or name.endswith(_OTHERWISE_MASKED)
]
KINDS = [name for name in RECIPES if name not in VARIANTS]
# By default each kind of plan is trained once on two ranks: at ZeRO 3, in stages, or both (elmo,
# t5).
AT_ZERO3 = [
    *("albert-tiny", "bart-tiny", "distilbert-tiny", "elmo-tiny", "llama-tiny", "lstm-tiny"),
    "t5-tiny",
]
IN_STAGES = [
    *(
        "bert-tiny",
        "elmo-tiny",
        "gated-cnn-tiny",
        "gpt2-tiny",
        "modernbert-tiny",
        "prefixlm-tiny",
        "realformer-tiny",
    ),
    *("t5-tiny", "translation-tiny"),
]
CROSSES_STAGES = [name for name in RECIPES if not name.startswith("distil")]


@dataclass(frozen=True)
class Files:
    """Input files of the recipes, made from the bundled text on first use."""

    folder: Path

    def tokenizer(self, kind: str, *, key: str = "tokenizer") -> tuple[str, ...]:
        """Return overrides with the files of a tokenizer and its size."""
        made = self.folder / kind
        if kind != "wordpiece" and not made.exists():
            corpus = str(self.folder / "documents.txt")
            options = ["--type", TRAINED.get(kind, kind), "--size", "1200", "--out", str(made)]
            assert main(["vocab", "train", corpus, *options]) == 0
        files = {
            "wordpiece": {"vocab": self.folder / "wordpiece.txt"},
            "space": {"vocab": made / "vocab.txt"},
            "bpe": {"vocab": made / "vocab.json", "merges": made / "merges.txt"},
            "sentencepiece": {"model": made / "sentencepiece.model"},
        }[kind]
        return (*(f"{key}.{name}={path}" for name, path in files.items()), f"{key}.size=null")

    def overrides(self, recipe: Path) -> tuple[str, ...]:
        """Return overrides for the paths that a recipe leaves open and for a short training."""
        settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        kind, layout = settings["tokenizer"]["type"], settings["data"]["layout"]
        words = "words" if "segmenter" in settings["data"] else "plain"
        split = "split" if settings["data"].get("sentence_splitting") else "whole"
        sides = "two" if "target_tokenizer" in settings else "one"
        ids = settings["tokenizer"].get("ids", "file")
        found = [
            *self.tokenizer(kind),
            f"data.corpus={self.folder / layout}.txt",
            f"data.store={self.folder / f'{kind}-{ids}-{layout}-{words}-{split}-{sides}'}",
            *("data.sequence_length=64", "train.global_batch_size=8", "train.micro_batch_size=4"),
            # Rounding differences grow with the learning rate, at ReLU's kinks in particular.
            "optimizer.learning_rate=1.0e-4",
            *("data.held_out=0.02", "tracking.log_every=1", "checkpoint.every=100"),
        ]
        if words == "words":
            found.append("data.segmenter={type: rjieba}")
        if "target_tokenizer" in settings:
            found += self.tokenizer(settings["target_tokenizer"]["type"], key="target_tokenizer")
        if "decoder" in settings["model"]:
            found.append("data.target_sequence_length=64")
        masking = settings["objective"].get("masking", {})
        for key in ("lexicon", "entities"):
            if key in masking:
                found.append(f"objective.masking.{key}={PROJECT / masking[key]}")
        return tuple(found)

    def preprocess(self, recipe: Path) -> None:
        """Make the store that a recipe reads, unless another recipe has made it."""
        overrides = self.overrides(recipe)
        store = next(word for word in overrides if word.startswith("data.store="))
        if not Path(store.partition("=")[2]).exists():
            assert main(["preprocess", str(recipe), *overrides]) == 0


@dataclass(frozen=True)
class Tiny(Training):
    """Training of a tiny recipe of the project on the bundled text."""

    recipe: Path = Path()
    files: Files | None = None
    teacher: Path = Path()

    def arguments(self, store: Path, runs: Path, *, rank: int = 0) -> list[str]:
        """Return the arguments; also make the store that the recipe trains on."""
        assert self.files is not None, "made by `trainings`"
        given = [*self.files.overrides(self.recipe), *self.overrides]
        if self.name.startswith("distil"):
            start = f"init_from={{source: {self.teacher}, every: 2}}"
            given += [f"objective.teacher={self.teacher}", start]
        else:
            self.files.preprocess(self.recipe)
        return [str(self.recipe), f"name={self.name}", f"runs_dir={runs}", *given]


@pytest.fixture(scope="session")
def files(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The bundled text as corpora of all layouts."""
    made = Files(tmp_path_factory.mktemp("families"))
    sentinels = "".join(f"<extra_id_{number}>\n" for number in range(32))
    words = bundled.vocab.read_text(encoding="utf-8") + sentinels
    (made.folder / "wordpiece.txt").write_text(words, encoding="utf-8")
    lines = [
        line for file in bundled.corpus for line in file.read_text(encoding="utf-8").splitlines()
    ]
    # Every fifth line is enough to train on. In layout `sentences`, six lines make a document.
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
    return made


def trainings(
    files: Files, names: Sequence[str], *engine: str, teacher: Path = Path()
) -> list[Tiny]:
    """Return trainings of the recipes `names` under one engine, the teacher first."""
    return [
        Tiny(name, (*EXACT, *engine), recipe=RECIPES[name], files=files, teacher=teacher)
        for name in sorted(names, key=lambda name: name != TEACHER)
    ]


def rest(every: Sequence[str], default: Sequence[str]) -> list[str]:
    """Return the names that only slow tests use."""
    return [name for name in every if name not in default]


@pytest.fixture(scope="session")
def alone(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("families-alone")
    parts = (
        trainings(files, KINDS, zero(0), teacher=folder / "runs" / TEACHER),
        trainings(files, VARIANTS, zero(0)),
    )
    with launched(*parts, ranks=1, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def zero3(
    files: Files, alone: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """Two ranks at ZeRO 3."""
    alone.metrics(TEACHER)
    folder = tmp_path_factory.mktemp("families-zero3")
    parts = (
        trainings(files, names, zero(3), teacher=alone.runs / TEACHER)
        for names in (AT_ZERO3, rest(list(RECIPES), AT_ZERO3))
    )
    with launched(*parts, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def stages2(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Two stages."""
    folder = tmp_path_factory.mktemp("families-stages2")
    parts = (
        trainings(files, names, *stages(2))
        for names in (IN_STAGES, rest(CROSSES_STAGES, IN_STAGES))
    )
    with launched(*parts, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_falls(alone: Launch, name: str) -> None:
    *_, halfway, ended = [one for one in alone.metrics(name) if one["split"] == "eval"]
    term = "mlm_loss" if "mlm_loss" in ended else "lm_loss"
    assert ended[term] < halfway[term]


def same_as_alone(launch: Launch, alone: Launch, name: str) -> None:
    worst = differences(launch.metrics(name), alone.metrics(name))
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.parametrize("name", [by_default(name, AT_ZERO3) for name in RECIPES])
def test_zero_3_has_the_losses_of_one_process(zero3: Launch, alone: Launch, name: str) -> None:
    same_as_alone(zero3, alone, name)


@pytest.mark.parametrize("name", [by_default(name, IN_STAGES) for name in CROSSES_STAGES])
def test_two_stages_have_the_losses_of_one_process(
    stages2: Launch, alone: Launch, name: str
) -> None:
    same_as_alone(stages2, alone, name)


def test_every_kind_of_plan_is_trained_on_two_ranks_by_default() -> None:
    assert {*AT_ZERO3, *IN_STAGES, TEACHER} == set(KINDS)


def test_the_tiny_recipes_cover_all_objectives() -> None:
    families = {load_recipe(str(path)).objective.type for path in RECIPES.values()}
    known = {
        *("mlm", "bert", "albert", "distil", "lm", "bilm", "prefixlm"),
        *("seq2seq", "t5", "bart", "gsg"),
    }
    assert families == known
