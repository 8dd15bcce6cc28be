"""How every picture looks: colours that colour-blind readers can tell apart, units on every axis."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.errors import ConfigError
from sfsim.names import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: One colour per part of the delay breakdown (Okabe and Ito's, greys, and one of Tol's), the same everywhere.
PART_COLOURS = {
    "client compute": "#0072B2",
    "encode": "#56B4E9",
    "decode": "#CC79A7",
    "uplink": "#E69F00",
    "downlink": "#F0E442",
    "link queueing": "#D55E00",
    "server compute": "#009E73",
    "device queueing": "#4D4D4D",
    "waiting for a turn": "#999933",
    "waiting at the barrier": "#D9D9D9",
    "other": "#A6A6A6",
}
#: One colour, marker and line per run or kind; the marker tells what the colour cannot.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")

WIDE, NARROW = 10.0, 4.2  # inches: for a desk, for a telephone

_RC = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "svg.hashsalt": "sfsim",  # equal pictures, equal files
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a name may hold a dollar
}


@contextmanager
def figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[Any]:
    """Yield (figure, axes as a 2-d array) in the house style; nothing global is touched.

    Parameters
    ----------
    width, height : float
        Inches.
    rows, columns : int
        Panels.
    options
        Passed to `Figure.subplots`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        drawing = Figure(figsize=(width, height), layout="constrained")
        axes = drawing.subplots(rows, columns, squeeze=False, **options)
        yield drawing, axes
        for panel in axes.flat:
            for axis in (panel.xaxis, panel.yaxis):
                _plain_powers(axis)


def _plain_powers(axis: Any) -> None:
    """Write the ticks of a logarithmic axis as numbers: matplotlib's are mathematical text, which is off."""
    from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, NullFormatter

    if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        low, high = axis.get_view_interval()
        if low * 10 <= high:  # between them lies a power of ten or two
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def picture_kind(path: Path) -> str:
    """Return what kind of picture the ending of a file asks for.

    >>> picture_kind(Path("world.SVG"))
    'svg'
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise ConfigError(
            str(path), f"a name that ends in {path.suffix!r}", "one that ends in .png, .svg or .pdf"
        )
    return kind


def save(drawing: "Figure", file: Any, kind: str) -> None:
    """Write a figure as ``"png"``, ``"svg"`` or ``"pdf"`` to a path or buffer, without a date in it."""
    import matplotlib

    dated = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes, and stands in the tables.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        drawing.savefig(file, format=kind, dpi=150, metadata={dated: None} if dated else None)


def label(name: str, longest: int = 32) -> str:
    """Return a name as it may stand at an axis or in a legend, where matplotlib hides what begins with "_".

    >>> label("_pi"), len(label("x" * 5000))
    ('\u2009_pi', 32)
    """
    text = shown(name, longest)
    return f"\u2009{text}" if text.startswith("_") else text


def looks() -> Iterator[dict[str, Any]]:
    """Yield colour, marker and line of one run after another, different for as many as can be told apart.

    >>> from itertools import islice
    >>> len({tuple(look.values()) for look in islice(looks(), 28)})
    28
    """
    for number in count():
        turn = number // len(COLOURS)
        yield {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[(number + turn) % len(MARKERS)],
            "linestyle": _LINES[turn % len(_LINES)],
        }


def legend(drawing: "Figure", handles: Sequence[Any], names: Sequence[str], where: str = "lower") -> None:
    """Put a legend above or below all panels, in as many columns as the width holds."""
    if not handles:
        return
    character_in = 0.075  # of the legend's font, on average
    widest_in = 0.6 + character_in * max(len(name) for name in names)
    columns = max(1, int(drawing.get_figwidth() / widest_in))
    drawing.legend(handles, names, loc=f"outside {where} center", ncols=min(columns, len(names)))


def log_labels(axis: Any) -> None:
    """Write the numbers of a logarithmic axis without mathematics, which texts do not have here."""
    from matplotlib.ticker import LogFormatter, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def time_unit(longest_s: float) -> tuple[float, str]:
    """Return (seconds per unit, name) of the unit that keeps an axis in small numbers.

    >>> time_unit(90), time_unit(7300)
    ((1.0, 's'), (60.0, 'min'))
    """
    for factor, name, from_s in ((86400.0, "days", 3 * 86400), (3600.0, "h", 3 * 3600), (60.0, "min", 600)):
        if longest_s >= from_s:
            return factor, name
    return (1.0, "s") if longest_s >= 1 or longest_s == 0 else (1e-3, "ms")


def engineering(value: float, unit: str) -> str:
    """Return a number with a decimal prefix and three or four figures.

    >>> engineering(1234567, "B"), engineering(250, "B"), engineering(0, "bit/s")
    ('1.235 MB', '250 B', '0 bit/s')
    """
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"
