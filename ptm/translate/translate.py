"""Translate pasted command lines into recipes, commands, and what has no counterpart."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from ptm.errors import UserError
from ptm.translate.command_line import CommandLine, read_command_lines
from ptm.translate.huggingface_recipe import translate_huggingface
from ptm.translate.scripts import SCRIPTS, is_conversion, translate_script
from ptm.translate.steps import Translation
from ptm.translate.uer_finetuning import FINETUNING_SCRIPT, translate_finetuning
from ptm.translate.uer_trainings import UerTrainings

_UER = ("preprocess.py", "pretrain.py")
_HUGGINGFACE = ("run_mlm.py", "run_clm.py", "run_language_modeling.py", "run_t5_mlm_flax.py")
_FINETUNING = (
    *("run_classifier_cv", "run_classifier_mt", "run_classifier_grid"),
    *("run_ner", "run_cmrc", "run_c3", "run_dbqa", "run_text2text", "run_regression", "run_simcse"),
    *("run_glue", "run_squad", "run_swag", "run_qa", "run_classifier_infer", "run_ner_infer"),
)
"""Scripts that train or apply a model for a task, without `.py`."""


def translate(text: str, *, recipe_path: str) -> Translation:
    """Return the recipes and the commands that do the same as the lines of `text`.

    `recipe_path`: path of the recipe, for the commands. Raises UserError for a line that cannot be
    parsed, a script that is not known, an option or a value that the script does not have, a
    configuration file that cannot be read, and a model that has no counterpart.
    """
    lines = read_command_lines(text)
    if not any(line.is_script for line in lines):
        raise UserError(
            "there is no command line of a Python script. Give lines of preprocess.py, "
            "pretrain.py, run_mlm.py and the like."
        )
    translation = Translation(recipe_path)
    trainings = UerTrainings(translation)
    for line in lines:
        if line.program in _UER:
            trainings.add(line)
        else:
            trainings.flush()
            _translate_line(line, translation)
    trainings.finish()
    return translation


def _translate_line(line: CommandLine, translation: Translation) -> None:
    moves = line.program in ("mv", "cp") and len(line.words) >= 2
    if moves and translation.rename(line.words[-2], line.words[-1]):
        return
    if not line.is_script:
        shown = " ".join([line.program, *line.words])
        translation.note(shown, "commands of the shell are left out")
    elif line.program in SCRIPTS or is_conversion(line.program):
        translate_script(line, translation)
    elif line.program == FINETUNING_SCRIPT:
        translate_finetuning(line, translation)
    elif line.program in _HUGGINGFACE:
        translate_huggingface(line, translation)
    elif line.program.removesuffix(".py") in _FINETUNING:
        translation.note(
            line.program,
            "a script for a task, which `ptm translate` does not convert; for the classification "
            "of texts start from recipes/classification",
        )
    else:
        raise UserError(_unknown(line))


def _unknown(line: CommandLine) -> str:
    known: Sequence[str] = (*_UER, FINETUNING_SCRIPT, *_HUGGINGFACE, *SCRIPTS)
    near = get_close_matches(line.program, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{line.place} is not known. Known scripts: {', '.join(known)}, convert_*.py.{hint}"
