"""One self-contained HTML page about one run or several: no file beside it, no network."""

import base64
import io
import json
from collections.abc import Sequence
from html import escape as html_escape
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim.files import writing
from sfsim.names import shown
from sfsim.report.figures import accuracy_over_time, bytes_over_time, delays, link_utilisation
from sfsim.report.style import save
from sfsim.report.tables import (
    Table,
    bytes_table,
    client_table,
    compare_table,
    delay_table,
    labels,
    link_table,
    outcome,
)
from sfsim.report.timeline import client_timelines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sfsim.results import Result


def escape(text: str) -> str:
    """Return a text as it may stand in the page: no markup, no control characters."""
    return html_escape(shown(text))


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
.verdict { font-size: 1.1rem; background: #eef5fa; border-left: 4px solid #0072B2; padding: .5rem .8rem; }
.note { background: #fdf3e7; border-left: 4px solid #D55E00; padding: .4rem .8rem; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #e6e6e6; }
th { font-weight: 600; color: #555; }
.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; }
img { max-width: 100%; height: auto; }
details { margin-top: 1rem; }
pre { font-size: .8rem; background: #f6f6f6; padding: .8rem; overflow-x: auto; }
p.small { color: #666; font-size: .86rem; }
"""


def report(results: Sequence["Result"], out: Path) -> Path:
    """Write the page, and return its path.

    Parameters
    ----------
    results : sequence of Result
        At least one; several are overlaid.
    out : Path
        The HTML file.

    Raises
    ------
    ResultsError
        `out` cannot be written.
    """
    text = html(results)
    with writing(out):
        out.write_text(text, encoding="utf-8")
    return out


def save_figures(result: "Result") -> None:
    """Write every picture of one run as PNG into its own ``figures/``."""
    folder = result.directory / "figures"
    folder.mkdir(exist_ok=True)
    for name, (drawing, _) in _pictures([result]).items():
        save(drawing, folder / f"{name}.png", "png")


def html(results: Sequence["Result"]) -> str:
    """Return the page as text."""
    title = ", ".join(dict.fromkeys(result.name for result in results))
    parts = [f"<h1>{escape(title)}</h1>"]
    if len(results) == 1:
        parts += [_small(results[0]), f'<p class="verdict">{escape(outcome(results[0]))}</p>']
    else:
        parts.append(_table(compare_table(results)))
    parts += _notes(results[0]) if len(results) == 1 else []
    pictures = _pictures(results)
    parts += ["<h2>Accuracy over simulated time</h2>", _image(*pictures["accuracy"])]
    parts += ["<h2>Bytes over simulated time</h2>", _image(*pictures["bytes"])]
    parts += ["<h2>Where the simulated seconds went</h2>", _image(*pictures["delays"])]
    for result, label in zip(results, labels(results), strict=True):
        own = pictures if len(results) == 1 else _own_pictures(result)
        heading, small = ("h2", "h3") if len(results) == 1 else ("h3", "h4")
        if len(results) > 1:
            parts += [f"<h2>{escape(label)}</h2>", _small(result)]
            parts += [f'<p class="verdict">{escape(outcome(result))}</p>', *_notes(result)]
            parts.append("<h3>Where the simulated seconds went</h3>")
        parts += [_table(delay_table(result)), f"<{small}>Client by client</{small}>"]
        parts.append(_table(client_table(result)))
        parts += [f"<{heading}>Bytes by kind and direction</{heading}>", _table(bytes_table(result))]
        parts += [f"<{heading}>Timelines</{heading}>", _image(*own["timelines"])]
        parts += [f"<{heading}>Links</{heading}>", _image(*own["links"]), _table(link_table(result))]
        scenario = html_escape(json.dumps(result.scenario, indent=1))
        parts.append(f"<details><summary>Resolved scenario</summary><pre>{scenario}</pre></details>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · sfsim</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _pictures(results: Sequence["Result"]) -> dict[str, tuple["Figure", str]]:
    """Every picture with the words that stand for it where it cannot be seen."""
    pictures = {
        "accuracy": (accuracy_over_time(results), "Accuracy over simulated time"),
        "bytes": (bytes_over_time(results), "Cumulative bytes on the wire over simulated time"),
        "delays": (delays(results), "Simulated seconds by part"),
    }
    return pictures | _own_pictures(results[0]) if len(results) == 1 else pictures


def _own_pictures(result: "Result") -> dict[str, tuple["Figure", str]]:
    return {
        "timelines": (client_timelines(result), "What every client and server was doing in one round"),
        "links": (link_utilisation(result), "Share of the run during which each link was busy"),
    }


def _image(drawing: "Figure", words: str) -> str:
    buffer = io.BytesIO()
    save(drawing, buffer, "svg")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{data}">'


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(
                f'<{tag} class="n">{escape(cell)}</{tag}>'
                if i in table.numbers
                else f"<{tag}>{escape(cell)}</{tag}>"
                for i, cell in enumerate(cells)
            )
            + "</tr>"
        )

    body = "\n".join(row(cells, "td") for cells in table.rows)
    head = row(table.head, "th")
    return f'<div class="scroll"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'


def _notes(result: "Result") -> list[str]:
    return [f'<p class="note">{escape(note)}</p>' for note in result.notes]


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
