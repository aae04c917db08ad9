"""A model file and images in, predictions out: neither Keras nor pandas is imported."""

SHARD_FORMATS = ("parquet", "csv")
