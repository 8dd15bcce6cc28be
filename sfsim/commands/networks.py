"""`sfsim transfer`, `pathloss`, `show` and `bench`: parts of a network by themselves."""

from math import nan
from pathlib import Path
from typing import Annotated, Literal

import typer

from sfsim.errors import ConfigError
from sfsim.files import writing

app = typer.Typer()
show_app = typer.Typer(no_args_is_help=True, help="Draw one part of a world, and print its figures.")
bench_app = typer.Typer(no_args_is_help=True, help="Run bare networks, to compare with other simulators.")
app.add_typer(show_app, name="show")
app.add_typer(bench_app, name="bench")


def _whole(text: str) -> int:
    """Read a whole number, written as 1000000 or as 1e6."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not number.is_integer():
        raise ConfigError("--bytes", text, "a whole number, such as 1000000 or 1e6")
    return int(number)


@app.command()
def transfer(
    num_bytes: Annotated[
        int, typer.Option("--bytes", metavar="BYTES", parser=_whole, help="Payload of the message.")
    ],
    rate_bps: Annotated[float, typer.Option(help="Wire rate in bit/s, both ways; for Wi-Fi the PHY rate.")],
    rtt_s: Annotated[float, typer.Option(help="Twice the propagation delay, in s.")],
    loss: Annotated[float, typer.Option(help="Probability that a packet is lost.")] = 0.0,
    transport: Annotated[
        str, typer.Option(metavar="KIND", help="tcp-cubic, tcp-reno, arq, wifi, udp or fluid.")
    ] = "tcp-cubic",
    retries: Annotated[
        int | None, typer.Option(help="How often a packet is sent again at most (arq, wifi).")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many times, with seeds 1, 2, ...")] = 1,
    framing: Annotated[
        str | None, typer.Option(show_default="the transport's, point to point", help="Preset of headers.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send one message over one idle line and print how long that takes."""
    import statistics

    from sfsim import console
    from sfsim.network.transport.measure import transfer as measure

    found = measure(num_bytes, rate_bps, rtt_s, loss, transport, retries, seeds, framing)
    if json:
        from json import dumps

        print(dumps(found))
        return
    mean = {key: statistics.fmean(found[key]) for key in ("seconds", "sent_packets", "lost_bytes")}
    median_s = statistics.median(found["seconds"])
    console.line(f"time: {mean['seconds']:.6g} s mean, {median_s:.6g} s median of {seeds}")
    console.line(f"packets sent: {mean['sent_packets']:.6g}; payload lost: {mean['lost_bytes']:.6g} bytes")


@show_app.command()
def channel(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Channel or loss (TOML).")],
    out: Annotated[Path | None, typer.Option(metavar="PICTURE", help="Draw it: .png, .svg or .pdf.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=1e-6, show_default="one period of a trace, else a minute", help="How long."),
    ] = None,
    packets: Annotated[int, typer.Option(min=1, help="How many, for a loss.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Which realisation.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rate, SNR and loss over time; mean rate, share of outage and mean length of a burst."""
    from sfsim import console
    from sfsim.channel.survey import show
    from sfsim.report.style import picture_kind

    if out:
        picture_kind(out)
    facts, picture = show(file, seconds, packets, seed)
    if as_json:
        import json

        print(json.dumps(facts))
    else:
        for note in facts.pop("notes", []):
            console.line(f"note: {note}", "yellow")
        for name, value in facts.items():
            console.line(f"{name.replace('_', ' ')}: {value:.6g}")
    if out:
        from sfsim.report.channel import draw

        draw(*picture, out)
        if not as_json:
            console.line(f"picture: {out}")


@app.command()
def pathloss(
    model: Annotated[str, typer.Option(help="uma, umi, inh or rma, then -los or -nlos.")],
    fc_ghz: Annotated[float, typer.Option(help="Carrier frequency in GHz.")],
    d2d_m: Annotated[float, typer.Option(help="Horizontal distance in m.")],
    hbs_m: Annotated[float, typer.Option(help="Height of the base station in m.")],
    hut_m: Annotated[float, typer.Option(help="Height of the user terminal in m.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the path loss of 3GPP TR 38.901 in dB."""
    from sfsim import console
    from sfsim.channel.pathloss import out_of_range, path_loss_db

    model = model.lower()
    db = float(path_loss_db(model, fc_ghz, d2d_m, hbs_m, hut_m))
    for reason in out_of_range(model, fc_ghz, d2d_m, hbs_m, hut_m):
        console.note(f"outside what TR 38.901 made {model} for: {reason}")
    print(f'{{"db": {db!r}}}' if as_json else f"{db:.4f} dB")


@bench_app.command("cell")
def bench_cell(
    cell: Annotated[
        Path,
        typer.Argument(metavar="CELL.json", help="One radio cell and its messages (format: docs/cell.md)."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV: client, start, end.")] = Path("times.csv"),
) -> None:
    """Send one message per client through one shared radio cell; write the completion times."""
    from sfsim import console
    from sfsim.network.cell.bench import bench

    with writing(out):
        rows = bench(cell, out)
    console.line(f"{len(rows)} messages, the last one complete at {max(row[2] for row in rows):g} s: {out}")


@bench_app.command()
def flows(
    scenario: Annotated[
        Path, typer.Argument(metavar="SCENARIO.json", help="Links and clients (format: docs/network.md).")
    ],
    out: Annotated[Path, typer.Option(metavar="CSV", help="Where the completion times go.")],
    latency: Annotated[
        Literal["first", "last"], typer.Option(help="Latency before the bytes share links, or after.")
    ] = "first",
    weights: Annotated[
        Literal["equal", "inverse-latency"], typer.Option(help="Shares of a full link.")
    ] = "equal",
) -> None:
    """Run closed-loop clients over a graph of links; write when each message started and ended."""
    from sfsim import console
    from sfsim.network.bench_flows import run_file

    console.line(f"{run_file(scenario, out, latency, weights)} messages: {out}")
