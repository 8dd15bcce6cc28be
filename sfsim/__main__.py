"""The command `sfsim`: every verb reads its arguments, calls one function and shows what came out.

Exit codes: 0, also for a target that was missed; 2 for anything a user can cause, with one line on stderr;
3 for a missed target under ``--require-target``.
"""

import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sfsim import __version__
from sfsim.errors import ConfigError, SfsimError
from sfsim.files import writing

if TYPE_CHECKING:
    from sfsim.results import Result

# Everything else is imported by the verb that needs it: `sfsim --help` answers at once.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
codec_app = typer.Typer(no_args_is_help=True, help="Encode and decode your own tensors.")
app.add_typer(codec_app, name="codec")
show_app = typer.Typer(no_args_is_help=True, help="Draw one part of a world, and print its figures.")
app.add_typer(show_app, name="show")
bench_app = typer.Typer(no_args_is_help=True, help="Run bare networks, to compare with other simulators.")
app.add_typer(bench_app, name="bench")

File = Annotated[Path, typer.Argument(metavar="FILE", help="Scenario (TOML).")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="SFSIM_DATA", metavar="DIR", help="Folder that holds the data sets.")
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Clients trained side by side; never changes a result.  [default: all cores]"),
]
Report = Annotated[bool, typer.Option(help="Write report.html and figures/ into the run directory.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
CheckpointShare = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="The most of the wall time that checkpoints may take; 0: none, inf: one after every round.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the scenario, such as clients.*.uplink.rate_bps=1e6; "
        "paths are relative to the scenario file. May be given several times.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Simulate split-federated learning: from a scenario file to time-to-accuracy."""


@app.command()
def run(
    file: File,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory.  [default: runs/NAME-HASH]")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where PyTorch computes.")] = "cpu",
    jobs: Jobs = None,
    data_root: DataRoot = None,
    set_: Set = None,
    network: Annotated[
        Literal["fluid", "packet"] | None,
        typer.Option(help="Messages as fluid flows, or packet by packet.  [default: as the scenario says]"),
    ] = None,
    require_target: Annotated[
        bool, typer.Option("--require-target", help="Exit with 3 when the target is missed.")
    ] = False,
    report: Report = True,
    quiet: Quiet = False,
    go_on: Annotated[
        bool, typer.Option("--resume", help="Go on with an equal run that was interrupted, if there is one.")
    ] = False,
    checkpoint_share: CheckpointShare = 0.01,
) -> None:
    """Run a scenario and say when it reached its target."""
    from sfsim import console
    from sfsim.scenario import load

    overrides = _overrides(set_) | ({"network.engine": network} if network else {})
    scenario = load(file, overrides=overrides)
    if require_target and scenario.target is None:
        raise ConfigError(f"{file}, target", "nothing", "a target, since --require-target is given")
    with console.progress(scenario.name, scenario.global_rounds, quiet) as show:
        from sfsim import simulation  # torch: seconds, so the progress is shown before

        with _tables_of(file):
            result = simulation.run(
                scenario,
                out=out,
                device=device,
                jobs=_cores(jobs),
                data_root=data_root,
                progress=show,
                checkpoint_share=checkpoint_share,
                resume=go_on,
            )
    _present(result, report, quiet)
    if require_target and not result.time_to().reached:
        raise typer.Exit(3)


@app.command()
def resume(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Run directory, as given to run --out or chosen by run.")
    ],
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda", help="What the run began with.  [default: that]")
    ] = None,
    jobs: Jobs = None,
    data_root: DataRoot = None,
    report: Report = True,
    quiet: Quiet = False,
    checkpoint_share: CheckpointShare = 0.01,
) -> None:
    """Go on with a run that was interrupted; the result is that of a run that was not."""
    from sfsim import console
    from sfsim.resuming import find

    interrupted = find(directory)
    if interrupted is None:
        if not quiet:
            console.line(f"{directory}: is finished, nothing to resume")
        return
    scenario = interrupted["scenario"]
    with console.progress(scenario["name"], scenario["global_rounds"], quiet) as show:
        from sfsim import simulation

        result = simulation.resume(
            directory,
            device=device,
            jobs=_cores(jobs),
            data_root=data_root,
            progress=show,
            checkpoint_share=checkpoint_share,
        )
    _present(result, report, quiet)


def _cores(jobs: int | None) -> int:
    return len(os.sched_getaffinity(0)) if jobs is None else jobs


def _present(result: "Result", report: bool, quiet: bool) -> None:
    """Write the report of a run, and say what it came to."""
    from sfsim import console

    page = None
    if report:
        from sfsim import report as reports

        page = reports.report([result], result.directory / "report.html")
        reports.save_figures(result)
    if not quiet:
        console.summary(result)
        if page:
            console.line(f"report: {page}")


@app.command()
def check(
    file: File,
    data_root: DataRoot = None,
    set_: Set = None,
    graph: Annotated[
        Path | None, typer.Option(metavar="PICTURE", help="Draw the network: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Validate a scenario and show the world that it describes."""
    from sfsim import console
    from sfsim.preview import preview
    from sfsim.report.style import picture_kind
    from sfsim.scenario import load

    if graph:
        picture_kind(graph)
    scenario = load(file, overrides=_overrides(set_))
    with _tables_of(file):
        world = preview(scenario, data_root)
    console.preview(world)
    for remark in scenario.remarks():
        console.line(f"note: {remark}", "yellow")
    if graph:
        from sfsim.report.topology import draw
        from sfsim.scenario import build_graph
        from sfsim.scenario.summary import link_words

        console.line(f"graph: {draw(*build_graph(scenario), graph, link_words)}")


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here.  [default: stdout]")
    ] = None,
) -> None:
    """Export the JSON Schema of scenario files, for editors that complete keys."""
    import json

    from sfsim.scenario import json_schema

    text = json.dumps(json_schema(), indent=2)
    if out is None:
        print(text)
    else:
        with writing(out):
            out.write_text(text + "\n")


@app.command("report")
def report_(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PAGE", help="The page.  [default: RUN/report.html, or report.html for several]"
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page about one run, or several overlaid."""
    from sfsim import console
    from sfsim.report import report
    from sfsim.results import Result

    results = [Result(path) for path in runs]
    default = runs[0] / "report.html" if len(runs) == 1 else Path("report.html")
    console.line(f"report: {report(results, out or default)}")


@app.command()
def compare(runs: Runs) -> None:
    """Print one row per run."""
    from sfsim import console
    from sfsim.report.tables import compare_table
    from sfsim.results import Result

    console.table(compare_table([Result(path) for path in runs]))


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The profile to write.")] = Path("device.toml"),
    name: Annotated[str, typer.Option(help="Name of the device.")] = "this-machine",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="What to measure.")] = "cpu",
) -> None:
    """Measure this machine and write a device profile (half a minute)."""
    from sfsim import console
    from sfsim.device.calibrate import calibrate as measure

    profile = measure(out, name, device)
    console.facts(profile)
    if profile.efficiency == 1:
        busy = "the matrix product, which should be the peak, was slower than the training step"
        console.line(f"note: efficiency 1: {busy}; measure again when nothing else runs", "yellow")
    console.line(f"profile: {out}")


@app.command()
def transfer(
    num_bytes: Annotated[int, typer.Option("--bytes", help="Payload of the message.")],
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
        str | None, typer.Option(help="Preset of headers.  [default: the transport's, point to point]")
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


Codec = Annotated[Path, typer.Option(metavar="FILE", help="Codec (TOML).")]


@codec_app.command()
def encode(
    tensor: Annotated[Path, typer.Argument(metavar="X.npy", help="A NumPy array.")],
    codec: Codec,
    out: Annotated[Path, typer.Option(metavar="PAYLOAD", help="The bytes that would cross the network.")],
    seed: Annotated[
        int | None, typer.Option(help="Draw as in training; without it stochastic codecs are plain.")
    ] = None,
) -> None:
    """Encode a tensor; print bytes, ratio and error."""
    from sfsim import console
    from sfsim.codec.tools import encode_file

    console.facts(encode_file(tensor, codec, out, seed))


@codec_app.command()
def train(
    file: File,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run directory; the codecs go into DIR/codecs/.")],
    data_root: DataRoot = None,
    set_: Set = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where PyTorch computes.")] = "cpu",
    jobs: Annotated[int, typer.Option(help="Clients trained side by side.")] = 1,
) -> None:
    """Run a scenario for its learned codecs: weights for `weights = "FILE"` in the scenario of another data set."""
    from sfsim import console
    from sfsim.codec import Learned
    from sfsim.scenario import load

    scenario = load(file, overrides=_overrides(set_))
    slots = ("smashed_up", "smashed_down", "gradient_up", "gradient_down")
    if not any(isinstance(getattr(scenario.codecs, slot), Learned) for slot in slots):
        raise ConfigError(f"{file}, codecs", "no learned codec", "at least one, since it is to be trained")
    with console.progress(scenario.name, scenario.global_rounds, quiet=False) as show:
        from sfsim import simulation

        with _tables_of(file):
            result = simulation.run(
                scenario, out=out, device=device, jobs=jobs, data_root=data_root, progress=show
            )
    for path in sorted((result.directory / "codecs").iterdir()):
        console.line(f"codec: {path} ({path.stat().st_size:,} bytes)")


@codec_app.command()
def decode(
    payload: Annotated[Path, typer.Argument(metavar="PAYLOAD", help="What encode wrote.")],
    codec: Codec,
    out: Annotated[Path, typer.Option(metavar="Y.npy", help="The array.")],
) -> None:
    """Decode a payload back into a tensor."""
    from sfsim import console
    from sfsim.codec.tools import decode_file

    console.facts(decode_file(payload, codec, out))


@show_app.command()
def channel(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Channel or loss (TOML).")],
    out: Annotated[Path | None, typer.Option(metavar="PICTURE", help="Draw it: .png, .svg or .pdf.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=1e-6, help="How long.  [default: one period of a trace, else a minute]"),
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
    from sfsim.channel.pathloss import path_loss_db

    db = float(path_loss_db(model.lower(), fc_ghz, d2d_m, hbs_m, hut_m))
    print(f'{{"db": {db!r}}}' if as_json else f"{db:.4f} dB")


@bench_app.command("cell")
def bench_cell(
    cell: Annotated[Path, typer.Argument(metavar="CELL.json", help="One radio cell and its messages.")],
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
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.json", help="Links and clients (JSON).")],
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


@contextmanager
def _tables_of(file: Path) -> Iterator[None]:
    """Name the file too, where only data and model can tell what is wrong with a scenario's table."""
    try:
        yield
    except ConfigError as error:
        if not error.place.startswith("["):
            raise
        raise ConfigError(f"{file}, {error.place}", error.found, error.expected, error.hint) from None


def _overrides(pairs: list[str] | None) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value is TOML where it can be, and text otherwise."""
    overrides: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not key:
            raise ConfigError("--set", repr(pair), "KEY=VALUE")
        if not text:
            raise ConfigError(f"--set {key}", "nothing", "a value behind the =")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            if text[0] in "{[\"'":
                raise ConfigError(
                    f"--set {key}", f"{text!r}, broken TOML ({error})", "a TOML value"
                ) from None
            value = text
        overrides[key] = value
    return overrides


UsageError: type[Any] = typer.BadParameter.__mro__[1]  # typer does not export it


def _usage(error: Any) -> str:
    """Say what typer found wrong, and the value that it leaves out; nothing where it has shown the help."""
    text = str(error.format_message()).replace("Value error, ", "")
    values = (
        [item["input"] for item in error.__cause__.errors()] if hasattr(error.__cause__, "errors") else []
    )
    return text + "".join(f", found {value!r}" for value in values if repr(value) not in text)


def main() -> None:
    """Run the command; what a user can cause becomes one line and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False))  # the code of a typer.Exit, or None
    except typer.Abort:
        sys.exit(130)
    except (SfsimError, UsageError) as error:
        from sfsim import console

        text = str(error) if isinstance(error, SfsimError) else _usage(error)
        if text:
            console.error(text)
        sys.exit(2)


if __name__ == "__main__":
    main()
