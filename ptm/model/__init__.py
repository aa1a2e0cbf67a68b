"""From a recipe to a model: the plan, its executors, its names and its first weights."""
