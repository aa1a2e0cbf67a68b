"""When checkpoints are saved, how each rank writes its part, and how a run resumes."""
