"""From a stack and a model to changed weights: planned first, then merged, live or baked."""
