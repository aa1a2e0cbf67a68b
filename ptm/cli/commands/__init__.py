"""The commands, a file each, found by scanning this package."""
