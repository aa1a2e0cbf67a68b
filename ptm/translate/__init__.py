"""Recipes from the command lines of UER-py, TencentPretrain and Hugging Face's scripts."""
