"""The one tree of errors.

::

    SfsimError                  anything a user can cause; the command prints it and exits with 2
    ├── ConfigError             a declaration is wrong (place, found, expected, hint)
    ├── DataError               a data set is missing or malformed
    ├── CodecError              a tensor cannot be encoded, or a payload cannot be decoded
    ├── NetworkError            no route, a link that is down for ever, an empty trace
    ├── Diverged                training came to NaN or infinity: ends a run, which is a result all the same
    ├── SimulationError         a run cannot go on (memory exceeded, nothing left to happen)
    └── ResultsError            a run directory cannot be written or read
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SfsimError(Exception):
    """Base of every error that sfsim raises on purpose."""


class ConfigError(SfsimError):
    """A declaration is wrong.

    Parameters
    ----------
    place : str
        File, table and key, for example ``"a.toml, [clients.0.uplink] rate_bps"``.
    found : str
        What stands there, as the user wrote it.
    expected : str
        What may stand there.
    hint : str, optional
        A did-you-mean or a way out.

    Examples
    --------
    >>> print(ConfigError("a.toml, seed", "'x'", "a whole number"))
    a.toml, seed: found 'x', expected a whole number
    """

    def __init__(self, place: str, found: str, expected: str, hint: str | None = None) -> None:
        self.place, self.found, self.expected, self.hint = place, found, expected, hint
        text = f"{place}: found {found}, expected {expected}"
        super().__init__(f"{text}. {hint}" if hint else text)


class DataError(SfsimError):
    """A data set is missing or malformed."""


class CodecError(SfsimError):
    """A tensor cannot be encoded, or a payload cannot be decoded."""


class NotFinite(CodecError):
    """A learned codec cannot encode a tensor because it holds NaN or infinity, or comes to it."""


class NetworkError(SfsimError):
    """A message cannot reach its destination, or a channel cannot be asked."""


class SimulationError(SfsimError):
    """A run cannot go on."""


class Diverged(SfsimError):
    """Training came to NaN or infinity, and a codec cannot carry it.

    Parameters
    ----------
    round : int
        Global round.
    what : str
        Which tensor, and what the codec found in it.
    """

    def __init__(self, round: int, what: str) -> None:
        self.round, self.what = round, what
        super().__init__(round, what)  # SimPy makes errors anew from their arguments

    def __str__(self) -> str:
        return f"diverged in round {self.round}: {self.what}"


class ResultsError(SfsimError):
    """A run directory cannot be written or read."""


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """Return a sentence that names the closest choice, or None when none is close.

    >>> did_you_mean("latency_ms", ["latency_s", "rate_bps"])
    "Did you mean 'latency_s'?"
    >>> did_you_mean("MJI", ["accuracy", "mji"])
    "Did you mean 'mji'?"
    """
    close = closest(word, choices)
    return f"Did you mean {close!r}?" if close else None


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that is most like a word, or None when none is close."""
    plain = {choice.casefold().replace("-", "_"): choice for choice in choices}
    close = get_close_matches(word.casefold().replace("-", "_"), list(plain), n=1, cutoff=0.6)
    return plain[close[0]] if close else None
