"""Split training in PyTorch: data, partition, models, cut, steps, averaging, metrics; no bytes, no time."""
