"""How fast and how lossy a link is at a simulated time. Knows no SimPy, no torch.

A declaration says which channel; ``realise(seed, name)`` draws one `Realisation` of it, whose
``segment(time_s)`` answers with a rate and until when that rate holds, and ``blocks(time_s, count)`` with
many such pieces at once.

>>> from sfsim.channel import Constant
>>> Constant(rate_bps=2e6).realise(seed=7, name="client->switch").segment(3.0)
(2000000.0, inf)
"""

from sfsim.channel.budget import AnyPathLoss, InterceptSlope, LinkBudget, LogDistance, Tr38901
from sfsim.channel.catalogue import (
    AnyChannel,
    AnyLoss,
    load,
    load_latency,
    load_loss,
    parse,
    parse_latency,
    parse_loss,
)
from sfsim.channel.constant import Constant
from sfsim.channel.fading import Awgn, RayleighBlock, RicianBlock
from sfsim.channel.latency import (
    AnyLatency,
    ConstantLatency,
    GammaLatency,
    Latency,
    LognormalLatency,
    RttMatrixLatency,
    UniformLatency,
)
from sfsim.channel.loss import Bernoulli, GilbertElliott, LossTrace
from sfsim.channel.markov import MarkovChannel
from sfsim.channel.mobility import AnyMobility, PathMobility, RandomWaypoint
from sfsim.channel.outage import Outage
from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.snr import Cqi, Shannon, TruncatedShannon
from sfsim.channel.speeds import UserSpeeds
from sfsim.channel.trace import PLAUSIBLE_BPS, Trace
from sfsim.channel.trace_tables import Columns

__all__ = [
    "PLAUSIBLE_BPS",
    "AnyChannel",
    "AnyLatency",
    "AnyLoss",
    "AnyMobility",
    "AnyPathLoss",
    "Awgn",
    "Bernoulli",
    "Channel",
    "Columns",
    "Constant",
    "ConstantLatency",
    "Cqi",
    "GammaLatency",
    "GilbertElliott",
    "InterceptSlope",
    "Latency",
    "LinkBudget",
    "LogDistance",
    "LognormalLatency",
    "LossTrace",
    "MarkovChannel",
    "Outage",
    "PathMobility",
    "RandomWaypoint",
    "RayleighBlock",
    "Realisation",
    "RicianBlock",
    "RttMatrixLatency",
    "Shannon",
    "Tr38901",
    "Trace",
    "TruncatedShannon",
    "UniformLatency",
    "UserSpeeds",
    "load",
    "load_latency",
    "load_loss",
    "parse",
    "parse_latency",
    "parse_loss",
]
