"""What no single key of a scenario can check: that its parts fit together."""

from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

from sfsim.codec.chain import Chain
from sfsim.codec.learned import Learned
from sfsim.declaration import Loc, misfit
from sfsim.declaration.fields import list_words
from sfsim.learning.augmentations import check_augmentation
from sfsim.learning.cut_check import check_image_size, check_model_cuts
from sfsim.learning.declarations import Counts, Fractions
from sfsim.learning.preparing import check_normalisation
from sfsim.learning.series_declarations import AnySeries
from sfsim.network.declarations import Link
from sfsim.network.topology import HUB
from sfsim.scenario.cells import check_cells
from sfsim.scenario.graph import check_graph
from sfsim.scenario.networks import Graph, GraphML, Star
from sfsim.scenario.parts import FED_SERVER, MAIN_SERVER, U_SHAPE_SLOTS, at

if TYPE_CHECKING:
    from sfsim.scenario.scenario import Scenario

METRICS = {"classification": "accuracy", "segmentation": "mji", "multi-label": "f1"}
_LOSSES = {
    "classification": ("cross-entropy",),
    "segmentation": ("cross-entropy", "dice"),
    "multi-label": ("binary-cross-entropy",),
}
# Whether a model is for series, and the tasks that it can be trained for.
_MODELS = {
    **dict.fromkeys(("cnn", "resnet18", "resnet34", "vgg19"), (False, ("classification",))),
    "unet": (False, ("segmentation",)),
    "cnn-1d": (True, ("classification", "multi-label")),
}


def check(scenario: "Scenario") -> None:
    """Raise a misfit for the first thing that does not fit."""
    if scenario.local_epochs is not None and scenario.local_steps is not None:
        raise misfit("local_steps", "both local_epochs and local_steps", "one of the two")
    _check_names(scenario)
    _check_learning(scenario)
    _check_codecs(scenario)
    _check_protocol(scenario)
    check_cells(scenario)
    if isinstance(scenario.topology, Star):
        _check_star(scenario)
    else:
        check_graph(scenario)
    for loc, link in _links(scenario):
        _check_alive(link, loc)


def _check_names(scenario: "Scenario") -> None:
    servers = (MAIN_SERVER, FED_SERVER)
    repeated = [name for name, count in Counter(scenario.client_names).items() if count > 1]
    for index, group in enumerate(scenario.clients):
        loc = ("clients", index, "name")
        clash = next((name for name in group.client_names if name in servers), None)
        if clash:
            raise misfit(loc, repr(clash), "a name that is not a server's")
        if HUB in group.client_names and isinstance(scenario.topology, Star):
            raise misfit(loc, repr(HUB), "another name: in a star the node in the middle is called so")
        twice = next((name for name in group.client_names if name in repeated), None)
        if twice and any(twice in earlier.client_names for earlier in scenario.clients[:index]):
            raise misfit(loc, f"a second client {twice!r}", "a name that no other client has")
        if any(group.name == earlier.name for earlier in scenario.clients[:index]):
            raise misfit(loc, f"a second group {group.name!r}", "a name that no other group has")


def _check_protocol(scenario: "Scenario") -> None:
    baseline = scenario.target.relative_to if scenario.target else None
    if baseline is not None and not (baseline / "summary.json").is_file():
        expected = "the directory of a finished run (with summary.json)"
        raise misfit(("target", "relative_to"), repr(baseline.name), expected)
    validated = scenario.validation_fraction > 0 or scenario.partition.kind == "folders"
    if scenario.target is not None and not validated:
        raise misfit(
            "validation_fraction",
            "0",
            "more than 0, because the target is looked for on the validation split",
        )
    if scenario.aggregate == "best-validation":
        if scenario.protocol != "splitfed-v1":
            expected = "'last', or the protocol 'splitfed-v1', in which each client has a server-side model of its own"
            raise misfit("aggregate", "'best-validation'", expected)
        if not validated:
            raise misfit(
                "validation_fraction", "0", "more than 0, because aggregate = 'best-validation' validates"
            )
    if scenario.protocol == "sl":
        for slot in ("client_model_up", "client_model_down"):
            if getattr(scenario.codecs, slot).of == "delta":
                raise misfit(
                    ("codecs", slot, "of"),
                    "'delta'",
                    "'weights', because in 'sl' a client hands its model to one that holds no reference to it",
                )


def _check_learning(scenario: "Scenario") -> None:
    data, model, partition = scenario.data, scenario.model, scenario.partition
    task, series = data.task, isinstance(data, AnySeries)
    because = f"because the data set {data.kind!r} is for {task}" + (" of series" if series else "")
    fitting = [kind for kind, (takes, tasks) in _MODELS.items() if takes == series and task in tasks]
    if model.kind not in fitting:
        raise misfit(
            ("model", "kind"), repr(model.kind), f"{list_words([repr(kind) for kind in fitting])}, {because}"
        )
    with at("cut_layers"):
        check_model_cuts(model, scenario.cut_layers, "")
    if isinstance(data, AnySeries):
        if scenario.augmentation is not None:
            found = repr(scenario.augmentation[0].kind)
            raise misfit(("augmentation", 0, "kind"), found, f"no augmentation, {because}: it is for images")
    else:
        with at("data", "image_size"):
            check_image_size(model, data.image_size, "")
    check_augmentation(scenario.augmentation, data.in_channels)
    check_normalisation(scenario.normalisation, data.in_channels)
    if scenario.loss not in _LOSSES[task]:
        raise misfit(
            "loss", repr(scenario.loss), f"{list_words([repr(loss) for loss in _LOSSES[task]])}, {because}"
        )
    if partition.kind == "folders" and getattr(data, "layout", None) != "splitfedzip":
        expected = "another kind, because only ham10000 with layout = 'splitfedzip' has client folders"
        raise misfit(("partition", "kind"), "'folders'", expected)
    clients = len(scenario.client_names)
    shares = getattr(partition, partition.kind) if isinstance(partition, Counts | Fractions) else None
    if shares is not None and len(shares) != clients:
        raise misfit(
            ("partition", partition.kind), f"{len(shares)} numbers", f"one for each of the {clients} clients"
        )
    if scenario.target is not None:
        metric = METRICS[task]
        if scenario.target.metric != metric:
            raise misfit(("target", "metric"), repr(scenario.target.metric), f"{metric!r}, {because}")
        if not scenario.validation_fraction:
            raise misfit(
                "validation_fraction", "0", "more than 0, because the target is read on the validation split"
            )


def _check_codecs(scenario: "Scenario") -> None:
    for slot in ("client_model_up", "client_model_down"):
        codec = getattr(scenario.codecs, slot).codec
        if isinstance(codec, Learned):
            expected = "a codec that needs no training: learned codecs are for smashed data and gradients"
            raise misfit(("codecs", slot), codec.name, expected)
    if isinstance(scenario.codec_training.update_codec.codec, Learned):
        expected = "a codec that needs no training"
        raise misfit(("codec_training", "update_codec"), "a learned codec", expected)
    if scenario.codec_training.update_codec.codec.remembers:
        name = scenario.codec_training.update_codec.codec.name
        expected = "a codec without memory: weights of learned codecs travel between several parties"
        raise misfit(("codec_training", "update_codec"), name, expected)
    for slot in ("smashed_up", "smashed_down", "gradient_up", "gradient_down", "codec"):
        codec = getattr(scenario.codecs, slot)
        if isinstance(codec, Chain) and codec.feeds_back:
            expected = (
                "no error-feedback: the residual of one minibatch is noise for the next, of other samples"
            )
            raise misfit(("codecs", slot), codec.name, expected)
    if scenario.protocol == "sl":
        where = "'sl', in which no server averages codecs"
        if scenario.codec_training.freeze_when_settled is not None:
            raise misfit(("codec_training", "freeze_when_settled"), "a share", f"nothing in {where}")
        if scenario.codec_training.update_codec.of == "delta":
            expected = (
                "'weights', because in 'sl' a client hands its codecs to one that holds no reference to them"
            )
            raise misfit(("codec_training", "update_codec", "of"), "'delta'", expected)
    filled = scenario.codecs.resolved(scenario.u_shaped)
    for slot, back in (("smashed_up", "gradient_down"), ("smashed_down", "gradient_up")):
        codec, gradient = getattr(filled, slot), getattr(filled, back)
        if codec is None or gradient is None or codec.gradient_place != "support":
            continue
        if isinstance(gradient, Learned):
            expected = f"a codec that is not learned, because {slot} lets only the kept entries of its gradient return"
            raise misfit(("codecs", back), gradient.name, expected)
        if not gradient.any_shape:
            expected = f"one that takes any shape, because {slot} lets other entries of its gradient return each time"
            raise misfit(("codecs", back), gradient.name, expected)
    if scenario.gradient_gate is not None and scenario.local_steps is not None:
        raise misfit("gradient_gate", "local_steps", "local_epochs beside a gate, which counts epochs")
    for slot in U_SHAPE_SLOTS:
        codec = getattr(scenario.codecs, slot)
        if codec is not None and not scenario.u_shaped:
            cut = scenario.cut_layers[0]
            hint = f"With cut_layers = [{cut!r}] the slots are smashed_up and gradient_down."
            expected = "nothing, because this slot exists only with two cut layers (U-shaped)"
            raise misfit(("codecs", slot), f"the codec {codec.name}", expected, hint)


def _check_star(scenario: "Scenario") -> None:
    for index, group in enumerate(scenario.clients):
        for key in ("uplink", "downlink"):
            if getattr(group, key) is None and group.cell is None:
                raise misfit(
                    ("clients", index, key), "nothing", "a link, because each client of a star has its own"
                )
        if group.node is not None or group.nodes is not None:
            key = "node" if group.node is not None else "nodes"
            raise misfit(("clients", index, key), "a node of a graph", "nothing in a star", _GRAPH_HINT)
    fed = scenario.fed_server
    if not fed.same_host and fed.uplink is None:
        raise misfit(("fed_server", "uplink"), "nothing", "a link, because same_host = false")
    for name, server in (("main_server", scenario.main_server), ("fed_server", fed)):
        if server.node is not None:
            raise misfit((name, "node"), "a node of a graph", "nothing in a star", _GRAPH_HINT)


_GRAPH_HINT = "Nodes need [topology] with kind = 'graph' or 'graphml'."


def _links(scenario: "Scenario") -> Iterator[tuple[Loc, Link]]:
    owners: list[tuple[Loc, object]] = [
        (("clients", index), group) for index, group in enumerate(scenario.clients)
    ]
    owners += [(("main_server",), scenario.main_server), (("fed_server",), scenario.fed_server)]
    for loc, owner in owners:
        for key in ("uplink", "downlink"):
            link = getattr(owner, key)
            if link is not None:
                yield (*loc, key), link
    if isinstance(scenario.topology, GraphML):
        yield ("topology", "link"), scenario.topology.link
    if isinstance(scenario.topology, Graph):
        for index, link in enumerate(scenario.topology.links):
            yield ("topology", "links", index), link


def _check_alive(link: Link, loc: Loc) -> None:
    """Refuse a link that would never end a run; reading a trace here also refuses an empty or malformed one."""
    if link.channel is None:
        return
    drawn = link.channel.realise(0, "check")
    if drawn.segment(0.0) == (0.0, inf):
        raise misfit((*loc, "channel"), "a link that is down for ever", "a rate above 0 at some time")
    fastest_bps = drawn.blocks(0.0, 1000)[1].max()
    if 0 < fastest_bps < 1:
        raise misfit(
            (*loc, "channel"), f"a rate of {fastest_bps:.3g} bit/s at best", "at least 1 bit/s at times"
        )
