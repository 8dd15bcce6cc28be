"""The command `sfsim`: every verb reads its arguments, calls one function and shows what came out.

Exit codes: 0, also for a target that was missed; 2 for anything a user can cause, with one line on stderr;
3 for a missed target under ``--require-target``; 130 after Ctrl-C and 143 after SIGTERM, with one line that says how
to go on.
"""

import gc
import os
import sys
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sfsim import __version__
from sfsim.commands import codecs, networks
from sfsim.commands.options import (
    CheckpointShare,
    DataRoot,
    File,
    Jobs,
    Quiet,
    Report,
    Runs,
    Set,
    overrides,
    tables_of,
)
from sfsim.errors import ConfigError, SfsimError
from sfsim.files import writing
from sfsim.interruption import Interrupted, handled

if TYPE_CHECKING:
    from sfsim.results import Result

# Everything else is imported by the verb that needs it: `sfsim --help` answers at once.

_SIDE_BY_SIDE = 6  # runs whose values fit beside each other in a terminal

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(codecs.app, name="codec")
app.add_typer(networks.app)


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
        Path | None, typer.Option(metavar="DIR", show_default="runs/NAME-HASH", help="Run directory.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where PyTorch computes.")] = "cpu",
    jobs: Jobs = None,
    data_root: DataRoot = None,
    set_: Set = None,
    network: Annotated[
        Literal["fluid", "packet"] | None,
        typer.Option(
            show_default="as the scenario says", help="Messages as fluid flows, or packet by packet."
        ),
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

    changes = overrides(set_) | ({"network.engine": network} if network else {})
    scenario = load(file, overrides=changes)
    if require_target and scenario.target is None:
        raise ConfigError(f"{file}, target", "nothing", "a target, since --require-target is given")
    with console.progress(scenario.name, scenario.global_rounds, quiet) as show:
        from sfsim import simulation  # torch: seconds, so the progress is shown before

        with tables_of(file):
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
        str | None, typer.Option(metavar="cpu|cuda", show_default="that", help="What the run began with.")
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


@app.command()
def retime(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.")],
    over: Annotated[
        Path, typer.Argument(metavar="FILE", help="Scenario whose network and devices are taken.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="runs/NAME-HASH", help="Run directory.")
    ] = None,
    set_: Set = None,
    report: Report = True,
    quiet: Quiet = False,
) -> None:
    """Take what a finished run learnt over another network, in seconds; only the clock differs."""
    from sfsim import console
    from sfsim.retiming import not_taken
    from sfsim.retiming import retime as again
    from sfsim.scenario import load

    scenario = load(over, overrides=overrides(set_))
    result = again(run, scenario, out=out)
    unused = not_taken(run, scenario)
    if unused and not quiet:
        console.note(f"{over}: not used, since the run decides it: {', '.join(unused)}")
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
    gc.disable()  # what is imported stays; looking through it for garbage takes a tenth of this short command
    from sfsim import console
    from sfsim.preview import preview
    from sfsim.report.style import picture_kind
    from sfsim.scenario import load

    if graph:
        picture_kind(graph)
    scenario = load(file, overrides=overrides(set_))
    with tables_of(file):
        world = preview(scenario, data_root)
    console.preview(world)
    for remark in (*scenario.remarks(), *world.notes):
        console.line(f"note: {remark}", "yellow")
    if graph:
        from sfsim.report.topology import draw
        from sfsim.scenario import build_graph
        from sfsim.scenario.summary import edge_words

        network, hosts = build_graph(scenario)
        seed = scenario.seeds.network
        picture = draw(network, hosts, graph, lambda a, b: edge_words(network, a, b, seed))
        console.line(f"graph: {picture}")


@app.command()
def warm() -> None:
    """Compile what usual runs need, once per installation (about a minute); the first run then starts at once."""
    from sfsim import console
    from sfsim.warming import warm as compile_all

    compile_all(console.line)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="stdout", help="Write it here.")
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
            metavar="PAGE", show_default="RUN/report.html, or report.html for several", help="The page."
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page about one run, or several overlaid; folders of runs may be given."""
    from sfsim import console
    from sfsim.report import report
    from sfsim.results import find_runs

    results = find_runs(runs)
    default = results[0].directory / "report.html" if len(results) == 1 else Path("report.html")
    console.line(f"report: {report(results, out or default)}")


@app.command()
def compare(runs: Runs) -> None:
    """Print one row per run, and what of their scenarios differs; folders of runs may be given."""
    from sfsim import console
    from sfsim.report.tables import compare_table, difference_table
    from sfsim.results import find_runs

    results = find_runs(runs)
    console.table(compare_table(results))
    differences = difference_table(results)
    if differences.rows and len(results) <= _SIDE_BY_SIDE:
        console.table(differences)


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
        with handled():
            sys.exit(app(standalone_mode=False))  # the code of a typer.Exit, or None
    except (typer.Abort, Interrupted) as stopped:
        from sfsim import console

        stopped = stopped if isinstance(stopped, Interrupted) else Interrupted(SIGINT)
        console.stop(str(stopped))
        sys.exit(stopped.exit_code)
    except (SfsimError, UsageError) as error:
        from sfsim import console

        text = str(error) if isinstance(error, SfsimError) else _usage(error)
        if text:
            console.error(text)
        sys.exit(2)


if __name__ == "__main__":
    main()
