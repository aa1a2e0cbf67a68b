"""Arguments that go through other hosts' shells, and through pdsh, as one harmless word."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

_WORDS = "--words="


def packed(words: Sequence[str]) -> str:
    """Arguments as one word that any shell, and pdsh, leaves as it is."""
    return _WORDS + base64.urlsafe_b64encode(json.dumps(list(words)).encode()).decode()


def unpacked(words: Sequence[str]) -> list[str]:
    """Arguments of which some may have been packed; without the --local_rank DeepSpeed adds."""
    found: list[str] = []
    for word in words:
        if word.startswith(_WORDS):
            found += json.loads(base64.urlsafe_b64decode(word.removeprefix(_WORDS)))
        elif not word.startswith("--local_rank"):
            found.append(word)
    return found
