"""Levels of masks against those that were declared: what they mean, and whether they mean it at all."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sfsim.errors import DataError

_EDGE_SHARE = 0.02  # of a mask's pixels: smoothed edges spread over many levels, none of which is common


class LevelMap:
    """What levels of masks mean.

    Parameters
    ----------
    grey_to_class : mapping of int to int
        Class of each declared level; other levels take the class of the nearest one, the lower one half-way.
    above : int, optional
        With two levels: greater ones belong to the upper one, as published code has it, instead of nearer ones.
    """

    def __init__(self, grey_to_class: Mapping[int, int], above: int | None = None) -> None:
        self.levels = np.array(sorted(grey_to_class))
        self.above = above
        nearest = np.abs(np.arange(256)[:, None] - self.levels).argmin(axis=1)
        if above is not None:
            nearest = (np.arange(256) > above).astype(np.int64)
        self.class_of = np.array([grey_to_class[int(level)] for level in self.levels], dtype=np.uint8)[
            nearest
        ]
        self.strays: dict[str, float] = {}  # masks with other levels than the declared ones: their share

    def classes(self, levels: np.ndarray, path: Path, exact: bool) -> np.ndarray:
        """Return the class of each pixel of one mask, uint8; refuse levels that mean something else.

        Several levels that all mean one class are another map's: 0 and 1 where 0 and 255 were declared. A file that
        keeps levels exactly may hold undeclared ones only as smoothed edges have them: many, none of them common.

        Raises
        ------
        DataError
            Names the file, the levels found and those declared.
        """
        found, counts = np.unique(levels, return_counts=True)
        known = np.isin(found, self.levels)
        share = counts / levels.size
        few = exact and self.above is None and len(found) <= 2 * len(self.levels)  # noise and edges make many
        strange = few and bool((share[~known] > _EDGE_SHARE).any())
        another_map = len(found) > 1 and len(np.unique(self.class_of[found])) == 1 and not known.all()
        if strange or another_map or (exact and not known.any() and self.above is None):
            raise DataError(
                f"{path}: found levels {_listed(found)}, expected {_listed(self.levels)}, those that mean a class "
                "(grey_to_class)"
            )
        if exact and not known.all():
            self.strays[path.name] = float(share[~known].sum())
        return np.asarray(self.class_of[levels])

    def notes(self) -> list[str]:
        """Return what there is to say about the masks so far."""
        if not self.strays or self.above is not None:
            return []
        name, share = max(self.strays.items(), key=lambda item: item[1])
        found = f"data: {len(self.strays)} masks have other levels than the declared ones (at most {share:.2%} of the"
        return [f"{found} pixels, in {name!r}); the nearest one counts"]


def never_there(masks: np.ndarray, classes: Iterable[int]) -> list[str]:
    """Return a note for each declared class that occurs in no mask."""
    there = set(np.unique(masks).tolist())
    return [
        f"class {label} occurs in none of the {len(masks)} masks" for label in sorted(set(classes) - there)
    ]


def _listed(levels: np.ndarray) -> str:
    shown = ", ".join(map(str, levels[:8].tolist()))
    return f"{shown} ... {levels[-1]}" if len(levels) > 8 else shown
