"""Runs where a team keeps its experiments: MLflow or TensorBoard."""

TRACKERS = ("mlflow", "tensorboard")
