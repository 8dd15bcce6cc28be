"""Gradient gates: when a gradient is not worth its message (Ayad et al.)."""

from math import exp
from typing import Annotated, Literal

from pydantic import Field

from sfsim.declaration import declaration


@declaration
class StaticGate:
    """Let a gradient through when the loss of its minibatch is above a threshold.

    Otherwise nobody steps on that minibatch's gradient and one byte says so; BatchNorm statistics have moved all
    the same. With labels at the main server, the server steps nevertheless: it has its gradient.

    Parameters
    ----------
    threshold : float
        Loss; 0 lets everything through.

    Source
    ------
    A. Ayad, M. Renner, A. Schmeink, "Improving the communication and computation efficiency of split learning for
    IoT applications", GLOBECOM 2021, as in the authors' code for S-ECG; U-shaped as SplitFedZip re-implements it
    (arXiv:2412.17150, M1 and M2), without its leak of skipped gradients into later steps.
    """

    kind: Literal["static"] = "static"
    threshold: Annotated[float, Field(ge=0)]

    def probability(self, loss: float, epoch: int, epochs: int) -> float:
        """Return how likely a gradient passes; `epoch` counts from 0."""
        return float(loss > self.threshold)


@declaration
class AdaptiveGate:
    """Let gradients through by chance, ever fewer from epoch to epoch.

    Parameters
    ----------
    law : {"linear", "sigmoid"}
        With e of E epochs over, the chance is (E - e) / E or 1 / (1 + exp(-(E / 2 - e) / 3)).

    Source
    ------
    As `StaticGate`; the authors' code for S-ECG.
    """

    kind: Literal["adaptive"] = "adaptive"
    law: Literal["linear", "sigmoid"] = "linear"

    def probability(self, loss: float, epoch: int, epochs: int) -> float:
        """Return how likely a gradient passes; `epoch` counts from 0.

        >>> gate = AdaptiveGate(law="sigmoid")
        >>> [round(gate.probability(1.0, epoch, 30), 4) for epoch in (0, 15, 30)]
        [0.9933, 0.5, 0.0067]
        """
        if self.law == "linear":
            return (epochs - epoch) / epochs
        return 1 / (1 + exp(-(epochs / 2 - epoch) / 3))


AnyGate = Annotated[StaticGate | AdaptiveGate, Field(discriminator="kind")]
