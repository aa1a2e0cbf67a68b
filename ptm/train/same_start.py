"""What the ranks of a training are refused for: too few of them, or not all started alike."""

from __future__ import annotations

import json

import ptm
from ptm.checkpoint.format import digest_of
from ptm.engines.ranks import Ranks, objects_of_all
from ptm.errors import UserError
from ptm.recipe import Recipe, recipe_yaml
from ptm.train.inputs import Inputs


def refuse_too_few_ranks(recipe: Recipe) -> None:
    """Raise UserError where one rank was started for a model in several stages."""
    stages = recipe.engine.pipeline_stages
    if stages > 1:
        raise UserError(
            f"engine.pipeline_stages = {stages} needs {stages} ranks or a multiple of them, and "
            f"one was started: `ptm launch --num-gpus {stages} RECIPE`, or set "
            "engine.pipeline_stages=1."
        )


def refuse_different(recipe: Recipe, inputs: Inputs, ranks: Ranks) -> None:
    """Raise UserError where this rank was started with something else than the first."""
    mine = {
        "the recipe": digest_of(recipe_yaml(recipe).encode()),
        "data.store": inputs.train.store.info.fingerprint,
        "data.evaluation": digest_of(
            " ".join(rows.store.info.fingerprint for rows in inputs.evaluation.values()).encode()
        ),
        "the teachers": inputs.teachers.fingerprints if inputs.teachers else (),
        "the vocabulary": inputs.tokenizer.fingerprint,
        "the files that objective names": inputs.train.objective.fingerprint,
        "ds_configs": digest_of(json.dumps(inputs.ds_config, sort_keys=True).encode()),
        "the version of ptm": ptm.__version__,
    }
    first = objects_of_all(mine, ranks)[0]
    different = [name for name, value in mine.items() if value != first[name]]
    if different:
        raise UserError(
            f"{' and '.join(different)} here differ from those of rank 0: all hosts need the same."
        )
