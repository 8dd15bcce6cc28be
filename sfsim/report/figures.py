"""Pictures of finished runs: accuracy, loss and bytes over simulated time, accuracy over bytes, delays, links."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sfsim.report.delays import PARTS, where_time_went
from sfsim.report.style import (
    COLOURS,
    PART_COLOURS,
    WIDE,
    engineering,
    figure,
    label,
    legend,
    looks,
    time_unit,
)
from sfsim.report.tables import labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sfsim.results import Result

MOST_BARS = 40  # more rows than this cannot be read
_BELOW: dict[str, Any] = {"linestyle": "--", "linewidth": 6, "markersize": 11, "alpha": 0.35, "zorder": 1.5}
_NARROWEST_IN = 2.4  # of a panel
_INSIDE = 62  # per cent: a longer bar has its words inside, where the axis ends at 100


def accuracy_over_time(results: Sequence["Result"], width: float = WIDE) -> "Figure":
    """Draw the headline metric over simulated time, codec on (solid) and off (pale dashes), and the target.

    Codec off lies below and is wider, so that both are seen where they are equal.
    """
    factor, unit = time_unit(max(result.end_s for result in results))
    metric = results[0].metric
    with figure(width, 4.8) as (drawing, axes):
        ax = axes[0, 0]
        targets: set[float] = set()
        for result, name, look in zip(results, labels(results), looks(), strict=False):
            rows = result.rounds
            for column, note, shape in (
                (f"validation_{metric}", "codec on", {}),
                (f"validation_{metric}_codec_off", "codec off", _BELOW),
            ):
                if column in rows:
                    seen = rows[rows[column].notna()]
                    x, y = seen["time_s"] / factor, seen[column]
                    ax.plot(x, y, label=f"{label(name)}, {note}", **(look | shape))
            _mark_target(ax, result, metric, look["color"], (factor, unit), targets, len(results) == 1)
        ax.set(xlabel=f"simulated time ({unit})", ylabel=f"validation {metric}", xlim=(0, None))
        legend(drawing, *ax.get_legend_handles_labels())
    return drawing


def _mark_target(
    ax: Any,
    result: "Result",
    metric: str,
    colour: str,
    scale: tuple[float, str],
    drawn: set[float],
    alone: bool,
) -> None:
    if result.summary["target"] is None or result.summary["target"]["metric"] != metric:
        return
    reached, (factor, unit) = result.time_to(), scale
    if reached.target not in drawn:  # once, however many runs have it
        drawn.add(reached.target)
        words = f"target {reached.target:.4g}"  # in the legend: the curves end where the line does
        ax.axhline(reached.target, color="#666666", linewidth=1, linestyle=":", label=words)
    if reached.time_s is not None:
        x = reached.time_s / factor
        ax.axvline(x, color=colour, linewidth=1, linestyle=":")
        if alone:  # the times of several runs may be next to each other, and stand in the table
            ax.annotate(f"{x:.3g} {unit}", (x, 0), xycoords=("data", "axes fraction"), xytext=(3, 3),
                        textcoords="offset points", fontsize=9, color=colour, rotation=90)  # fmt: skip


def loss_over_time(results: Sequence["Result"], width: float = WIDE) -> "Figure":
    """Draw the loss over simulated time, codec on: of every split for one run, of the first measured for several."""
    factor, unit = time_unit(max(result.end_s for result in results))
    lines = ("-", "--", ":")
    with figure(width, 3.8) as (drawing, axes):
        ax = axes[0, 0]
        for result, name, look in zip(results, labels(results), looks(), strict=False):
            rows = result.rounds
            known = [split for split in ("validation", "train", "test") if f"{split}_loss" in rows]
            for number, split in enumerate(known if len(results) == 1 else known[:1]):
                seen = rows[rows[f"{split}_loss"].notna()]
                own = {"color": COLOURS[number], "linestyle": lines[number]} if len(results) == 1 else {}
                words = split if len(results) == 1 else f"{label(name)}, {split}"
                ax.plot(seen["time_s"] / factor, seen[f"{split}_loss"], label=words, **(look | own))
        ax.set(xlabel=f"simulated time ({unit})", ylabel="loss", xlim=(0, None))
        legend(drawing, *ax.get_legend_handles_labels())
    return drawing


def accuracy_over_bytes(results: Sequence["Result"], width: float = WIDE) -> "Figure":
    """Draw the headline metric on the validation split, codec on, over all bytes delivered until then."""
    from matplotlib.ticker import EngFormatter

    metric = results[0].metric
    with figure(width, 3.8) as (drawing, axes):
        ax = axes[0, 0]
        for result, name, look in zip(results, labels(results), looks(), strict=False):
            rows, column = result.rounds, f"validation_{metric}"
            if column in rows:
                seen = rows[rows[column].notna()]
                sent = seen[["wire_bytes_up", "wire_bytes_down", "wire_bytes_other"]].sum(axis=1)
                ax.plot(sent, seen[column], label=label(name), **look)
        ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
        ax.locator_params(axis="x", nbins=max(3, int(width)))
        ax.set(xlabel="bytes on the wire, all directions", ylabel=f"validation {metric}", xlim=(0, None))
        if len(results) > 1:
            legend(drawing, *ax.get_legend_handles_labels())
    return drawing


def bytes_over_time(results: Sequence["Result"], width: float = WIDE) -> "Figure":
    """Draw delivered wire bytes, cumulative: by kind for one run, one line per run for several."""
    from matplotlib.ticker import EngFormatter

    longest_s = max(result.end_s for result in results)
    factor, unit = time_unit(longest_s)
    known = {direction for result in results for direction in result.messages["direction"]}
    titles = {"up": "up (from clients)", "down": "down (to clients)", "peer": "client to client"}
    shown = [direction for direction in ("up", "down", "peer", "core") if direction in known] or ["up"]
    # Beside each other as long as a panel can still be read.
    across = len(shown) if width / len(shown) >= _NARROWEST_IN else 1
    down = len(shown) // across
    with figure(width, 0.4 + 4.0 * down, down, across, sharey=True) as (drawing, axes):
        for ax, direction in zip(axes.flat, shown, strict=True):
            if len(results) == 1:
                _stack_kinds(ax, results[0], direction, factor)
            else:
                for result, name, look in zip(results, labels(results), looks(), strict=False):
                    grid, total = _cumulative(result.messages, direction, result.end_s)
                    ax.plot(grid / factor, total, label=label(name), **(look | {"marker": ""}))
            ax.set_title(titles.get(direction, "between servers"))
            ax.set(xlabel=f"simulated time ({unit})", xlim=(0, longest_s / factor or 1))
            ax.yaxis.set_major_formatter(EngFormatter(unit="B"))
            if len(results) == 1 and ax.get_legend_handles_labels()[0]:
                ax.legend(loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=4.5)  # below the axis' label
        # Once every panel is drawn: a limit that is set by hand ends the scaling to the data of those that follow.
        for ax in axes[:, 0]:
            ax.set(ylabel="bytes on the wire, cumulative", ylim=(0, None))
        if len(results) > 1:
            legend(drawing, *axes[0, 0].get_legend_handles_labels())
    return drawing


def _stack_kinds(ax: Any, result: "Result", direction: str, factor: float) -> None:
    messages = result.messages
    mine = messages[messages["direction"] == direction]
    sizes = mine.groupby("kind")["wire_bytes"].sum().sort_values(ascending=False)
    kinds = sorted(set(messages["kind"]))  # so that a kind has one colour in every panel
    stack = [_cumulative(mine[mine["kind"] == kind], direction, result.end_s) for kind in sizes.index]
    if stack:
        colours = [COLOURS[kinds.index(kind) % len(COLOURS)] for kind in sizes.index]
        names = [f"{kind}: {engineering(float(size), 'B')}" for kind, size in sizes.items()]
        ax.stackplot(stack[0][0] / factor, *(y for _, y in stack), labels=names, colors=colours, alpha=0.85)


def _cumulative(messages: Any, direction: str, end_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Bytes delivered until each of 500 times (500,), enough for any screen however many messages."""
    mine = messages[(messages["direction"] == direction) & messages["delivered"]].sort_values("delivered_s")
    grid = np.linspace(0, end_s, 500)
    total = np.concatenate([[0], mine["wire_bytes"].to_numpy().cumsum()])
    return grid, total[np.searchsorted(mine["delivered_s"].to_numpy(), grid, side="right")]


def delays(results: Sequence["Result"], width: float = WIDE) -> "Figure":
    """Draw where the simulated seconds went: per client for one run, mean over clients for several."""
    factor, unit = time_unit(max(result.end_s for result in results))
    bars: list[tuple[str, dict[str, float]]] = []
    for result, name in zip(results, labels(results), strict=True):
        rows = where_time_went(result)
        if len(results) > 1:
            bars.append((name, {row.part: row.mean_s for row in rows}))
        elif rows:
            bars.append(("mean", {row.part: row.mean_s for row in rows}))
            for client in list(rows[0].by_client_s)[: MOST_BARS - 1]:
                bars.append((client, {row.part: row.by_client_s[client] for row in rows}))
    with figure(width, (1.4 if width == WIDE else 2.2) + 0.32 * max(len(bars), 1)) as (drawing, axes):
        ax = axes[0, 0]
        left = np.zeros(len(bars))
        for part in PARTS:
            widths = np.array([bar.get(part, 0.0) for _, bar in bars]) / factor
            if widths.sum() > 1e-9 * (left.sum() + widths.sum()):
                ax.barh(
                    range(len(bars)), widths, left=left, color=PART_COLOURS[part], label=part, height=0.75
                )
            left += widths
        ax.set_yticks(range(len(bars)), [label(name, _letters(width)) for name, _ in bars])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel=f"simulated time per client ({unit})", xlim=(0, None))
        handles, names = ax.get_legend_handles_labels()
        legend(drawing, handles, names, "upper")
    return drawing


def _letters(width: float) -> int:
    """Letters that a name at an axis may have."""
    return 32 if width == WIDE else 18


def link_utilisation(result: "Result", width: float = WIDE) -> "Figure":
    """Draw the share of the run during which each directed link was busy, busiest first."""
    links = result.links.copy()
    links["share"] = links["busy_s"] / result.end_s if result.end_s else 0.0
    links = links.sort_values("share", ascending=False, kind="stable")
    shown = links[links["wire_bytes"] > 0].head(MOST_BARS)
    letters = 32 if width == WIDE else 12
    with figure(width, 1.0 + 0.3 * max(len(shown), 1)) as (drawing, axes):
        ax = axes[0, 0]
        ax.barh(range(len(shown)), 100 * shown["share"], color=COLOURS[0], height=0.7)
        for i, link in enumerate(shown.itertuples()):
            rate = engineering(8 * link.carried_bytes / link.busy_s, "bit/s") if link.busy_s else "-"
            text = f" {engineering(link.carried_bytes, 'B')}"
            text += f", {rate} while busy " if width == WIDE else " "  # and stands in the table
            side, colour = ("right", "white") if 100 * link.share > _INSIDE else ("left", "#333333")
            ax.text(100 * link.share, i, text, va="center", ha=side, fontsize=8.5, color=colour)
        ax.set_yticks(
            range(len(shown)),
            [
                f"{label(link.source, letters)} → {label(link.destination, letters)}"
                for link in shown.itertuples()
            ],
        )
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="busy (% of the run's simulated time)")
        widest = 1.6 * 100 * float(shown["share"].max()) if len(shown) else 1.0  # room for the words
        ax.set_xlim(0, min(max(widest, 1e-3), 102))
        if len(links) > len(shown):
            ax.set_title(f"{len(shown)} of {len(links)} links: the busiest", fontweight="normal", fontsize=9)
    return drawing
