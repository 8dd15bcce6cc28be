"""`sfsim codec`: encode and decode tensors, train learned codecs."""

from pathlib import Path
from typing import Annotated

import typer

from sfsim.commands.options import DataRoot, File, Set, overrides, tables_of
from sfsim.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Encode and decode your own tensors; train learned codecs.")

Codec = Annotated[Path, typer.Option(metavar="FILE", help="Codec (TOML).")]


@app.command()
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


@app.command()
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

    scenario = load(file, overrides=overrides(set_))
    slots = ("smashed_up", "smashed_down", "gradient_up", "gradient_down")
    if not any(isinstance(getattr(scenario.codecs, slot), Learned) for slot in slots):
        raise ConfigError(f"{file}, codecs", "no learned codec", "at least one, since it is to be trained")
    with console.progress(scenario.name, scenario.global_rounds, quiet=False) as show:
        from sfsim import simulation

        with tables_of(file):
            result = simulation.run(
                scenario, out=out, device=device, jobs=jobs, data_root=data_root, progress=show
            )
    for path in sorted((result.directory / "codecs").iterdir()):
        console.line(f"codec: {path} ({path.stat().st_size:,} bytes)")


@app.command()
def decode(
    payload: Annotated[Path, typer.Argument(metavar="PAYLOAD", help="What encode wrote.")],
    codec: Codec,
    out: Annotated[Path, typer.Option(metavar="Y.npy", help="The array.")],
) -> None:
    """Decode a payload back into a tensor."""
    from sfsim import console
    from sfsim.codec.tools import decode_file

    console.facts(decode_file(payload, codec, out))


@app.command()
def explain(
    payload: Annotated[Path, typer.Argument(metavar="PAYLOAD", help="What encode wrote.")],
    codec: Codec,
) -> None:
    """Print what a payload holds, as JSON: kind, shape, bytes of each part, and what the kind adds."""
    import json

    from sfsim.codec.tools import explain_file

    typer.echo(json.dumps(explain_file(payload, codec)))


@app.command()
def pullback(
    tensor: Annotated[Path, typer.Argument(metavar="X.npy", help="The array that was encoded.")],
    codec: Codec,
    gradient: Annotated[
        Path, typer.Option(metavar="G.npy", help="The gradient at the decoded array, of its shape.")
    ],
    out: Annotated[Path, typer.Option(metavar="DX.npy", help="The gradient that the sender applies at X.")],
    code_gradient: Annotated[
        Path | None, typer.Option(metavar="C.npy", help="What would cross the network back.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Draw as in training; without it stochastic codecs are plain.")
    ] = None,
) -> None:
    """Send a gradient back through a codec, with what the sender corrects."""
    from sfsim import console
    from sfsim.codec.tools import pullback_file

    console.facts(pullback_file(tensor, codec, gradient, out, code_gradient, seed))
