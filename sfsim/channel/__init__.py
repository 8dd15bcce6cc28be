"""How fast and how lossy a link is at a simulated time. Knows no SimPy, no torch.

A declaration says which channel; ``realise(seed, name)`` draws one `Realisation` of it, whose
``segment(time_s)`` answers with a rate and until when that rate holds.

>>> from sfsim.channel import Constant
>>> Constant(rate_bps=2e6).realise(seed=7, name="client->switch").segment(3.0)
(2000000.0, inf)
"""

from sfsim.channel.catalogue import AnyChannel, AnyLoss, load, load_loss, parse, parse_loss
from sfsim.channel.constant import Constant
from sfsim.channel.fading import RayleighBlock, RicianBlock
from sfsim.channel.loss import Bernoulli, GilbertElliott
from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.snr import Cqi, Shannon
from sfsim.channel.trace import Trace

__all__ = [
    "AnyChannel",
    "AnyLoss",
    "Bernoulli",
    "Channel",
    "Constant",
    "Cqi",
    "GilbertElliott",
    "RayleighBlock",
    "Realisation",
    "RicianBlock",
    "Shannon",
    "Trace",
    "load",
    "load_loss",
    "parse",
    "parse_loss",
]
