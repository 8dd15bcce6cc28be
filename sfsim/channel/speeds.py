"""Link speeds of real users, as FLASH publishes them: a mean and a deviation per user and direction."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.blocks import CHUNK, BlockRealisation
from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.trace_files import modified
from sfsim.declaration import declaration
from sfsim.errors import NetworkError, did_you_mean
from sfsim.seeds import stream
from sfsim.text import read_json

_KEYS = {"up": ("up_u", "up_sigma"), "down": ("down_u", "down_sigma")}


@declaration
class UserSpeeds(Channel):
    """The speed of one of FLASH's users, drawn anew for every block.

    From a gamma law with the user's mean and deviation.

    Parameters
    ----------
    path : Path
        ``speed_distri.json`` of FLASH: ``{user: {down_u, down_sigma, up_u, up_sigma}}``.
    direction : "up" or "down"
        Which of the user's two links.
    user : str, optional
        Which user, by the beginning of the name; default: each place draws its own, the same in both
        directions.
    block_s : float
        How long a drawn speed holds; estimated, FLASH draws one for every transfer.
    scale : float
        Multiplies the numbers of the file; 1e3 takes them as kbit/s, which fits FLASH's own formula.

    Source: Yang et al., "Characterizing impacts of heterogeneity in federated learning upon large-scale
    smartphone data", WWW 2021 (FLASH). FLASH draws from a normal law and repeats what is negative, which
    lifts the mean; a gamma law is never negative and keeps both numbers.
    """

    kind: Literal["user-speeds"] = "user-speeds"
    path: Path
    direction: Literal["up", "down"]
    user: str | None = None
    block_s: Annotated[float, Field(gt=1e-6)] = 60.0
    scale: Annotated[float, Field(gt=0)] = 1e3

    def words(self) -> str:
        return f"speeds of {self.user or 'a user'} in {self.path.name}"

    def laws(self) -> dict[str, tuple[float, float]]:
        """Return each user's mean and standard deviation in bit/s; raises NetworkError."""
        mean, deviation = _KEYS[self.direction]
        users = _read_users(self.path, modified(self.path))
        return {user: (law[mean] * self.scale, law[deviation] * self.scale) for user, law in users.items()}

    def _realise(self, seed: int, name: str) -> Realisation:
        laws = self.laws()
        if self.user is None:
            place = "<->".join(sorted(name.split("->")))
            user = list(laws)[int(stream(seed, "user", place).integers(len(laws)))]
        else:
            found = [user for user in laws if user.startswith(self.user)]
            if len(found) != 1:
                hint = did_you_mean(self.user, laws)
                text = f"{self.path}: {len(found)} users begin with {self.user!r}, expected one"
                raise NetworkError(text + (f". {hint}" if hint else ""))
            user = found[0]
        return _Speeds(self.block_s, laws[user], seed, name)


class _Speeds(BlockRealisation):
    def __init__(self, block_s: float, law: tuple[float, float], seed: int, name: str) -> None:
        super().__init__(block_s)
        self._law, self._seed, self._name = law, seed, name

    def _draw(self, chunk: int) -> np.ndarray:
        mean, deviation = self._law
        if deviation == 0:
            return np.full(CHUNK, mean)
        shape = (mean / deviation) ** 2
        return stream(self._seed, "speed", self._name, chunk).gamma(shape, mean / shape, CHUNK)


@lru_cache(maxsize=8)
def _read_users(path: Path, changed: int) -> dict[str, dict[str, float]]:
    expected = "an object {user: {down_u, down_sigma, up_u, up_sigma}}"
    users = read_json(path, expected, NetworkError)
    if not isinstance(users, dict) or not users:
        raise NetworkError(f"{path}: expected {expected}")
    for user, law in users.items():
        numbers = [law.get(key) if isinstance(law, dict) else None for pair in _KEYS.values() for key in pair]
        if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
            raise NetworkError(f"{path}, user {user!r}: found {law!r:.60}, expected {expected}")
    return users
