"""Cost: what a computation needs of a machine, counted and not timed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """What a computation needs; a device turns it into seconds and joules.

    Parameters
    ----------
    flops : float
        Floating-point operations (a multiply-add counts as two).
    bytes_touched : float
        Bytes read and written in main memory.
    serial_symbols : float
        Symbols that must be handled one after another (entropy coding, sorting, bit packing).
    launches : float
        Kernels or operators started.

    Examples
    --------
    >>> Cost(flops=2) + 3 * Cost(flops=1, launches=1)
    Cost(flops=5, bytes_touched=0, serial_symbols=0, launches=3)
    """

    flops: float = 0
    bytes_touched: float = 0
    serial_symbols: float = 0
    launches: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.flops + other.flops,
            self.bytes_touched + other.bytes_touched,
            self.serial_symbols + other.serial_symbols,
            self.launches + other.launches,
        )

    def __rmul__(self, factor: float) -> "Cost":
        return Cost(
            factor * self.flops,
            factor * self.bytes_touched,
            factor * self.serial_symbols,
            factor * self.launches,
        )
