"""A scattered radio wave over time, correlated as Clarke and Jakes say: a sum of sinusoids."""

import numpy as np

_WAVES = 128
_ROW = 32  # samples come as a matrix of rows: two small tables of phases instead of one large one


class SumOfSinusoids:
    """Complex samples ``h`` of mean power 1 with autocorrelation ``J0(2 pi f_D tau)``, at any time at once.

    ``h(t) = sqrt(1 / N) sum_n exp(i (2 pi f_D t cos(alpha_n) + phi_n))`` with ``alpha_n = (2 pi n + theta) /
    N``: N = 128 waves from all around, with random phi and theta. Nothing is carried from one sample to the
    next, so that asking order never matters, and even one realisation's mean over time has this
    autocorrelation.

    Source: Zheng and Xiao, "Simulation models with correct statistical properties for Rayleigh fading
    channels", IEEE Trans. Communications 51(6), 2003; the complex form for all around (Clarke's model) is
    that of Xiao, Zheng and Beaulieu, IEEE Trans. Wireless Communications 5(12), 2006.
    Left out: over time, one realisation's power varies by 0.8 % less than an exponential law would.

    Parameters
    ----------
    doppler_hz : float
        Largest Doppler shift, speed * carrier / c.
    rng : numpy.random.Generator
        Draws the phases.
    """

    def __init__(self, doppler_hz: float, rng: np.random.Generator) -> None:
        angles = (2 * np.pi * np.arange(_WAVES) + rng.uniform(-np.pi, np.pi)) / _WAVES
        self._shifts = 2 * np.pi * doppler_hz * np.cos(angles)
        self._phases = rng.uniform(-np.pi, np.pi, _WAVES)

    def samples(self, first: int, count: int, step_s: float) -> np.ndarray:
        """Return the samples at times ``(first + k) * step_s``: complex128, shape (count,)."""
        rows = -(-count // _ROW)
        begin = np.exp(1j * (self._phases + self._shifts * (first * step_s)))
        waves = (self._turns(rows, _ROW * step_s) * begin) @ self._turns(_ROW, step_s).T
        return np.asarray(waves.ravel()[:count] / np.sqrt(_WAVES))

    def _turns(self, count: int, step_s: float) -> np.ndarray:
        """Return how far each wave has turned after 0, 1, 2 ... steps: complex128, shape (count, waves)."""
        turns = np.empty((count, _WAVES), dtype=complex)
        turns[0], turns[1:] = 1.0, np.exp(1j * step_s * self._shifts)
        return np.multiply.accumulate(turns, axis=0)
