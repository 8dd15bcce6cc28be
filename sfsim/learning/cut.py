"""Cut a chain of stages into the parts that live on a client and on the main server."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sfsim.learning.chain import Chain, Part
from sfsim.learning.cut_check import check_cuts


@dataclass(frozen=True)
class Parts:
    """The parts of a cut model: front end and back end on a client, the server side on the main server.

    Attributes
    ----------
    front_end : Part
        From the input to the first cut layer.
    server_side : Part
        From there to the second cut layer, or to the end.
    back_end : Part or None
        The rest, with two cuts (U-shaped); None with one (label-sharing).
    """

    front_end: Part
    server_side: Part
    back_end: Part | None = None

    def __iter__(self) -> Iterator[Part]:
        return iter([part for part in (self.front_end, self.server_side, self.back_end) if part is not None])


def split(chain: Chain, cuts: tuple[str, ...], place: str = "cut_layers") -> Parts:
    """Cut `chain` after each stage named in `cuts`; the parts share its modules (copy them for more clients).

    Parameters
    ----------
    chain : Chain
        The whole model.
    cuts : tuple of str
        One stage name (label-sharing) or two (U-shaped).
    place : str
        Where the cuts were written, for the error.

    Raises
    ------
    ConfigError
        See `sfsim.learning.cut_check.check_cuts`.
    """
    check_cuts(chain.names, chain.skips, cuts, place)
    borders = [0, *(chain.names.index(cut) + 1 for cut in cuts), len(chain.names)]
    stages = list(chain.stages.items())
    return Parts(*(Part(dict(stages[a:b])) for a, b in pairwise(borders)))
