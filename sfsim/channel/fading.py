"""Radio channels: a mean SNR, the fades around it block by block, and the rate that comes of both."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.blocks import CHUNK, BlockRealisation, kept
from sfsim.channel.budget import LinkBudget
from sfsim.channel.constant import ConstantRealisation
from sfsim.channel.jakes import SumOfSinusoids
from sfsim.channel.pathloss import SPEED_OF_LIGHT
from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.snr import Shannon, SnrToRate
from sfsim.declaration import declaration, misfit
from sfsim.declaration.units import Decibel
from sfsim.seeds import stream

COHERENCE = 0.423  # coherence time times Doppler frequency (Rappaport, section 5.4.3)
LONGEST_BLOCK_S = 100.0  # of a speed: a thousand blocks are drawn at once, and a client may walk meanwhile
Seconds = Annotated[float, Field(gt=1e-6)]


@declaration
class RadioChannel(Channel):
    """Base of the radio channels.

    Parameters
    ----------
    mean_snr_db : float, optional
        Mean signal-to-noise ratio in dB; or give a `budget`.
    budget : LinkBudget, optional
        Transmit power, path loss and distance (or mobility), from which the mean SNR follows.
    bandwidth_hz : float
        Bandwidth in Hz.
    carrier_hz : float, optional
        Carrier frequency in Hz; needed with a budget or a speed.
    snr_to_rate : Shannon, TruncatedShannon or Cqi
        Turns the SNR of a block into its rate.
    """

    mean_snr_db: Decibel | None = None
    budget: LinkBudget | None = None
    bandwidth_hz: Annotated[float, Field(gt=0)]
    carrier_hz: Annotated[float, Field(gt=0)] | None = None
    snr_to_rate: SnrToRate = Shannon()

    def __post_init__(self) -> None:
        if (self.mean_snr_db is None) == (self.budget is None):
            found = "nothing" if self.budget is None else "both a mean SNR and a budget"
            raise misfit("mean_snr_db", found, "either a mean SNR in dB, or a link budget")
        if self.budget is not None and self.carrier_hz is None:
            raise misfit("carrier_hz", "nothing", "the carrier frequency in Hz, because there is a budget")

    def words(self) -> str:
        snr = f" {self.mean_snr_db:g} dB" if self.mean_snr_db is not None else ""
        return f"{self.kind}{snr} over {self.bandwidth_hz / 1e6:g} MHz"  # type: ignore[attr-defined]

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` independent power gains of mean 1."""
        raise NotImplementedError


@declaration
class Awgn(RadioChannel):
    """No fading: the SNR is the mean SNR, and changes only while the client moves.

    Parameters
    ----------
    block_s : float
        How often the place of a moving client is looked at.
    """

    kind: Literal["awgn"] = "awgn"
    block_s: Seconds = 0.1

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return np.ones(count)

    def _realise(self, seed: int, name: str) -> Realisation:
        drawn = RadioRealisation(self, seed, name, self.block_s)
        if self.budget is not None and self.budget.mobility is not None:
            return drawn
        zero = np.zeros(1)
        snr_db = drawn.snr_db(zero)
        return ConstantRealisation(float(drawn.rates_bps(0)[0]), float(snr_db[0]))


@declaration
class BlockFading(RadioChannel):
    """Base of the fading channels.

    Parameters
    ----------
    coherence_time_s : float, optional
        How long a block lasts; its fade is independent of the last one's. Or give a speed.
    speed_m_per_s : float, optional
        Speed of client or surroundings. With `carrier_hz` it gives the Doppler frequency f_D, and fades that
        are correlated over time as ``J0(2 pi f_D tau)``.
    block_s : float, optional
        How long a block lasts when a speed is given; default: half of the coherence time 0.423 / f_D,
        100 s at most.
    """

    coherence_time_s: Seconds | None = None
    speed_m_per_s: Annotated[float, Field(gt=0)] | None = None
    block_s: Seconds | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.coherence_time_s is None) == (self.speed_m_per_s is None):
            found = "nothing" if self.speed_m_per_s is None else "both a coherence time and a speed"
            raise misfit("coherence_time_s", found, "either a coherence time in s, or a speed in m/s")
        if self.speed_m_per_s is not None and self.carrier_hz is None:
            raise misfit("carrier_hz", "nothing", "the carrier frequency in Hz, because there is a speed")
        if self.coherence_time_s is not None and self.block_s is not None:
            raise misfit(
                "block_s", f"{self.block_s:g}", "nothing beside a coherence time, which is the block"
            )

    @property
    def doppler_hz(self) -> float | None:
        """Largest Doppler shift in Hz; None for independent blocks."""
        if self.speed_m_per_s is None or self.carrier_hz is None:
            return None
        return self.speed_m_per_s * self.carrier_hz / SPEED_OF_LIGHT

    def correlated_gains(self, waves: SumOfSinusoids, first: int, count: int, block_s: float) -> np.ndarray:
        """Return the power gains of mean 1 of `count` blocks; `waves` is what is scattered."""
        raise NotImplementedError

    def _realise(self, seed: int, name: str) -> Realisation:
        doppler_hz = self.doppler_hz
        derived_s = min(COHERENCE / 2 / doppler_hz, LONGEST_BLOCK_S) if doppler_hz else LONGEST_BLOCK_S
        block_s = self.coherence_time_s or self.block_s or derived_s
        return RadioRealisation(self, seed, name, block_s)


@declaration
class RayleighBlock(BlockFading):
    """No line of sight: exponentially distributed power gain.

    Source: Tse and Viswanath, *Fundamentals of Wireless Communication*, section 2.4; correlation: Clarke
    1968, Jakes 1974.

    Examples
    --------
    >>> channel = RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.5)
    >>> channel.realise(7, "a->b").segment(0.7)[1]
    1.0
    """

    kind: Literal["rayleigh"] = "rayleigh"

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.standard_exponential(count)

    def correlated_gains(self, waves: SumOfSinusoids, first: int, count: int, block_s: float) -> np.ndarray:
        return np.asarray(np.abs(waves.samples(first, count, block_s)) ** 2)


@declaration
class RicianBlock(BlockFading):
    """A line of sight `k_factor_db` stronger than all scattered paths together.

    ``h = sqrt(K / (K + 1)) + sqrt(1 / (K + 1)) * CN(0, 1)``, the gain is ``|h|^2``.

    Source: as Rayleigh; 3GPP TR 38.901 table 7.5-6 gives K = 9 dB (urban) and 7 dB (rural) on average.
    Left out: the Doppler shift of the line of sight itself.
    """

    kind: Literal["rician"] = "rician"
    k_factor_db: Decibel = 9.0

    def gains(self, rng: np.random.Generator, count: int) -> np.ndarray:
        k = 10 ** (self.k_factor_db / 10)
        scattered = rng.standard_normal((count, 2)) * np.sqrt(0.5 / (k + 1))
        return np.asarray((np.sqrt(k / (k + 1)) + scattered[:, 0]) ** 2 + scattered[:, 1] ** 2)

    def correlated_gains(self, waves: SumOfSinusoids, first: int, count: int, block_s: float) -> np.ndarray:
        k = 10 ** (self.k_factor_db / 10)
        scattered = waves.samples(first, count, block_s)
        return np.asarray(np.abs(np.sqrt(k / (k + 1)) + scattered * np.sqrt(1 / (k + 1))) ** 2)


class RadioRealisation(BlockRealisation):
    """The blocks of one link: block k depends on (seed, name, k) only."""

    def __init__(self, channel: RadioChannel, seed: int, name: str, block_s: float) -> None:
        super().__init__(block_s)
        self._channel, self._seed, self._name = channel, seed, name
        self._snr: dict[int, np.ndarray] = {}
        self._mean_snr, self._budget = 10 ** ((channel.mean_snr_db or 0.0) / 10), None
        if channel.budget is not None:
            self._budget = channel.budget.realise(seed, name, channel.bandwidth_hz, channel.carrier_hz or 1.0)
            if not self._budget.moves:
                self._mean_snr = 10 ** (float(self._budget.db(np.zeros(1))[0]) / 10)
        self._waves = None
        if isinstance(channel, BlockFading) and channel.doppler_hz is not None:
            self._waves = SumOfSinusoids(channel.doppler_hz, stream(seed, "fade", name))

    def snr(self, first: int, count: int) -> np.ndarray:
        """Return the linear SNR of `count` blocks from `first` on; before block 0 it is that of block 0."""
        chunks = range(max(first, 0) // CHUNK, max(first + count - 1, 0) // CHUNK + 1)
        drawn = np.concatenate([kept(self._snr, chunk, self._draw_snr) for chunk in chunks])
        wanted = np.maximum(np.arange(first, first + count), 0) - chunks[0] * CHUNK
        return np.asarray(drawn[wanted])

    def snr_db(self, time_s: np.ndarray) -> np.ndarray:
        blocks = np.array([self.block(float(time)) for time in np.ravel(time_s)])
        chunks = blocks // CHUNK
        found = np.empty(len(blocks))
        for chunk in np.unique(chunks):
            here = chunks == chunk
            found[here] = kept(self._snr, int(chunk), self._draw_snr)[blocks[here] % CHUNK]
        return np.asarray(10 * np.log10(np.maximum(found, 1e-30))).reshape(np.shape(time_s))

    def _draw(self, chunk: int) -> np.ndarray:
        channel, first = self._channel, chunk * CHUNK
        bits = channel.snr_to_rate.over_time(lambda shift: self.snr(first + shift, CHUNK), self.block_s)
        return channel.bandwidth_hz * bits

    def _draw_snr(self, chunk: int) -> np.ndarray:
        first = chunk * CHUNK
        if self._waves is not None and isinstance(self._channel, BlockFading):
            gains = self._channel.correlated_gains(self._waves, first, CHUNK, self.block_s)
        else:
            gains = self._channel.gains(stream(self._seed, "fade", self._name, chunk), CHUNK)
        if self._budget is None or not self._budget.moves:
            return self._mean_snr * gains
        starts_s = np.arange(first, first + CHUNK) * self.block_s
        return np.asarray(10 ** (self._budget.db(starts_s) / 10) * gains)
