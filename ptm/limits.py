"""Limits on what is read, so that a hostile or damaged input costs neither memory nor time.

All are far above what any training uses.
"""

from __future__ import annotations

MOST_RECIPE_BYTES = 2**22
"""Size of a recipe file."""
MOST_RECIPE_DEPTH, MOST_RECIPE_ALIASES, MOST_RECIPE_VALUES = 32, 64, 10_000
"""Nesting, aliases, and values after aliases are expanded: nested aliases grow exponentially."""
LARGEST_INTEGER = 2**63 - 1
"""The largest integer of a recipe; numpy and torch have no larger ones."""

MOST_JSON_BYTES = 2**28
"""Size of a JSON file. A tokenizer.json with a million tokens has about 100 MB."""
MOST_JSON_DEPTH = 64
MOST_TEXT_BYTES = 2**30
"""Size of a vocabulary, word list or file of texts, which is read at once."""
MOST_HOSTFILE_BYTES = 2**22

MOST_LAYERS = 1024
MOST_STAGES = 256
"""Pipeline stages."""
MOST_WIDTH = 2**20
"""Hidden size, heads, and other sizes of a layer."""
MOST_SPAN = 2**16
"""Tokens of one masked span; a table of the probability of each length is kept."""
MOST_POSITIONS = 2**20
"""Tokens of a row, and positions of a position embedding."""
MOST_RANKS = 2**17
"""Ranks of a training, and hosts times slots of a hostfile."""
MOST_WORKERS = 1024
"""Processes of `ptm preprocess`."""
MOST_SLOTS = 4096
"""Ranks of one host."""

LONGEST_LINE = 2**22
"""Bytes of one line of a corpus. Tokenising a line takes up to 200 times as much memory."""
LONGEST_RECORD = 2**24
"""Bytes of one record of JSON lines, CSV or TSV, all its fields together."""
LARGEST_DOCUMENT = 2**28
"""Bytes of one document of a corpus: more means that the file has no boundaries at all."""
LARGEST_UNPACKED_TABLE = 2**36
"""Bytes of a compressed parquet or Arrow file, which is unpacked to a temporary file."""
