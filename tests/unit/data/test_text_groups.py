"""How the texts of a row share its room."""

from __future__ import annotations

import numpy as np
import pytest

from ptm.data.text_groups import fair_share


@pytest.mark.parametrize("seed", range(3))
def test_texts_share_a_row_fairly_and_absent_ones_need_nothing(seed: int) -> None:
    dice = np.random.default_rng(seed)
    lengths = dice.integers(0, 40, (200, 4))
    room = dice.integers(8, 120, 200)
    share = fair_share(lengths, room)
    kept = np.minimum(lengths, share[:, None])
    assert (kept.sum(axis=1) <= room).all()
    whole = lengths.sum(axis=1) <= room
    assert (kept[whole] == lengths[whole]).all()
    # With one token more for each of the cut texts, some do not fit.
    more = np.minimum(lengths, share[:, None] + 1)
    assert (more[~whole].sum(axis=1) > room[~whole]).all()
    # Only texts longer than an equal share are cut.
    texts = np.maximum((lengths > 0).sum(axis=1), 1)
    assert (share[~whole] >= room[~whole] // np.maximum(texts[~whole], 1)).all()
