"""Run all benchmarks, or those named: ``python -m benchmarks [NAME ...]``."""

import sys
from importlib import import_module
from pathlib import Path


def main(names: list[str]) -> None:
    """Run each module's `main`."""
    known = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    for name in names or known:
        print(f"== {name}", flush=True)
        import_module(f"benchmarks.{name}").main()


main(sys.argv[1:])
