"""Models drawn at random, exported and imported, and compared with those of transformers.

    python -m tests.integration.parity.drawn_models --seed 1 --exports 200 --imports 30

draws recipes and configurations of transformers, each from a plain model with a few options of
other values. Every option is drawn from the fields of the recipe or the keys of the config, so a
new one is drawn too. The table counts equal models and, by reason, the models that were rejected.
A model that was neither makes the exit code 1.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from transformers import PretrainedConfig, PreTrainedModel, logging

from ptm.component import Config
from ptm.errors import UserError
from ptm.model.plain_model import PlainModel
from tests.integration.parity.cases import EXPORTS, IMPORTS
from tests.integration.parity.cases.inputs import Inputs
from tests.integration.parity.cases.models import (
    Changes,
    Export,
    Import,
    SavedModel,
    export_model,
    import_model,
    save_model,
)
from tests.support.bert_pairs import TOLERANCE, difference, recipe_of
from tests.support.texts import write_letters

EQUAL, EQUAL_IN_FP64 = "equal", "equal in fp64"
_MOST_CHANGES = 3
_TEXT = (
    "The rain had stopped before noon, and 27 children ran down to the river again. "
    "天气预报说明天下午有小雨，请大家出门时带伞；山上的路很滑，要慢慢走。"
    "Quick brown foxes jumped over 6 lazy dogs, while a wizard mixed vials of blue potion. "
)
_FLOATS = {"epsilon": (1e-12, 1e-6, 1e-5, 1e-3), "theta": (100.0, 10_000.0), "eps": (1e-6, 1e-3)}
_OTHER_FLOAT = 0.0
_SIZES: dict[str, tuple[Any, ...]] = {
    "layers": (1, 2, 4),
    "heads": (1, 2, 4),
    "head_size": (None, 8, 16),
    "key_value_heads": (None, 1, 2),
    "feed_forward_size": (48, 256),
    "window": (None, 4, 16),
    "global_every": (None, 1, 2),
    "shared_groups": (None, 1, 2),
    "size": (None, 16, 64),
    "rows": (None, 5000),
    "positions": (64, 100, 128),
    "position_offset": (0, 1, 2),
    "segments": (1, 2, 4),
    "tasks": (1, 3),
    "rotary": (None, {"theta": 100.0}),
    "position_bias": (None, {"buckets": 8, "max_distance": 16}),
}
"""Values of options of recipes whose type does not give any."""
_PARTS = ("position", "segment", "sinusoidal", "task")
_NOT_DRAWN = ("type", "hidden_size", "visibility")
"""Options that make another kind of model."""
_ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "tanh", "mish", "quick_gelu")
_KEYS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("hidden_act", "activation_function", "activation", "afn"), _ACTIVATIONS),
    **dict.fromkeys(("hidden_activation", "classifier_activation"), _ACTIVATIONS[:3]),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads"), (1, 2, 4)),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), (1, 2, 8)),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "num_layers", "encoder_layers"), (1, 3, 4)),
    **dict.fromkeys(("num_decoder_layers", "decoder_layers"), (1, 3)),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "n_inner"), (40, 192)),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), (24, 80)),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), (64, 130)),
    **dict.fromkeys(("layer_norm_eps", "layer_norm_epsilon"), (1e-12, 1e-5, 1e-3)),
    **dict.fromkeys(("rms_norm_eps", "norm_eps"), (1e-6, 1e-3)),
    "type_vocab_size": (1, 2, 3),
    "task_type_vocab_size": (1, 4),
    "num_hidden_groups": (1, 2, 4),
    "inner_group_num": (1, 2),
    "embedding_size": (16, 64),
    "num_key_value_heads": (1, 2, 4),
    "head_dim": (8, 16, 24),
    "d_kv": (4, 16),
    "feed_forward_proj": ("relu", "gated-gelu", "gated-silu", "gelu", "gated-relu"),
    "relative_attention_num_buckets": (4, 16),
    "relative_attention_max_distance": (20, 64),
    "local_attention": (4, 32),
    "global_attn_every_n_layers": (1, 2, 4),
    "rope_parameters": (
        {"rope_type": "default", "rope_theta": 500.0},
        {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0},
    ),
    "layer_types": (),
    "unknown_option": (1,),
    "pad_token_id": (),
}
"""Values of keys of configs of transformers; a key that is not listed is drawn by its type."""


@dataclass(frozen=True)
class Outcome:
    """What became of a drawn model: EQUAL, EQUAL_IN_FP64, the reason of an error, a difference."""

    draw: str
    reason: str
    rejected: bool = False

    @property
    def differs(self) -> bool:
        return self.reason not in (EQUAL, EQUAL_IN_FP64) and not self.rejected


def exports(
    seed: int, count: int, *, vocab: Path, texts: Sequence[str], folder: Path
) -> Iterator[Outcome]:
    """Export `count` drawn recipes and compare their logits with those of transformers."""
    for index in range(count):
        dice = random.Random(f"export {seed} {index}")
        case = _drawn_export(dice, vocab, folder / f"vocab{index}")

        def compare(place: Path, case: Export = case) -> str:
            model = export_model(case, place, vocab=vocab, texts=texts)
            return comparison(model.ours, model.theirs, model.inputs)

        yield _outcome(f"{case.family.name} {dict(case.changes)}", compare, folder / f"{index}")


def imports(
    seed: int, count: int, *, vocab: Path, texts: Sequence[str], folder: Path
) -> Iterator[Outcome]:
    """Import `count` drawn models of transformers and compare their logits."""
    saved = saved_models(seed, count, vocab=vocab, texts=texts, folder=folder)
    for index, theirs in enumerate(saved):

        def compare(place: Path, theirs: SavedModel = theirs) -> str:
            ours = import_model(theirs.folder, place / "ours")
            return comparison(ours.ours, theirs.theirs, theirs.inputs)

        yield _outcome(draw_of(theirs), compare, folder / f"{index}")


def saved_models(
    seed: int, count: int, *, vocab: Path, texts: Sequence[str], folder: Path
) -> Iterator[SavedModel]:
    """Draw `count` models of transformers that it can compute with, and save each in a folder."""
    for index in range(count):
        dice = random.Random(f"import {seed} {index}")
        while True:
            case = _drawn_import(dice)
            place = folder / f"theirs{index}"
            place.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(index)
            try:
                theirs = save_model(case, place, vocab=vocab, texts=texts)
            except Exception:
                # transformers itself does not accept these values, or cannot compute with them.
                continue
            if bool(theirs.expected.isfinite().all()):
                break
        yield theirs


def draw_of(theirs: SavedModel) -> str:
    """The family and config of a model, for a table."""
    return f"{theirs.case.family.name} {dict(theirs.case.config)}"


def comparison(ours: PlainModel, theirs: PreTrainedModel, inputs: Inputs) -> str:
    """EQUAL if ptm's logits are transformers', EQUAL_IN_FP64, or how much they differ.

    Some drawn models enlarge rounding errors. Both models are fp64 models then.
    """
    found = _difference(ours, theirs, inputs)
    if found <= TOLERANCE:
        return EQUAL
    if _difference(ours.double(), theirs.double(), inputs) <= TOLERANCE:
        return EQUAL_IN_FP64
    return f"differs by {found:.1e}"


def _difference(ours: PlainModel, theirs: PreTrainedModel, inputs: Inputs) -> float:
    return difference(inputs.ptm_logits(ours, inputs.padded), inputs.hf_logits(theirs))


def _outcome(draw: str, compare: Callable[[Path], str], place: Path) -> Outcome:
    place.mkdir(parents=True)
    try:
        return Outcome(draw, compare(place))
    except UserError as error:
        return Outcome(draw, str(error), rejected=True)


def _families(cases: Sequence[Export] | Sequence[Import]) -> list[Any]:
    return [case for case in cases if not case.name or case.family.name == "t5"]


def _drawn_export(dice: random.Random, vocab: Path, folder: Path) -> Export:
    folder.mkdir(parents=True)
    while True:
        plain: Export = dice.choice(_families(EXPORTS))
        words = plain.family.vocabulary(vocab, folder)
        recipe = recipe_of(plain.blocks(words))
        blocks: dict[str, Config] = {
            "encoder": recipe.model.encoder,
            "embedding": recipe.model.embedding,
            "head": recipe.objective.head,  # type: ignore[attr-defined]
        }
        if recipe.model.decoder is not None:
            blocks["decoder"] = recipe.model.decoder
            blocks["target_embedding"] = recipe.model.decoder_embedding
        changes: dict[str, dict[str, Any]] = {}
        for _ in range(dice.randint(0, _MOST_CHANGES)):
            name = dice.choice(sorted(blocks))
            fields = [key for key in type(blocks[name]).model_fields if key not in _NOT_DRAWN]
            key = dice.choice(fields)
            changes.setdefault(name, {})[key] = _value(dice, key, type(blocks[name]))
        if "target_embedding" in changes:
            given = plain.blocks(words)["model"]["embedding"]
            changes["target_embedding"] = {**given, **changes["target_embedding"]}
        case = replace(
            plain,
            name="drawn",
            changes=_merged(plain.changes, changes),
            attention=plain.attention,
            weights_format=dice.choice(["safetensors", "bin"]),
        )
        try:
            recipe_of(case.blocks(words))
        except UserError:
            continue
        return case


def _merged(*changes: Changes) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in changes:
        for block, values in one.items():
            found[block] = {**found.get(block, {}), **values}
    return found


def _value(dice: random.Random, key: str, block: type[Config]) -> Any:
    """A value of an option, by its name or else by its type."""
    if key == "parts":
        return ["word", *(part for part in _PARTS if dice.random() < 0.4)]
    if key in _SIZES:
        return dice.choice(_SIZES[key])
    kind = _plain_type(typing.get_type_hints(block)[key])
    if get_origin(kind) is Literal:
        return dice.choice(get_args(kind))
    if kind is bool:
        return dice.random() < 0.5
    if kind is float:
        return dice.choice(next((v for k, v in _FLOATS.items() if k in key), (_OTHER_FLOAT,)))
    raise AssertionError(f"{block.__name__}.{key} has the type {kind}: add values to this module")


def _plain_type(annotation: Any) -> Any:
    if get_origin(annotation) is types.UnionType:
        annotation = next(one for one in get_args(annotation) if one is not types.NoneType)
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _drawn_import(dice: random.Random) -> Import:
    plain: Import = dice.choice([case for case in IMPORTS if not case.name])
    whole = PretrainedConfig.to_dict(plain.family.config(100, plain.config))
    changes: dict[str, Any] = {}
    for _ in range(dice.randint(0, _MOST_CHANGES)):
        key = dice.choice([*whole, "unknown_option"])
        values = _values(key, whole.get(key))
        if values:
            changes[key] = dice.choice(values)
    return with_last_norm(replace(plain, name="drawn", config={**plain.config, **changes}))


def _values(key: str, value: Any) -> tuple[Any, ...]:
    if key in _KEYS:
        return _KEYS[key]
    if isinstance(value, bool):
        return (not value,)
    return (0.0, 0.25) if isinstance(value, float) else ()


def with_last_norm(case: Import) -> Import:
    """The case with the last layer's norm as its last norm, for models without a final norm."""
    config = case.config
    layers = config.get("decoder_layers", config.get("n_layer", config.get("num_hidden_layers")))
    if layers is None:
        return case
    name = re.sub(r"\.(layers|h)\.\d+\.", rf".\1.{layers - 1}.", case.family.last_norm)
    return replace(case, family=replace(case.family, last_norm=name))


def reason_of(outcome: Outcome) -> str:
    """The reason without names of files and values: the option or tensor that is named."""
    if not outcome.rejected:
        return outcome.reason.split(" by ")[0]
    family = outcome.draw.partition(" ")[0]
    own = re.search(rf"[(; ]{family}: ([^;]*?)( = |[;)]|$)", outcome.reason)
    sentence = own.group(1) if own else outcome.reason.partition(": ")[2]
    sentence = re.sub(r"config\.json: ", "", sentence)
    return f"{family}: {re.split(r' = |, but | is not | are not ', sentence)[0][:80]}"


def table(outcomes: Sequence[Outcome]) -> str:
    """The counts by reason, and every model that differs."""
    counts = Counter(map(reason_of, outcomes))
    lines = [f"{count:6}  {reason}" for reason, count in counts.most_common()]
    return "\n".join([*lines, *(f"DIFFERS {o.draw}: {o.reason}" for o in outcomes if o.differs)])


def small_texts(folder: Path) -> tuple[Path, list[str]]:
    """A vocabulary of letters in `folder`, and texts in two scripts."""
    lines = [_TEXT[start : start + 45] for start in range(0, len(_TEXT) - 45, 30)]
    return write_letters(folder / "vocab.txt", lines), lines


def main(arguments: Sequence[str]) -> int:
    """Draw, print the two tables; 1 if a model that was not rejected differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "exports", "imports"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parsed = parser.parse_args(arguments)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    differing = 0
    for draw, count in ((exports, parsed.exports), (imports, parsed.imports)):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            vocab, texts = small_texts(folder)
            outcomes = list(
                draw(parsed.seed, count, vocab=vocab, texts=texts, folder=folder / "models")
            )
        print(f"{count} {draw.__name__}\n{table(outcomes)}\n")
        differing += sum(outcome.differs for outcome in outcomes)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
