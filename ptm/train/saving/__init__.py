"""When checkpoints are written, how every rank writes its share, and how a run resumes."""
