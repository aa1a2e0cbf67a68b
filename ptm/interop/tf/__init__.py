"""Import of Google's TensorFlow 1 checkpoints, without TensorFlow."""
