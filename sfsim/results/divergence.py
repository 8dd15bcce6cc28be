"""Divergence: when training came to nothing, which is a result and is said wherever a result is."""

import math
from collections.abc import Iterable
from typing import Any

# Of a cross-entropy, in nats per example: guessing among 1,000 classes costs 6.9, and 1e6 would take logits that differ
# by a million, whose float32 gradients mean nothing any more.
LOSS_BOUND = 1e6
HEADLINES = ("accuracy", "mji", "f1")


def first_divergence(evaluations: Iterable[Any]) -> str:
    """Return in words the first evaluation of the global model that shows divergence; empty when none does.

    A model has diverged when its loss on any split, or its headline metric, is not finite, or its loss is above
    `LOSS_BOUND`.

    Parameters
    ----------
    evaluations : iterable of rows
        With the fields of `sfsim.ledger.EvaluationRecord`.

    Examples
    --------
    >>> from sfsim.ledger import EvaluationRecord
    >>> first_divergence([EvaluationRecord(3, 9.5, "train", "on", "loss", 1e21, "")])
    'diverged in round 3: train loss 1e+21, beyond 1e+06'
    >>> first_divergence([EvaluationRecord(1, 2.0, "test", "on", "loss", 1e5, "")])
    ''
    """
    for row in evaluations:
        if row.client or row.metric not in ("loss", *HEADLINES):
            continue
        where = f"diverged in round {row.round}: {row.split} {row.metric} {row.value:.4g}"
        if not math.isfinite(row.value):
            return where
        if row.metric == "loss" and row.value > LOSS_BOUND:
            return f"{where}, beyond {LOSS_BOUND:g}"
    return ""
