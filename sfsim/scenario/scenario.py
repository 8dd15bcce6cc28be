"""The declaration Scenario: the keys at the top of a scenario file, and what can be read off them."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from sfsim.declaration import declaration
from sfsim.learning.augmentations import AnyAugmentation
from sfsim.learning.declarations import AnyDataset, AnyModel, AnyPartition, Iid, LossName, Optimiser
from sfsim.learning.preparing import AnyNormalisation
from sfsim.network.cell import AnyCell
from sfsim.scenario.checks import check
from sfsim.scenario.codec_training import CodecTraining
from sfsim.scenario.gradient_gate import AnyGate
from sfsim.scenario.networks import AnyTopology, NetworkTable, Star
from sfsim.scenario.parts import (
    ClientGroup,
    Codecs,
    Count,
    Evaluation,
    FedServer,
    Name,
    Seeds,
    Server,
    Target,
)
from sfsim.scenario.summary import client_rows, remarks

Protocol = Literal["sl", "splitfed-v1", "splitfed-v2"]
Seed = Annotated[
    Annotated[int, Field(ge=0), Tag("int")] | Annotated[Seeds, Tag("Seeds")],
    Discriminator(lambda value: "Seeds" if isinstance(value, dict | Seeds) else "int"),
]


@declaration
class Scenario:
    """Everything that decides a run.

    Parameters
    ----------
    name : str
        What the run is called, in 1 to 100 characters; default in a file: the file's name.
    seed : int or Seeds
        One number, or three independent ones.
    protocol : {"sl", "splitfed-v1", "splitfed-v2"}
        Split learning client after client; SplitFed with one server-side model per client, averaged; SplitFed
        with one server-side model that serves clients in order.
    global_rounds : int
        How many.
    local_epochs : int, optional
        Passes of a client over its own data per global round; default 1 when `local_steps` is not given.
    local_steps : int, optional
        Instead: minibatches per client and global round.
    batch_size : int
        Examples per minibatch; the last one of an epoch may be smaller.
    client_fraction : float
        Share of the clients that takes part in a global round, at least one.
    server_order : {"permutation", "arrival"}
        SplitFedV2: in which order the main server serves clients.
    batch_norm : {"average", "local"}
        Whether BatchNorm statistics are averaged, or stay with each client.
    optimiser_state : {"keep", "reset"}
        What a party does with momentum and moments when it takes over an averaged model.
    aggregate : {"last", "best-validation"}
        Which of its weights of the round a client hands to the fed server.
    data : Dataset
        What is learnt from.
    partition : Partition
        How the training data is dealt to the clients.
    validation_fraction : float
        Share of the training data that is set aside for validation before it is dealt.
    augmentation : list of Augmentation, optional
        What is done to training images, in this order, anew in every epoch; before they are normalised.
    normalisation : Normalisation, optional
        How inputs, in [0, 1], are shifted and scaled before the model sees them; default: not at all. By name: the
        training split's own mean and standard deviation, or what code for a data set usually has.
    model : Model
        What is trained.
    cut_layers : list of str
        Stages after which the model is cut: one (label-sharing), or two (U-shaped: the labels stay with the
        client). One text is a list of one.
    optimiser : Optimiser
        Of the client-side model.
    server_optimiser : Optimiser, optional
        Of the server-side model; default: the same.
    loss : {"cross-entropy", "dice", "binary-cross-entropy"}
        What is minimised; soft Dice is for segmentation, binary cross-entropy for several labels.
    codecs : Codecs
        What the messages are encoded with.
    codec_training : CodecTraining
        How learned codecs learn, and when their weights travel.
    gradient_gate : GradientGate, optional
        Which gradients are not sent at all.
    clients : list of ClientGroup
        The clients, in groups that are alike.
    main_server : Server
        Trains the server-side model.
    fed_server : FedServer
        Averages client-side models.
    cell : dict of Cell
        Radio cells that clients share, by name.
    topology : Topology
        How parties are connected.
    network : NetworkTable
        What holds for the whole network.
    target : Target, optional
        What the run is to reach.
    evaluation : Evaluation
        When and how the global model is evaluated.
    """

    name: Name
    seed: Seed = 0
    protocol: Protocol
    global_rounds: Count
    local_epochs: Count | None = None
    local_steps: Count | None = None
    batch_size: Count
    client_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    server_order: Literal["permutation", "arrival"] = "permutation"
    batch_norm: Literal["average", "local"] = "average"
    optimiser_state: Literal["keep", "reset"] = "keep"
    aggregate: Literal["last", "best-validation"] = "last"
    data: AnyDataset
    partition: AnyPartition = Field(default_factory=Iid)
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    augmentation: Annotated[tuple[AnyAugmentation, ...], Field(min_length=1)] | None = None
    normalisation: AnyNormalisation | None = None
    model: AnyModel
    cut_layers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    optimiser: Optimiser
    server_optimiser: Optimiser | None = None
    loss: LossName = "cross-entropy"
    codecs: Codecs = Field(default_factory=Codecs)
    codec_training: CodecTraining = Field(default_factory=CodecTraining)
    gradient_gate: AnyGate | None = None
    clients: Annotated[tuple[ClientGroup, ...], Field(min_length=1)]
    main_server: Server
    fed_server: FedServer = Field(default_factory=FedServer)
    cell: dict[Name, AnyCell] = Field(default_factory=dict)
    topology: AnyTopology = Field(default_factory=Star)
    network: NetworkTable = Field(default_factory=NetworkTable)
    target: Target | None = None
    evaluation: Evaluation = Field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        check(self)
        if self.local_epochs is None and self.local_steps is None:
            object.__setattr__(self, "local_epochs", 1)
        object.__setattr__(self, "codecs", self.codecs.resolved(self.u_shaped))

    @property
    def seeds(self) -> Seeds:
        """The three seeds."""
        if isinstance(self.seed, Seeds):
            return self.seed
        return Seeds(training=self.seed, data=self.seed, network=self.seed)

    @property
    def u_shaped(self) -> bool:
        """Two cuts: the client holds the front end and the back end, and the labels stay with it."""
        return len(self.cut_layers) == 2

    @cached_property
    def client_names(self) -> tuple[str, ...]:
        """The names of all clients, in order."""
        return tuple(name for group in self.clients for name in group.client_names)

    @property
    def clients_per_round(self) -> int:
        """How many clients take part in a global round: `client_fraction` of them, halves rounded up."""
        return max(1, int(self.client_fraction * len(self.client_names) + 0.5))

    @cached_property
    def groups(self) -> dict[str, ClientGroup]:
        """The group of each client."""
        return {name: group for group in self.clients for name in group.client_names}

    def to_table(self) -> dict[str, Any]:
        """Return the resolved scenario as JSON-able tables: every default written out, every file read in.

        Paths (traces, a GraphML file, a baseline) are absolute. Reading it back gives an equal scenario.
        """
        table: dict[str, Any] = TypeAdapter(Scenario).dump_python(self, mode="json", exclude_none=True)
        return table

    def summary_rows(self) -> list[dict[str, str]]:
        """Return one row per client, in words: client, device, uplink, downlink, start."""
        return client_rows(self)

    def remarks(self) -> list[str]:
        """Return what fits together and still is hardly meant, one sentence each."""
        return remarks(self)


def scenario_hash(scenario: Scenario, data_fingerprint: str, version: str) -> str:
    """Return 8 hex digits that change with anything that decides a run's results.

    Files that the scenario names (traces, GraphML) count by their content, not by their path, so that the
    hash is the same in another checkout; folders count by their name.
    """
    table = TypeAdapter(Scenario).dump_python(scenario, mode="python", exclude_none=True)
    text = json.dumps([table, data_fingerprint, version], sort_keys=True, default=_content)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.name
