"""Lines of UER-py's preprocess.py and pretrain.py, joined to trainings and translated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ptm.translate import former_options, tencentpretrain_options, uer_options
from ptm.translate.command_line import CommandLine
from ptm.translate.draft import Draft
from ptm.translate.options import Given, parse_options, table_of
from ptm.translate.ranks import Ranks, uer_ranks
from ptm.translate.steps import Translation, folder_of
from ptm.translate.uer_recipe import run_name, runs_folder, uer_recipe
from ptm.translate.uer_settings import UerSettings

PREPROCESS = table_of(
    uer_options.PREPROCESS, tencentpretrain_options.PREPROCESS, former_options.PREPROCESS
)
PRETRAIN = table_of(uer_options.PRETRAIN, tencentpretrain_options.PRETRAIN, former_options.PRETRAIN)
_OF_HOST = ("gpu_ranks", "local_rank", "global_rank", "save_checkpoint_steps", "report_steps")
"""Options that may differ between the hosts of one training."""


@dataclass
class _Training:
    """A preprocess.py line and the pretrain.py lines of one training, one per host."""

    preprocess: Given | None
    hosts: list[Given] = field(default_factory=list)


class UerTrainings:
    """Joins lines of preprocess.py and pretrain.py to trainings, and translates each."""

    def __init__(self, translation: Translation) -> None:
        self._translation = translation
        self._prepared: dict[str, Given] = {}
        """Path of a dataset to the last preprocess.py line that writes it."""
        self._unused: set[str] = set()
        self._open: _Training | None = None

    def add(self, line: CommandLine) -> None:
        """Add a line. Raises UserError if it, or the training before it, cannot be translated."""
        is_preprocess = line.program == "preprocess.py"
        given = parse_options(line, PREPROCESS if is_preprocess else PRETRAIN)
        dataset = given.get("dataset_path")
        if is_preprocess:
            self.flush()
            self._prepared[dataset] = given
            self._unused.add(dataset)
        elif self._open is not None and _same_training(self._open.hosts[-1], given):
            self._open.hosts.append(given)
        else:
            self.flush()
            self._open = _Training(self._prepared.get(dataset), [given])
            self._unused.discard(dataset)

    def flush(self) -> None:
        """Translate the training whose lines were added last."""
        if self._open is not None:
            training, self._open = self._open, None
            _translate_lines(training, self._translation)

    def finish(self) -> None:
        """Translate everything that is left: also a preprocess.py line without pretrain.py line."""
        self.flush()
        for dataset, given in self._prepared.items():
            if dataset in self._unused:
                _translate_lines(_Training(given), self._translation)


def _translate_lines(training: _Training, translation: Translation) -> None:
    preprocess = training.preprocess or _empty("preprocess.py")
    hosts = training.hosts or [_empty("pretrain.py")]
    preprocess, *hosts = with_new_paths([preprocess, *hosts], translation)
    _translate_training(preprocess, hosts, translation, trains=bool(training.hosts))


def _empty(program: str) -> Given:
    """A line without options: every option has its default."""
    table = PREPROCESS if program == "preprocess.py" else PRETRAIN
    return Given(CommandLine(program, ()), table)


def _same_training(one: Given, other: Given) -> bool:
    """Whether two pretrain.py lines are hosts of one training."""
    nodes = one.command.node, other.command.node
    if None not in nodes:
        return nodes[0] != nodes[1]
    ranks = [set(line.get("gpu_ranks")) for line in (one, other)]
    same = ("world_size", "master_ip", "dataset_path", "output_model_path")
    return (
        all(one.get(name) == other.get(name) for name in same)
        and bool(ranks[0] and ranks[1])
        and not ranks[0] & ranks[1]
        and len(ranks[0] | ranks[1]) <= one.get("world_size")
    )


def with_new_paths(lines: Sequence[Given], translation: Translation) -> list[Given]:
    """The lines with the paths of vocabularies that earlier lines have built."""
    found = []
    for line in lines:
        moved = {
            name: translation.files[value]
            for name, value in line.values.items()
            if isinstance(value, str) and value in translation.files
        }
        found.append(replace(line, values={**line.values, **moved}))
    return found


def _translate_training(
    preprocess: Given, hosts: Sequence[Given], translation: Translation, *, trains: bool
) -> None:
    settings = UerSettings.of(preprocess, hosts[0])
    ranks = uer_ranks(hosts)
    name, start = name_and_start(settings, translation)
    draft = uer_recipe(settings, ranks, name=name, init_from=start)
    _note_differences(hosts, translation)
    add_training(draft, settings, ranks, translation, trains=trains)


def name_and_start(settings: UerSettings, translation: Translation) -> tuple[str, str | None]:
    """Name of the run, and the model that it starts from; adds the import of that model."""
    output, pretrained = settings.get("output_model_path"), settings.get("pretrained_model_path")
    name = run_name(output, translation.run_names)
    run = f"{runs_folder(output)}/{name}"
    start = None if pretrained is None else translation.model_folder(pretrained)
    if pretrained is not None and start is None:
        start = folder_of(pretrained)
        if start == run:
            start = f"{start}-imported"
        translation.add_command(_import_command(settings, pretrained, start))
    return name, start


def add_training(
    draft: Draft,
    settings: UerSettings,
    ranks: Ranks,
    translation: Translation,
    *,
    trains: bool = True,
) -> None:
    """Add a recipe and the commands that preprocess, train and export.

    Raises UserError if the recipe is not valid.
    """
    run = f"{draft.data['runs_dir']}/{draft.data['name']}"
    stored = _choose_store(draft, translation)
    draft.validated()
    recipe = translation.add_recipe(draft)
    if ranks.hostfile is not None:
        translation.add_hostfile(recipe, ranks.hostfile)
    translation.add_command(["ptm", "validate", recipe.path])
    if not stored:
        translation.add_command(["ptm", "preprocess", recipe.path])
    if trains:
        visible = {} if ranks.visible is None else {"CUDA_VISIBLE_DEVICES": ranks.visible}
        words = ranks.launch_command(recipe.path, recipe.hostfile or "")
        translation.add_command(words, visible)
        step = ["--step", "best"] if "best" in draft.data["checkpoint"] else []
        translation.add_command(["ptm", "export", run, f"{run}-uer", "--to", "uer", *step])
    translation.models[settings.get("output_model_path")] = run


def _choose_store(draft: Draft, translation: Translation) -> bool:
    """Whether an earlier recipe has the same store; number the store if it has another content.

    A store holds token ids, and word starts with a segmenter, whatever the sequence length.
    """
    data = draft.data["data"]
    path, number = data["store"], 1
    for recipe in translation.recipes:
        if recipe.draft.data["data"]["store"] != data["store"]:
            continue
        if _store_content(recipe.draft) == _store_content(draft):
            return True
        number += 1
        data["store"] = f"{path}-{number}"
    if number > 1:
        for one in data.get("evaluation", {}).values():
            one["store"] += f"-{number}"
    return False


def _store_content(draft: Draft) -> list[object]:
    """The keys that decide the content of a store."""
    data = draft.data["data"]
    tokenizers = [draft.data.get(block) for block in ("tokenizer", "target_tokenizer")]
    evaluated = [one["corpus"] for one in data.get("evaluation", {}).values()]
    return [*(data.get(key) for key in ("corpus", "layout", "segmenter")), *tokenizers, evaluated]


def _import_command(settings: UerSettings, weights: str, folder: str) -> list[str]:
    words = ["ptm", "import", weights, folder, "--from", "uer", "--config", settings.config_path]
    vocab = settings.get("vocab_path") or settings.get("spm_model_path")
    if vocab is not None:
        words += ["--vocab", vocab]
    if settings.get("do_lower_case").lower() == "false":
        words.append("tokenizer.lowercase=false")
    return words


def _note_differences(hosts: Sequence[Given], translation: Translation) -> None:
    """Note options in which another host's line contradicts the first."""
    first = hosts[0]
    for line in hosts[1:]:
        for name, value in line.values.items():
            if name not in _OF_HOST and value != first.get(name):
                translation.note(
                    line.written[name],
                    f"the first host has {first.written.get(name, 'the default')}, and one recipe "
                    "holds for all hosts",
                )
