"""The tables a scenario consists of: seeds, codecs, clients, servers, target, evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sfsim.codec import AnyCodec, Cast, Learned
from sfsim.codec.labels import AnyLabelCodec, Smallest
from sfsim.declaration import declaration, misfit
from sfsim.declaration.fields import spell
from sfsim.device import Device, Variation
from sfsim.errors import ConfigError
from sfsim.names import fault
from sfsim.network.declarations import Link


def _named(name: str) -> str:
    expected = fault(name)
    if expected:
        raise misfit((), spell(name), expected)
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_named)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]

MAIN_SERVER = "main server"
FED_SERVER = "fed server"

# The slots that each shorthand of [codecs] fills (those that the shape has).
_SCHEMES = {
    "NC": (),
    "F": ("smashed_up", "smashed_down"),
    "G": ("gradient_up", "gradient_down"),
    "FG": ("smashed_up", "smashed_down", "gradient_up", "gradient_down"),
}
U_SHAPE_SLOTS = ("smashed_down", "gradient_up")
_GRADIENTS = ("gradient_up", "gradient_down")


@declaration
class Seeds:
    """Three independent streams of randomness; one number for all three is enough.

    Parameters
    ----------
    training : int
        Initial weights, minibatch order, stochastic codecs, server order.
    data : int
        Invented data, subsets, the split into train, validation and test, the partition over clients.
    network : int
        Fades, losses, compute variation.
    """

    training: Whole
    data: Whole
    network: Whole


@declaration
class ModelCodec:
    """How model weights travel.

    Parameters
    ----------
    codec : Codec
        The codec of the floating-point weights; integer buffers and BatchNorm statistics always go raw.
    of : {"weights", "delta"}, optional
        The weights themselves, or their difference to the last model both ends hold. Default: ``"weights"``
        for a lossless codec, ``"delta"`` for a lossy one.
    """

    codec: AnyCodec
    of: Literal["weights", "delta"] | None = None

    def __post_init__(self) -> None:
        if self.of is None:
            object.__setattr__(self, "of", "weights" if self.codec.lossless else "delta")

    @staticmethod
    def from_short_form(value: Any) -> Any:
        """Take a codec where a model codec is expected; ``of`` may stand beside the codec's own keys."""
        if isinstance(value, dict) and ("codec" in value or not set(value) - {"of"}):
            return value
        if isinstance(value, dict) and "of" in value:
            codec = {key: item for key, item in value.items() if key != "of"}
            return {"codec": codec, "of": value["of"]}
        return {"codec": value}


@declaration
class Codecs:
    """A codec for each kind of message; what is not given travels as float32.

    Parameters
    ----------
    smashed_up : Codec, optional
        Smashed data from a client to the main server (SplitFedZip's codec 1).
    smashed_down : Codec, optional
        Smashed data back to the client at the second cut; U-shaped only (codec 2).
    gradient_up : Codec, optional
        Smashed-data gradient to the main server at the second cut; U-shaped only (codec 3).
    gradient_down : Codec, optional
        Smashed-data gradient to the client at the first cut (codec 4).
    client_model_up : ModelCodec
        Client-side model to the fed server.
    client_model_down : ModelCodec
        Client-side model from the fed server.
    labels : LabelCodec
        Labels and masks, exact.
    scheme : {"NC", "F", "G", "FG"}, optional
        Shorthand: put `codec` into no slot, the smashed-data slots, the gradient slots, or all four. A slot
        that is given by itself keeps its own codec.
    codec : Codec, optional
        The codec of `scheme`. A learned codec is one instance in each slot, and normalises what is a gradient.
    """

    smashed_up: AnyCodec | None = None
    smashed_down: AnyCodec | None = None
    gradient_up: AnyCodec | None = None
    gradient_down: AnyCodec | None = None
    client_model_up: ModelCodec = Field(default_factory=lambda: ModelCodec(codec=Cast(dtype="float32")))
    client_model_down: ModelCodec = Field(default_factory=lambda: ModelCodec(codec=Cast(dtype="float32")))
    labels: AnyLabelCodec = Field(default_factory=Smallest)
    scheme: Literal["NC", "F", "G", "FG"] | None = None
    codec: AnyCodec | None = None

    def __post_init__(self) -> None:
        if self.scheme not in (None, "NC") and self.codec is None:
            raise misfit("codec", "nothing", f"the codec that scheme = {self.scheme!r} puts into its slots")
        if self.scheme in (None, "NC") and self.codec is not None:
            raise misfit(
                "scheme", repr(self.scheme) if self.scheme else "nothing", "'F', 'G' or 'FG' beside codec"
            )

    def resolved(self, u_shaped: bool) -> "Codecs":
        """Return the same with `scheme` written out and every slot of the shape filled."""
        slots = ("smashed_up", "gradient_down") + (U_SHAPE_SLOTS if u_shaped else ())
        filled = _SCHEMES[self.scheme or "NC"]
        given = {slot: getattr(self, slot) for slot in ("smashed_up", "gradient_down", *U_SHAPE_SLOTS)}
        for slot in slots:
            codec = given[slot] or (self.codec if slot in filled else Cast(dtype="float32"))
            # Gradients change their size from layer to layer and step to step: a learned codec sees them normalised.
            given[slot] = (
                replace(codec, normalise=True) if slot in _GRADIENTS and isinstance(codec, Learned) else codec
            )
        return replace(self, **given, scheme=None, codec=None)


@declaration
class ClientGroup:
    """Clients that are alike.

    Parameters
    ----------
    name : str
        The name of the client, or of the group: its clients are then NAME-0, NAME-1, ...
    count : int
        How many.
    device : Device
        What they compute on.
    variation : Variation
        How their speed varies from minibatch to minibatch.
    uplink : Link, optional
        Their own links to the network. A star needs them, but for a `cell`; in a graph they are the way to the
        client's node, and without them the client stands at the node itself.
    downlink : Link, optional
        Their own links from the network; there are both or none.
    cell : str, optional
        The radio cell that their way to the network leads through, shared with its other clients. They say
        `distance_m`; or have links of their own, whose rates are then what each would get alone on the air.
    distance_m : list of float, optional
        How far each of them is from the cell's centre, in order; one number holds for all.
    start_s : float
        When they join.
    node : str, optional
        The node of the graph that all of them hang on; default: the node with the client's name.
    nodes : list of str, optional
        A node for each of them, in order.
    """

    name: Name
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    device: Device
    variation: Variation = Field(default_factory=Variation)
    uplink: Link | None = None
    downlink: Link | None = None
    cell: Name | None = None
    distance_m: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    start_s: Seconds = 0.0
    node: Name | None = None
    nodes: tuple[Name, ...] | None = None

    def __post_init__(self) -> None:
        _both_links(self.uplink, self.downlink)
        if self.node is not None and self.nodes is not None:
            raise misfit(
                "nodes", "both node and nodes", "one node for all, or nodes with one for each client"
            )
        if self.distance_m is not None:
            if len(self.distance_m) == 1:
                object.__setattr__(self, "distance_m", self.distance_m * self.count)
            if len(self.distance_m) != self.count:
                expected = f"one for each of the {self.count} clients, or one for all"
                raise misfit("distance_m", f"{len(self.distance_m)} distances", expected)
        if self.nodes is not None and len(self.nodes) != self.count:
            raise misfit("nodes", f"{len(self.nodes)} nodes", f"one for each of the {self.count} clients")

    @cached_property
    def client_names(self) -> tuple[str, ...]:
        """The names of the clients."""
        return (
            (self.name,) if self.count == 1 else tuple(f"{self.name}-{index}" for index in range(self.count))
        )


@declaration
class Server:
    """The main server.

    Parameters
    ----------
    device : Device
        What it computes on.
    uplink : Link, optional
        Its own link to the network; without one it stands at the hub of the star.
    downlink : Link, optional
        Its own link from the network; there are both or none.
    node : str, optional
        The node of the graph that it stands at.
    """

    device: Device
    uplink: Link | None = None
    downlink: Link | None = None
    node: Name | None = None

    def __post_init__(self) -> None:
        _both_links(self.uplink, self.downlink)


@declaration
class FedServer:
    """The fed server, which averages client-side models.

    Parameters
    ----------
    same_host : bool
        It runs on the main server's machine: same device, and messages between the two cost nothing.
    device : Device, optional
        What it computes on; only, and always, with ``same_host = false``.
    uplink : Link, optional
        Its own link to the network; only with ``same_host = false``, and then a star needs it.
    downlink : Link, optional
        Its own link from the network; there are both or none.
    node : str, optional
        The node of the graph that it stands at; only with ``same_host = false``.
    """

    same_host: bool = True
    device: Device | None = None
    uplink: Link | None = None
    downlink: Link | None = None
    node: Name | None = None

    def __post_init__(self) -> None:
        given = [key for key in ("device", "uplink", "downlink", "node") if getattr(self, key) is not None]
        if self.same_host and given:
            raise misfit(
                given[0],
                "a value although the fed server shares the main server's host",
                "nothing",
                "Say same_host = false to give it a machine of its own.",
            )
        if not self.same_host and self.device is None:
            raise misfit("device", "nothing", "a device, because same_host = false")
        _both_links(self.uplink, self.downlink)


@declaration
class Target:
    """What the run is to reach, on the validation split.

    Parameters
    ----------
    metric : {"accuracy", "mji", "f1"}
        Accuracy (classification), mean Jaccard index without background (segmentation), or F1 (several labels).
    value : float
        The least value; with `relative_to`, the least fraction of that run's best value.
    hold : int
        For how many evaluations in a row it has to stay so.
    relative_to : Path, optional
        The run directory of a baseline.
    stop : bool
        End the run as soon as the target holds; otherwise all global rounds are run.
    """

    metric: Literal["accuracy", "mji", "f1"]
    value: Annotated[float, Field(gt=0)]
    hold: Count = 1
    relative_to: Path | None = None
    stop: bool = False

    def __post_init__(self) -> None:
        if self.relative_to is None and self.value > 1:
            hint = f"Write {self.value / 100:g} for {self.value:g} %." if self.value <= 100 else None
            raise misfit("value", f"{self.value:g}", f"at most 1, which is a perfect {self.metric}", hint)


@declaration
class Evaluation:
    """When and how the global model is evaluated.

    Parameters
    ----------
    every_rounds : int
        After every that many global rounds, and after the last one.
    per_client : bool
        Also on each client's own share of the training data.
    codec_off : bool
        Also without the codecs, in a column of its own.
    batch_size : int
        Examples evaluated at a time.
    keep_predictions : int
        Keep that many test examples with what the last model evaluated makes of them, codec on
        (``predictions.npz``).
    keep_smashed_data : bool
        With them, what crossed each cut, before the codec: tensors for ``sfsim codec encode``.
    """

    every_rounds: Count = 1
    per_client: bool = False
    codec_off: bool = True
    batch_size: Count = 256
    keep_predictions: Whole = 0
    keep_smashed_data: bool = False

    def __post_init__(self) -> None:
        if self.keep_smashed_data and not self.keep_predictions:
            raise misfit("keep_predictions", "0", "how many examples' smashed data to keep")


@contextmanager
def at(*loc: str | int) -> Iterator[None]:
    """Say where in a scenario a check found its fault."""
    try:
        yield
    except ConfigError as error:
        raise misfit(loc, error.found, error.expected, error.hint) from None


def _both_links(uplink: Link | None, downlink: Link | None) -> None:
    if (uplink is None) != (downlink is None):
        absent = "uplink" if uplink is None else "downlink"
        raise misfit(absent, "nothing", "a link, because there is one in the other direction")
