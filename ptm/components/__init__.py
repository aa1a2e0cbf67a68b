"""The components that a recipe chooses from: one package per kind, one file per component."""
