"""Pictures of rate against accuracy: the curves, bits per pixel in training, shares of bytes, what a model sees.

Every picture carries the no-communication baseline where there is one among the runs: what the clients reach when
nothing but zeros comes from the server.
"""

from collections.abc import Sequence
from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from sfsim.errors import ResultsError
from sfsim.report.rates import BASELINE, CURVE, SLOTS, curve_name, describe, point, training_bpp
from sfsim.report.style import COLOURS, MARKERS, engineering, figure, log_labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sfsim.results import Result

_GREY = "#666666"
_WORDS = {"mji": "MJI"}
_TRAINING: dict[str, dict[str, Any]] = {  # both are seen where they are equal, in one round too
    "sent": {"linestyle": "-", "marker": "."},
    "as published": {"linestyle": "--", "marker": "s", "markersize": 7, "markerfacecolor": "none"},
}
_SCHEME_LINES: dict[str, Any] = {"F": "-", "FG": (0, (3, 1.2)), "G": "-."}
_KINDS = ("smashed data", "gradient", "client model", "codec update", "labels", "control")
_SLOT_NAMES = {
    "smashed_up": "smashed data up (S1)",
    "smashed_down": "smashed data down (S2)",
    "gradient_up": "gradient up (S2)",
    "gradient_down": "gradient down (S1)",
}


def rate_accuracy(points: "pd.DataFrame") -> "Figure":
    """Draw test accuracy against bits per pixel as published, as sent, and against bytes with everything.

    Parameters
    ----------
    points : DataFrame
        From `sfsim.report.rates.spread`. Points without lambda (NC, classical codecs) stand alone; the range over
        seeds is a thin cross, the no-communication baseline a dotted line, NC a dashed one. A small number at a point
        is its lambda.
    """
    from matplotlib.ticker import EngFormatter, NullFormatter

    panels = (
        ("published_bpp_t", "BPP-T as published (likelihoods)", ""),
        ("bpp_t", "BPP-T as sent (payload with header)", ""),
        ("wire_bytes", "all bytes of the run, on the wire", "B"),
    )
    with figure(11, 4.6, 1, len(panels), sharey=True) as (drawing, axes):
        for ax, (column, label, unit) in zip(axes[0], panels, strict=True):
            _curves(ax, points, column)
            _lines(ax, points, column)
            ax.set(xscale="log", xlabel=label)
            ax.margins(x=0.1)
            log_labels(ax.xaxis)
            ax.xaxis.set_minor_formatter(NullFormatter())
            if unit:
                ax.xaxis.set_major_formatter(EngFormatter(unit=unit))
        if points["lambda"].notna().any():
            axes[0, 0].plot([], [], linestyle="", label="a number at a point: its lambda")
        axes[0, 0].set_ylabel(f"test {_metric(points)}")
        _legend(drawing, axes[0, 0])
        for ax in axes[0]:
            _place(drawing, ax)
    return drawing


def _metric(points: "pd.DataFrame") -> str:
    return _WORDS.get(points.attrs["metric"], str(points.attrs["metric"]))


def _curves(ax: Any, points: "pd.DataFrame", column: str) -> None:
    """Draw the curves, each of its own colour and marker, a line style per scheme; lambda in a curve's colour."""
    from matplotlib.patheffects import withStroke

    shown = points[(points["codec"] != BASELINE) & (points["scheme"] != "NC")]
    colours, markers = cycle(COLOURS), cycle(MARKERS)
    for _, curve in shown.groupby(CURVE, sort=False):
        colour, marker, first = next(colours), next(markers), curve.iloc[0]
        seen = curve[curve[column] > 0]
        x, y = seen[column], seen["test"]
        line = _SCHEME_LINES[first["scheme"]] if seen["lambda"].notna().any() else ""
        ax.plot(x, y, color=colour, marker=marker, linestyle=line, label=curve_name(first))
        ax.hlines(y, seen[f"{column}_min"], seen[f"{column}_max"], color=colour, linewidth=1, alpha=0.6)
        ax.vlines(x, seen["test_min"], seen["test_max"], color=colour, linewidth=1, alpha=0.6)
        for _, row in seen[seen["lambda"].notna()].iterrows():
            text = ax.annotate(f"{row['lambda']:g}", (row[column], row["test"]), (0, 0), textcoords="offset points",
                               color=colour, fontsize=7, ha="center", va="center", in_layout=False)  # fmt: skip
            text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _place(drawing: "Figure", ax: Any) -> None:
    """Put each lambda beside its point, where it hides neither another one nor a point."""
    from matplotlib.transforms import Bbox

    drawing.draw_without_rendering()  # from here on points have places on the paper
    dot = drawing.dpi / 72
    points = ax.transData.transform([text.xy for text in ax.texts])
    taken = [Bbox.from_bounds(x - 3 * dot, y - 3 * dot, 6 * dot, 6 * dot) for x, y in points]
    for text in ax.texts:
        beside = 5 + 2.2 * len(text.get_text())
        for text.xyann in ((x, y) for y in (0, 8, -8, 16, -16) for x in (beside, -beside, 0) if x or y):
            box = text.get_window_extent()
            if not box.count_overlaps(taken):
                break
        taken.append(box)


def _lines(ax: Any, points: "pd.DataFrame", column: str) -> None:
    """Draw the accuracies to compare with, a mark at their own rate: no communication, and no compression."""
    silent, plain = points["codec"] == BASELINE, points["scheme"] == "NC"
    for rows, style, marker, name in (
        (points[silent], ":", "o", BASELINE),
        (points[plain & ~silent], "--", "*", "NC (fp32)"),
    ):
        if len(rows):
            value, low, high = rows[["test", "test_min", "test_max"]].iloc[0]
            ax.axhline(value, color=_GREY, linestyle=style, linewidth=1.4)
            ax.axhspan(low, high, color=_GREY, alpha=0.12, linewidth=0)
            rate = rows[column].iloc[0]
            ax.plot(rate if rate > 0 else np.nan, value, marker=marker, color=_GREY, markerfacecolor="white",
                    markersize=10 if marker == "*" else 6, linestyle=style, linewidth=1.4,
                    label=f"{name}: {value:.3f}")  # fmt: skip


def _legend(drawing: "Figure", ax: Any) -> None:
    drawing.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def training_rates(results: Sequence["Result"]) -> "Figure":
    """Draw bits per pixel over the rounds, a row per curve, a column per slot, a colour per lambda.

    Solid with dots is what was sent, dashed with squares what published code would report; the mean over seeds, as
    the shade their range.
    """
    import pandas as pd
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    frames = [training_bpp(result).assign(**describe(result)) for result in results]
    rows = pd.concat(frames, ignore_index=True)
    silent = rows[rows["codec"] == BASELINE]
    coded = rows[(rows["codec"] != BASELINE) & (rows["scheme"] != "NC")]
    curves = [(curve_name(group.iloc[0]), group) for _, group in coded.groupby(CURVE, sort=False)]
    if not curves:
        raise ResultsError("found no run with a codec, expected at least one")
    slots = [slot for slot in SLOTS if slot in set(coded["slot"])]
    *some, last = COLOURS
    colours = dict(zip(sorted(coded["lambda"].dropna().unique()), cycle(some), strict=False))
    legend = [Line2D([], [], color=colour, label=f"lambda {value:g}") for value, colour in colours.items()]
    if coded["lambda"].isna().any():
        legend.append(Line2D([], [], color=last, label="no lambda"))
    legend += [Line2D([], [], color=_GREY, label=name, **style) for name, style in _TRAINING.items()]
    if len(silent):
        legend.append(Line2D([], [], color=_GREY, linestyle=":", linewidth=1.2, label=_baseline(results)))
    height = 1.2 + 1.9 * len(curves)
    with figure(11, height, len(curves), len(slots), sharex=True, sharey=True) as (drawing, axes):
        for line, (name, group) in zip(axes, curves, strict=True):
            for ax, slot in zip(line, slots, strict=True):
                mine = group[group["slot"] == slot]
                for value, part in mine.groupby("lambda", dropna=False):
                    _training_lines(ax, part, colours.get(value, last))
                base = silent[silent["slot"] == slot]["actual_bpp"]
                if len(base):
                    ax.axhline(base.mean(), color=_GREY, linestyle=":", linewidth=1.2)
            line[0].set_ylabel(f"{fill(name, 28)}\nbit per pixel", fontsize=9)
        for ax, slot in zip(axes[0], slots, strict=True):
            ax.set_title(_SLOT_NAMES[slot])
        for ax in axes[-1]:
            ax.set(xlabel="global round", yscale="log", xlim=(0.5, rows["round"].max() + 0.5))
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            log_labels(ax.yaxis)
        drawing.legend(handles=legend, loc="outside lower center", ncols=6)
    return drawing


def _training_lines(ax: Any, rows: "pd.DataFrame", colour: str) -> None:
    over = rows.groupby("round")
    sent, published = over["actual_bpp"], over["published_bpp"].mean()
    ax.plot(sent.mean(), color=colour, **_TRAINING["sent"])
    ax.fill_between(sent.mean().index, sent.min(), sent.max(), color=colour, alpha=0.2, linewidth=0)
    ax.plot(published[published > 0], color=colour, **_TRAINING["as published"])


def _baseline(results: Sequence["Result"]) -> str:
    values = [point(result)["test"] for result in results if describe(result)["codec"] == BASELINE]
    metric = results[0].metric
    return f"{BASELINE} ({_WORDS.get(metric, metric)} {np.mean(values):.3f})"


def byte_shares(points: "pd.DataFrame") -> "Figure":
    """Draw what the payload bytes of each curve and lambda were, per cent by kind of message."""
    kinds = {kind: column for kind in _KINDS if (column := f"bytes_{kind.replace(' ', '_')}") in points}
    total = points[list(kinds.values())].sum(axis=1)
    names = [
        curve_name(row) + (f", lambda {row['lambda']:g}" if row["lambda"] == row["lambda"] else "")
        for _, row in points.iterrows()
    ]
    with figure(11, 1.4 + 0.3 * len(points)) as (drawing, axes):
        ax, left = axes[0, 0], np.zeros(len(points))
        for kind, column in kinds.items():
            widths = (100 * points[column].fillna(0) / total).to_numpy()
            colour = COLOURS[_KINDS.index(kind)]  # a kind has one colour in every picture
            ax.barh(names, widths, left=left, color=colour, height=0.75, label=kind)
            left += widths
        for place, (size, value) in enumerate(zip(total, points["test"], strict=True)):
            ax.text(
                101,
                place,
                f"{engineering(size, 'B')}, {_metric(points)} {value:.3f}",
                va="center",
                fontsize=8.5,
            )
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="share of all payload bytes (%)", xlim=(0, 135), xticks=range(0, 101, 20))
        drawing.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return drawing


def qualitative(results: Sequence["Result"], images: int = 4) -> "Figure":
    """Draw test images, their masks, and what the last model of each run makes of them, one column per run.

    Raises
    ------
    ResultsError
        A run kept no predictions, or other images than the first run, or is no segmentation.
    """
    kept = [result.predictions for result in results]
    inputs, masks = kept[0]["inputs"][:images], kept[0]["targets"][:images]
    if masks.ndim != 3:
        raise ResultsError(f"{results[0].directory}: found classes of whole images, expected masks")
    for result, arrays in zip(results, kept, strict=True):
        if not np.array_equal(arrays["inputs"][:images], inputs):
            raise ResultsError(
                f"{result.directory}: kept other images than {results[0].directory} (another seed?)"
            )
    columns = [("image", inputs.transpose(0, 2, 3, 1)), ("ground truth", masks)]
    for result, arrays in zip(results, kept, strict=True):
        row = describe(result)
        title = curve_name(row).replace(" ", "\n", 1) + (
            f"\nλ {row['lambda']:g}" if row["lambda"] > 0 else ""
        )
        columns.append((title, arrays["predictions"]))
    classes = max(int(masks.max()), *(int(arrays["predictions"].max()) for arrays in kept), 1)
    with figure(1.15 * len(columns), 1.15 * len(inputs) + 0.6, len(inputs), len(columns)) as (drawing, axes):
        for i, line in enumerate(axes):
            for ax, (title, pictures) in zip(line, columns, strict=True):
                array = pictures[i]
                ax.imshow(
                    array, **({} if array.ndim == 3 else {"cmap": "cividis", "vmin": 0, "vmax": classes})
                )
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                ax.spines[:].set_visible(False)
                if i == 0:
                    ax.set_title(title, fontsize=7.5, loc="center", fontweight="normal")
    return drawing
