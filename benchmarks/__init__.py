"""Benchmarks: each module has a `main()` that prints medians and ratios measured side by side in one run."""
