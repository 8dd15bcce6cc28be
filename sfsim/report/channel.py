"""A picture of a channel: its rate, its SNR and its outages over time, or a law of loss over packets."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim.files import writing
from sfsim.report.style import COLOURS, figure, picture_kind, save

if TYPE_CHECKING:
    import numpy as np


def draw(
    edges: "np.ndarray", across: str, panels: "Sequence[tuple[str, np.ndarray]]", title: str, path: Path
) -> Path:
    """Draw curves above each other and return the path.

    Parameters
    ----------
    edges : array, shape (n + 1,)
        Where the values change.
    across : str
        What the edges are, with their unit.
    panels : sequence of (str, array)
        Label with unit, and values of shape (n,).
    title : str
        Stands above all.
    path : Path
        The file; its ending says PNG, SVG or PDF.

    Raises
    ------
    ResultsError
        `path` cannot be written.
    ConfigError
        `path` has another ending.
    """
    with figure(9.0, 0.8 + 1.9 * len(panels), rows=len(panels), sharex=True) as (drawing, axes):
        for ax, (label, values), colour in zip(axes[:, 0], panels, COLOURS, strict=False):
            ax.stairs(values, edges, color=colour, linewidth=1.2, baseline=None)
            if "dB" not in label:
                ax.set_ylim(0, 1.05 * (values.max() or 1))
            ax.set_ylabel(label)
            ax.margins(x=0)
        axes[0, 0].set_title(title)
        axes[-1, 0].set_xlabel(across)
    kind = picture_kind(path)
    with writing(path):
        save(drawing, path, kind)
    return path
