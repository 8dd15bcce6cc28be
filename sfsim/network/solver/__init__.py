"""The compiled inside of the fluid engine: flows in route classes, heaps, progressive filling.

Imported when the first `FluidEngine` is made: this is where numba (0.2 s) and the compiled code come in.
Compiling takes half a minute once; numba keeps the result in ``__pycache__``.
"""
