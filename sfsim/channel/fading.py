"""Block fading: the gain of a radio link is drawn anew for every coherence time."""

from math import inf
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.snr import Shannon, SnrToRate
from sfsim.declaration import declaration
from sfsim.seeds import stream

CHUNK = 1024  # blocks drawn together; part of what a seed means, so never change it
_DEAD_AFTER_BLOCKS = 1 << 20  # this many blocks in outage: the link is called down for ever


@declaration
class BlockFading(Channel):
    """Base of the fading channels.

    Parameters
    ----------
    mean_snr_db : float
        Mean signal-to-noise ratio in dB.
    bandwidth_hz : float
        Bandwidth in Hz.
    coherence_time_s : float
        How long a block lasts; 0.423 / Doppler frequency (Rappaport) is a usual choice.
    snr_to_rate : Shannon or Cqi
        Turns the SNR of a block into its rate.
    """

    mean_snr_db: float
    bandwidth_hz: Annotated[float, Field(gt=0)]
    coherence_time_s: Annotated[float, Field(gt=1e-6)]
    snr_to_rate: SnrToRate = Shannon()

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` power gains of mean 1."""
        raise NotImplementedError

    def realise(self, seed: int, name: str) -> "FadingRealisation":
        """Draw the fades of link `name`: block k depends on (seed, name, k) only."""
        return FadingRealisation(self, seed, name)


@declaration
class RayleighBlock(BlockFading):
    """No line of sight: exponentially distributed power gain, independent from block to block.

    Source: Tse and Viswanath, *Fundamentals of Wireless Communication*, section 2.4.
    Left out: correlation of neighbouring blocks, shadowing.

    Examples
    --------
    >>> channel = RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.5)
    >>> channel.realise(7, "a->b").segment(0.7)[1]
    1.0
    """

    kind: Literal["rayleigh"] = "rayleigh"

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.standard_exponential(count)


@declaration
class RicianBlock(BlockFading):
    """A line of sight `k_factor_db` stronger than all scattered paths together.

    ``h = sqrt(K / (K + 1)) + sqrt(1 / (K + 1)) * CN(0, 1)``, the gain is ``|h|^2``.

    Source: as Rayleigh; 3GPP TR 38.901 table 7.5-6 gives K = 9 dB (urban) and 7 dB (rural) on average.
    """

    kind: Literal["rician"] = "rician"
    k_factor_db: float = 9.0

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        k = 10 ** (self.k_factor_db / 10)
        scattered = rng.standard_normal((count, 2)) * np.sqrt(0.5 / (k + 1))
        return np.asarray((np.sqrt(k / (k + 1)) + scattered[:, 0]) ** 2 + scattered[:, 1] ** 2)


class FadingRealisation(Realisation):
    """Blocks drawn in chunks, each from its own stream; the last chunk asked is kept."""

    def __init__(self, channel: BlockFading, seed: int, name: str) -> None:
        super().__init__()
        self._channel, self._seed, self._name = channel, seed, name
        self._chunk, self._rates = -1, np.empty(0)

    def rates_bps(self, chunk: int) -> np.ndarray:
        """Return the rates in bit/s of blocks ``chunk * CHUNK`` to ``(chunk + 1) * CHUNK - 1``."""
        if chunk != self._chunk:
            channel = self._channel
            gains = channel.gains(stream(self._seed, "fade", self._name, chunk), CHUNK)
            snr = 10 ** (channel.mean_snr_db / 10) * gains
            self._rates = channel.bandwidth_hz * channel.snr_to_rate.bits_per_hz(snr)
            self._chunk = chunk
        return self._rates

    def _segment(self, time_s: float) -> tuple[float, float]:
        length_s = self._channel.coherence_time_s
        block = int(time_s / length_s)
        # The division may round to the wrong side of a boundary; the products decide.
        while block * length_s > time_s:
            block -= 1
        while (block + 1) * length_s <= time_s:
            block += 1
        rate_bps = float(self.rates_bps(block // CHUNK)[block % CHUNK])
        if rate_bps > 0:
            return rate_bps, (block + 1) * length_s
        return 0.0, self._outage_end(block) * length_s

    def _outage_end(self, block: int) -> float:
        """Return the first block after `block` whose rate is not 0, or infinity."""
        first = block
        while block - first < _DEAD_AFTER_BLOCKS:
            alive = np.flatnonzero(self.rates_bps(block // CHUNK)[block % CHUNK :])
            if len(alive):
                return block + int(alive[0])
            block = (block // CHUNK + 1) * CHUNK
        return inf
