"""The compiled inside of the fluid engine: flows in route classes, heaps, progressive filling.

Imported when the first `FluidEngine` is made: this is where numba (0.2 s) and the compiled code come in.
Compiling takes a quarter of a minute, once; numba keeps the result in ``__pycache__``. Until then the same functions
run interpreted: `sfsim.network.solver.interim`.
"""

from pathlib import Path


def _forget_stale_code() -> None:
    """Delete compiled code that is older than any source of this package.

    numba looks at the file of a function only, not at those of the functions that are compiled into it.
    """
    here = Path(__file__).parent
    compiled = list((here / "__pycache__").glob("*.nbi"))
    newest = max(source.stat().st_mtime for source in here.glob("*.py"))
    if any(index.stat().st_mtime < newest for index in compiled):
        for file in (here / "__pycache__").glob("*.nb[ic]"):
            file.unlink(missing_ok=True)


_forget_stale_code()
