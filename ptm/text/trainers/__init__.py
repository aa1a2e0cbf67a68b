"""Making a vocabulary out of text: one kind in one file each, found by scanning this package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from ptm.text.trainers.contract import Trained, Trainer, TrainingText, Wish

__all__ = ["Trained", "Trainer", "TrainingText", "Wish", "trainers"]


def trainers() -> dict[str, Trainer]:
    """Every kind that is a file of this package, by name."""
    found: dict[str, Trainer] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            own = member.__module__ == module.__name__ and not inspect.isabstract(member)
            if own and issubclass(member, Trainer):
                found[member.name] = member()
    return dict(sorted(found.items()))
