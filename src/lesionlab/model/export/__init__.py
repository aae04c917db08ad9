"""From a trained network to files for other runtimes, each proved equal to its source."""

EXPORT_FORMATS = ("onnx", "onnx-int8", "litert", "savedmodel", "keras")  # of a network; a page, "web", is no such file
