"""LTE's grid: whole resource blocks (RB), dealt anew every millisecond, and a header in every transport
block.

A member alone has the transport block ``TB = R * 1 ms / 8 + h`` on all blocks of the carrier. With `n`
members, each of the `K` that are served in a millisecond has `M` of them:

    r = (TB * M / RB - h) * (K / n) / 1 ms

Uplink: ``M = max(3, floor(RB / n))``, ``K = min(n, floor(RB / M))``. Downlink round robin deals whole groups
of 2 (up to 26 RB), 3 (up to 63) or 4 blocks, and leaves over what does not divide; proportional fair leaves
nothing.

A header takes at most half of a block: real schedulers do not deal blocks that carry nothing.

Source: equations and h = 5 bytes fitted to ns-3 3.44; group sizes TS 36.213 table 7.1.6.1-1.
Left out: the steps of the transport block sizes (TS 36.213 table 7.1.7.2.1-1).
"""

import numpy as np

HEADER_BYTES = 5.0
_TTI_S = 1e-3
_LEAST_UPLINK = 3


def uplink(resource_blocks: int, n: int) -> tuple[float, int]:
    """Return the share of the carrier that a served member has, and how many are served at a time.

    >>> uplink(25, 2), uplink(25, 10)
    ((0.48, 2), (0.12, 8))
    """
    blocks = max(_LEAST_UPLINK, resource_blocks // n) if n > 1 else resource_blocks
    return blocks / resource_blocks, min(n, resource_blocks // blocks)


def downlink(scheduler: str, resource_blocks: int, n: int) -> tuple[float, int]:
    """Return the same for the downlink; only whole groups of blocks carry data.

    >>> downlink("rr", 25, 5), downlink("pf", 25, 5)
    ((0.16666666666666666, 5), (1.0, 1))
    """
    if scheduler == "pf":
        return 1.0, 1
    size = 2 if resource_blocks <= 26 else 3 if resource_blocks <= 63 else 4
    groups = resource_blocks // size
    return max(1, groups // n) / groups, min(n, groups)


def rate_alone(peak_bps: np.ndarray, share: float, served: int) -> np.ndarray:
    """Return the rate that is divided by n (or by more airtime) to give a member's own, shape (n,)."""
    block = (peak_bps * _TTI_S / 8 + HEADER_BYTES * (peak_bps > 0)) * share
    return np.maximum(block - HEADER_BYTES, block / 2) * served * 8 / _TTI_S
