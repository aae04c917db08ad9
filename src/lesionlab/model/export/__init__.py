"""From a trained network to files for other runtimes, each proved equal to its source."""
