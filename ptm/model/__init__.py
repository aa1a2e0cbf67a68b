"""From a recipe to a model: the plan, its executors, parameter names and initial weights."""
