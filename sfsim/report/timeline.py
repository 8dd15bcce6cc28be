"""Timelines: what every client was doing, second by second, in one global round."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfsim.report.delays import PARTS, SERVERS, WAITS, timelines
from sfsim.report.style import PART_COLOURS, WIDE, figure, label, legend, time_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sfsim.results import Result

MOST_LANES = 40  # more lanes than this cannot be read

Span = tuple[float, float]
Lanes = dict[str, list[tuple[float, float, str]]]


def client_timelines(result: "Result", round: int | None = None, width: float = WIDE) -> "Figure":
    """Draw one lane per client and server for one global round, and beside it the round's first minibatches.

    Parameters
    ----------
    result : Result
        A finished run.
    round : int, optional
        Which global round; by default the second, since the first may hold start-up.
    width : float
        Inches.
    """
    messages, computations = result.messages, result.computations
    known = sorted(set(messages["round"]) | set(computations["round"]))
    if round is None:
        round = known[min(1, len(known) - 1)] if known else 0
    work = computations[(computations["round"] == round) & ~computations["phase"].isin(WAITS)]
    lanes = _lanes(result)
    span = _span(work, messages[messages["round"] == round])
    zoom = _first_minibatches(work[~work["party"].isin(SERVERS)])
    if zoom and zoom[1] - zoom[0] > 0.5 * (span[1] - span[0]):
        zoom = None  # the whole round can be read already
    panels = [(f"global round {round}", span)]
    if zoom:
        panels.append(("its first minibatches", zoom))
    height = (1.6 if width == WIDE else 2.4) + len(panels) * (0.5 + 0.27 * len(lanes))
    with figure(width, height, len(panels)) as (drawing, axes):
        for ax, (title, window) in zip(axes[:, 0], panels, strict=True):
            _draw(ax, lanes, window, 32 if width == WIDE else 16)
            ax.set_title(title)
        used = {
            part
            for lane in lanes.values()
            for start_s, end_s, part in lane
            if end_s > span[0] and start_s < span[1]
        }
        handles = [_swatch(part) for part in PARTS if part in used]
        legend(drawing, handles, [handle.get_label() for handle in handles], "upper")
    return drawing


def one_round_of_each(results: Mapping[str, "Result"], round: int = 1) -> "Figure":
    """Draw the same global round of several runs below one another, on one time axis.

    Parameters
    ----------
    results : mapping of str to Result
        Runs by what to call them.
    round : int
        Which global round.
    """
    all_lanes = {name: _lanes(result) for name, result in results.items()}
    spans = {
        name: _span(
            result.computations[
                (result.computations["round"] == round) & ~result.computations["phase"].isin(WAITS)
            ],
            result.messages[result.messages["round"] == round],
        )
        for name, result in results.items()
    }
    longest_s = max(end_s - start_s for start_s, end_s in spans.values())
    most = max(len(lanes) for lanes in all_lanes.values())
    with figure(10, 0.6 + len(results) * (0.8 + 0.2 * most), len(results)) as (drawing, axes):
        for ax, (name, lanes) in zip(axes[:, 0], all_lanes.items(), strict=True):
            start_s, end_s = spans[name]
            _draw(ax, lanes, (start_s, start_s + longest_s))
            ax.axvline((end_s - start_s) / time_unit(longest_s)[0], color="black", linewidth=1)
            ax.set_title(f"{label(name)}: global round {round} in {end_s - start_s:.3g} s")
        handles = [_swatch(part) for part in PARTS]
        drawing.legend(handles=handles, loc="outside upper center", ncols=5)
    return drawing


def _lanes(result: "Result") -> Lanes:
    """Clients as the delay breakdown sees them, servers as they were busy."""
    rows = list(result.computations.itertuples(index=False))
    lanes: Lanes = dict(
        list(timelines(result.messages.itertuples(index=False), rows, result.end_s).items())[:MOST_LANES]
    )
    phases = {"encode": "encode", "decode": "decode"}
    for server in SERVERS:
        busy = [
            (c.start_s, c.end_s, phases.get(c.phase, "server compute"))
            for c in rows
            if c.party == server and c.phase not in WAITS
        ]
        if busy:
            lanes[server] = busy
    return lanes


def _span(work: Any, messages: Any) -> Span:
    starts = [*work["start_s"], *messages["queued_s"]]
    ends = [*work["end_s"], *messages.loc[messages["delivered"], "delivered_s"]]
    return (min(starts), max(ends)) if starts and ends else (0.0, 1.0)


def _first_minibatches(work: Any) -> Span | None:
    """From the first client's start until the slowest client has finished its second minibatch."""
    trained = work[work["phase"].isin(("forward", "backward"))]
    trained = trained[trained["epoch"] == trained["epoch"].min()]
    first = trained[trained["minibatch"].isin(sorted(set(trained["minibatch"]))[:2])]
    return (float(first["start_s"].min()), float(first["end_s"].max())) if len(first) else None


def _draw(ax: Any, lanes: Lanes, window: Span, letters: int = 32) -> None:
    factor, unit = time_unit(window[1] - window[0])
    for y, (name, lane) in enumerate(lanes.items()):
        thin = (
            0.5 if name in SERVERS else 0
        )  # a server's bars may be thinner than a pixel; they have air around
        for part in PARTS:
            bars = [
                (
                    (max(start_s, window[0]) - window[0]) / factor,
                    (min(end_s, window[1]) - max(start_s, window[0])) / factor,
                )
                for start_s, end_s, what in lane
                if what == part and end_s > window[0] and start_s < window[1]
            ]
            if bars:
                # Drawn as pixels: a long round has more bars than a vector picture should carry.
                ax.broken_barh(
                    bars, (y - 0.4, 0.8), color=PART_COLOURS[part], linewidth=thin, rasterized=True
                )
    ax.set_yticks(range(len(lanes)), [label(name, letters) for name in lanes])
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set(
        xlabel=f"simulated time since {window[0]:.6g} s ({unit})", xlim=(0, (window[1] - window[0]) / factor)
    )


def _swatch(part: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=PART_COLOURS[part], label=part)
