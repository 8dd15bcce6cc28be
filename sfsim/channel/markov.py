"""The finite-state Markov channel: Rayleigh fading as a walk between a few levels of SNR."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.blocks import CHUNK, BlockRealisation
from sfsim.channel.fading import LONGEST_BLOCK_S
from sfsim.channel.pathloss import SPEED_OF_LIGHT
from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.snr import Cqi, Shannon, SnrToRate
from sfsim.declaration import declaration, misfit
from sfsim.declaration.units import Decibel
from sfsim.seeds import stream

_FINE = 0.02  # default step times Doppler frequency: one step seldom leaves a state, and never skips one
_POINTS = 64  # of the mean rate over a state


@declaration
class MarkovChannel(Channel):
    """Rayleigh fading cut into equally likely states; each step stays or goes to a neighbouring one.

    Thresholds ``G_k`` with ``pi_k = exp(-G_k / g) - exp(-G_(k+1) / g) = 1 / states``, level-crossing rates
    ``N_k = sqrt(2 pi G_k / g) f_D exp(-G_k / g)``, ``p_(k,k+1) = N_(k+1) T / pi_k``, ``p_(k,k-1) = N_k T /
    pi_k``. A state's rate is the mean of `snr_to_rate` over it, so that the mean rate is that of the fading.

    Parameters
    ----------
    mean_snr_db : float
        Mean signal-to-noise ratio in dB.
    bandwidth_hz : float
        Bandwidth in Hz.
    carrier_hz : float
        Carrier frequency in Hz.
    speed_m_per_s : float
        Speed of client or surroundings; with the carrier it gives the Doppler frequency f_D.
    states : int
        How many levels.
    step_s : float, optional
        Length of a step; default 0.02 / f_D. Longer ones leave the model's ground.
    snr_to_rate : Shannon, TruncatedShannon or Cqi
        Turns an SNR into a rate.

    Source: Wang and Moayeri, "Finite-state Markov channel: a useful model for radio communication channels",
    IEEE Trans. Vehicular Technology 44(1), 1995.
    Left out: a way to skip steps; the first question about a late time walks there from 0 (0.2 us per step).
    """

    kind: Literal["fsmc"] = "fsmc"
    mean_snr_db: Decibel
    bandwidth_hz: Annotated[float, Field(gt=0)]
    carrier_hz: Annotated[float, Field(gt=0)]
    speed_m_per_s: Annotated[float, Field(gt=0)]
    states: Annotated[int, Field(ge=2, le=64)] = 8
    step_s: Annotated[float, Field(gt=0)] | None = None
    snr_to_rate: SnrToRate = Shannon()

    def __post_init__(self) -> None:
        if isinstance(self.snr_to_rate, Cqi) and self.snr_to_rate.outdated:
            raise misfit("snr_to_rate", "outdated = true", "outdated = false: a state stands for many blocks")
        up, down = self.transitions()
        if (up + down).max() > 1:
            most_s = self.length_s / float((up + down).max())
            raise misfit("step_s", f"{self.length_s:g}", f"a step of at most {most_s:.3g} s, for its Doppler")

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift in Hz."""
        return self.speed_m_per_s * self.carrier_hz / SPEED_OF_LIGHT

    @property
    def length_s(self) -> float:
        """Length of a step in s."""
        return self.step_s or min(_FINE / self.doppler_hz, LONGEST_BLOCK_S)

    def thresholds(self) -> np.ndarray:
        """Return the lower ends of the states as linear SNR, and infinity: shape (states + 1,)."""
        below = np.arange(self.states) / self.states
        return np.append(-(10 ** (self.mean_snr_db / 10)) * np.log1p(-below), np.inf)

    def transitions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities of a step up and of a step down from each state: shape (states,) each."""
        relative = self.thresholds()[:-1] / 10 ** (self.mean_snr_db / 10)
        crossings = np.sqrt(2 * np.pi * relative) * self.doppler_hz * np.exp(-relative)
        chance = crossings * self.length_s * self.states
        return np.append(chance[1:], 0.0), chance

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each state's rate in bit/s and mean linear SNR."""
        share = (np.arange(self.states * _POINTS) + 0.5) / (self.states * _POINTS)
        snr = -(10 ** (self.mean_snr_db / 10)) * np.log1p(-share)
        rates = self.bandwidth_hz * self.snr_to_rate.bits_per_hz(snr)
        return rates.reshape(self.states, -1).mean(axis=1), snr.reshape(self.states, -1).mean(axis=1)

    def words(self) -> str:
        return f"fsmc {self.mean_snr_db:g} dB over {self.bandwidth_hz / 1e6:g} MHz"

    def _realise(self, seed: int, name: str) -> Realisation:
        return MarkovRealisation(self, seed, name)


class MarkovRealisation(BlockRealisation):
    """The walk of one link; what is remembered is the state at the beginning of every chunk of steps."""

    def __init__(self, channel: MarkovChannel, seed: int, name: str) -> None:
        super().__init__(channel.length_s)
        self._seed, self._name = seed, name
        up, down = channel.transitions()
        self._down, self._not_up = down.tolist(), (1 - up).tolist()
        self._state_rates, self._state_snr = channel.levels()
        self._starts = [int(stream(seed, "first state", name).integers(channel.states))]

    def states(self, chunk: int) -> np.ndarray:
        """Return the states of the steps of `chunk`: int64, shape (CHUNK,)."""
        for earlier in range(len(self._starts) - 1, chunk):
            self._walk(earlier)
        return self._walk(chunk)

    def snr_db(self, time_s: np.ndarray) -> np.ndarray:
        blocks = np.array([self.block(float(time)) for time in np.ravel(time_s)])
        walks = {chunk: self.states(chunk) for chunk in sorted(set((blocks // CHUNK).tolist()))}
        states = np.array([walks[block // CHUNK][block % CHUNK] for block in blocks.tolist()])
        return np.asarray(10 * np.log10(self._state_snr[states])).reshape(np.shape(time_s))

    def _draw(self, chunk: int) -> np.ndarray:
        return np.asarray(self._state_rates[self.states(chunk)])

    def _walk(self, chunk: int) -> np.ndarray:
        down, not_up = self._down, self._not_up
        state, walk = self._starts[chunk], []
        for luck in stream(self._seed, "steps", self._name, chunk).random(CHUNK).tolist():
            walk.append(state)
            if luck < down[state]:
                state -= 1
            elif luck >= not_up[state]:
                state += 1
        if len(self._starts) == chunk + 1:
            self._starts.append(state)
        return np.array(walk)
