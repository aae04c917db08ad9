"""How far to believe a model: metrics, intervals, mistakes."""
