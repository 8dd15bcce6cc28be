"""One self-contained HTML page about one run or several: no file beside it, no network."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape as html_escape
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim.files import writing
from sfsim.names import shown
from sfsim.report.figures import (
    accuracy_over_bytes,
    accuracy_over_time,
    bytes_over_time,
    delays,
    link_utilisation,
    loss_over_time,
)
from sfsim.report.style import NARROW, WIDE, save
from sfsim.report.tables import (
    Table,
    bytes_table,
    client_table,
    compare_table,
    delay_table,
    energy_table,
    labels,
    link_table,
    outcome,
    provenance_table,
    results_table,
)
from sfsim.report.timeline import client_timelines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sfsim.results import Result


def escape(text: str) -> str:
    """Return a text as it may stand in the page: no markup, no control characters."""
    return html_escape(shown(text))


_STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --back: #fff; --soft: #595959; --line: #ddd; --box: #f4f4f4;
  --good: #eef5fa; --warn: #fdf3e7; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --back: #121212; --soft: #a8a8a8; --line: #3a3a3a; --box: #1e1e1e; --good: #14232e;
    --warn: #33241a; }
  img { filter: invert(.93) hue-rotate(180deg); } /* white becomes the page's own */
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3, h4 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
.verdict { font-size: 1.1rem; background: var(--good); border-left: 4px solid #0072B2; padding: .5rem .8rem; }
.note { background: var(--warn); border-left: 4px solid #D55E00; padding: .4rem .8rem; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line); min-width: 3.2rem; }
th { font-weight: 600; color: var(--soft); overflow-wrap: normal; }
.s { white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; }
img { display: block; max-width: 100%; height: auto; }
details { margin-top: 1rem; }
pre { font-size: .8rem; background: var(--box); padding: .8rem; overflow-x: auto; }
p.small { color: var(--soft); font-size: .86rem; }
@media (max-width: 600px) { body { margin: 1rem auto; padding: 0 .8rem; } th, td { padding: .25rem .45rem; } }
"""
_NARROW_SCREEN = "(max-width: 600px)"
_NO_ENERGY = '<p class="small">No device of this run has a power.</p>'
_SHORT_TEXT, _SHORT = 40, ' class="s"'  # characters that are not broken into lines
_MOST_ROWS = 200  # of a table


def report(results: Sequence["Result"], out: Path | str) -> Path:
    """Write the page, and return its path.

    Parameters
    ----------
    results : sequence of Result
        At least one; several are overlaid.
    out : Path or str
        The HTML file.

    Raises
    ------
    ResultsError
        `out` cannot be written.
    """
    text, path = html(results), Path(out)
    with writing(path):
        path.write_text(text, encoding="utf-8")
    return path


def save_figures(result: "Result") -> None:
    """Write every picture of one run as PNG into its own ``figures/``."""
    folder = result.directory / "figures"
    folder.mkdir(exist_ok=True)
    for name, picture in (_pictures([result]) | _own_pictures(result)).items():
        save(picture.draw(WIDE), folder / f"{name}.png", "png")


def html(results: Sequence["Result"]) -> str:
    """Return the page as text."""
    title = ", ".join(dict.fromkeys(result.name for result in results))
    parts, alone = [f"<h1>{escape(title)}</h1>"], len(results) == 1
    if alone:
        parts += [*_head(results[0]), "<h2>Results</h2>", _table(results_table(results[0]))]
    else:
        parts.append(_table(compare_table(results)))
    for picture in _pictures(results).values():
        parts += [f"<h2>{picture.title}</h2>", _image(picture)]
    for result, label in zip(results, labels(results), strict=True):
        heading, small = ("h2", "h3") if alone else ("h3", "h4")
        if not alone:
            parts += [f"<h2>{escape(label)}</h2>", *_head(result), "<h3>Results</h3>"]
            parts += [_table(results_table(result)), "<h3>Where the simulated seconds went</h3>"]
        own = _own_pictures(result)
        parts += [_table(delay_table(result)), f"<{small}>Client by client</{small}>"]
        parts.append(_table(client_table(result)))
        parts += [f"<{heading}>Bytes by kind and direction</{heading}>", _table(bytes_table(result))]
        energy = energy_table(result)
        parts += [f"<{heading}>Energy</{heading}>", _table(energy) if energy.rows else _NO_ENERGY]
        parts += [f"<{heading}>Timelines</{heading}>", _image(own["timelines"])]
        parts += [f"<{heading}>Links</{heading}>", _image(own["links"]), _table(link_table(result))]
        parts += [f"<{heading}>Provenance</{heading}>", _table(provenance_table(result))]
        scenario = html_escape(json.dumps(result.scenario, indent=1))
        parts.append(f"<details><summary>Resolved scenario</summary><pre>{scenario}</pre></details>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · sfsim</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


@dataclass(frozen=True)
class _Picture:
    """A picture: its title, the words that stand for it where it cannot be seen, and how it is drawn."""

    title: str
    words: str
    draw: Callable[[float], "Figure"]


def _pictures(results: Sequence["Result"]) -> dict[str, _Picture]:
    """Pictures of one run or several overlaid, by the names of their files."""
    metric = escape(results[0].metric.capitalize())
    return {
        "accuracy": _Picture(
            f"{metric} over simulated time",
            "Validation split",
            lambda width: accuracy_over_time(results, width),
        ),
        "accuracy_bytes": _Picture(
            f"{metric} over bytes", "All bytes on the wire", lambda width: accuracy_over_bytes(results, width)
        ),
        "loss": _Picture("Loss over simulated time", "Loss", lambda width: loss_over_time(results, width)),
        "bytes": _Picture(
            "Bytes over simulated time",
            "Cumulative bytes on the wire over simulated time",
            lambda width: bytes_over_time(results, width),
        ),
        "delays": _Picture(
            "Where the simulated seconds went",
            "Simulated seconds by part",
            lambda width: delays(results, width),
        ),
    }


def _own_pictures(result: "Result") -> dict[str, _Picture]:
    """Pictures that show one run only."""
    return {
        "timelines": _Picture(
            "Timelines",
            "What every client and server was doing in one round",
            lambda width: client_timelines(result, width=width),
        ),
        "links": _Picture(
            "Links",
            "Share of the run during which each link was busy",
            lambda width: link_utilisation(result, width),
        ),
    }


def _image(picture: _Picture) -> str:
    """Return the picture as a desk's screen shows it, and as a telephone's."""
    wide, narrow = _data(picture.draw(WIDE)), _data(picture.draw(NARROW))
    return (
        f'<picture><source media="{_NARROW_SCREEN}" srcset="{narrow}">'
        f'<img alt="{escape(picture.words)}" src="{wide}"></picture>'
    )


def _data(drawing: "Figure") -> str:
    buffer = io.BytesIO()
    save(drawing, buffer, "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(
                f'<{tag} class="n">{escape(cell)}</{tag}>'
                if i in table.numbers
                else f"<{tag}{_SHORT if len(cell) <= _SHORT_TEXT else ''}>{escape(cell)}</{tag}>"
                for i, cell in enumerate(cells)
            )
            + "</tr>"
        )

    body = "\n".join(row(cells, "td") for cells in table.rows[:_MOST_ROWS])
    head = row(table.head, "th")
    more = len(table.rows) - _MOST_ROWS
    rest = f'<p class="small">and {more:,} more rows, in the tables of the run</p>' if more > 0 else ""
    return f'<div class="scroll"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>{rest}'


def _head(result: "Result") -> list[str]:
    notes = [f'<p class="note">{escape(note)}</p>' for note in result.notes]
    return [_small(result), f'<p class="verdict">{escape(outcome(result))}</p>', *notes]


def _small(result: "Result") -> str:
    scenario = result.scenario
    facts = [
        f"{key.replace('_', ' ')} {scenario[key]}"
        for key in ("protocol", "seed", "global_rounds")
        if key in scenario
    ]
    facts.append(f"{result.summary['messages']:,} messages")
    facts.append(f"simulated {result.end_s:,.4g} s")
    return f'<p class="small">{escape(" · ".join(facts))}<br>{escape(str(result.directory))}</p>'
