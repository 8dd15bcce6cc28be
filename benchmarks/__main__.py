"""Run all benchmarks, or those named: ``python -m benchmarks [--toy] [NAME ...]``.

With ``--toy`` each is so small that its figures mean nothing: only to see that it runs.
"""

import sys
from importlib import import_module
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Run each module's `main`."""
    toy, names = "--toy" in arguments, [name for name in arguments if name != "--toy"]
    known = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    for name in names or known:
        print(f"== {name}", flush=True)
        import_module(f"benchmarks.{name}").main(toy)


if __name__ == "__main__":
    main(sys.argv[1:])
