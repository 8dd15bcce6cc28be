"""A chain of named stages: the shape every model has here, so that it can be cut between any two stages."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward


class Stage(nn.Module):
    """One stage: ``body(concatenate(before(x), skip))``.

    Parameters
    ----------
    body : nn.Module
        What the stage computes.
    before : nn.Module, optional
        Applied to the input before a skip is joined (the up-convolution of a U-Net).
    saves : str, optional
        Keep the stage's output as the skip of this name as well.
    uses : str, optional
        Join the skip of this name behind the input, along the channels.
    """

    def __init__(
        self,
        body: nn.Module,
        before: nn.Module | None = None,
        saves: str | None = None,
        uses: str | None = None,
    ) -> None:
        super().__init__()
        self.body, self.before, self.saves, self.uses = body, before, saves, uses

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to the stage's output, with `skip` when the stage uses one."""
        if self.before is not None:
            x = self.before(x)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.body(x)  # type: ignore[no-any-return]


class Part(nn.Module):
    """Consecutive stages of a model; the whole model is the part that holds all of them.

    Attributes
    ----------
    names : tuple of str
        Names of the stages, in order.
    skips_in, skips_out : tuple of str
        Skips it needs from an earlier part, and skips it leaves to a later one.
    """

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        saved = [stage.saves for stage in stages.values() if stage.saves]
        used = [stage.uses for stage in stages.values() if stage.uses]
        self.skips_in = tuple(name for name in used if name not in saved)
        self.skips_out = tuple(name for name in saved if name not in used)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages, in order."""
        return tuple(self.stages)

    @property
    def skips(self) -> dict[str, tuple[str, str]]:
        """For each skip inside, the stage that saves it and the stage that uses it."""
        saves = {stage.saves: name for name, stage in self.stages.items() if stage.saves}
        uses = {stage.uses: name for name, stage in self.stages.items() if stage.uses}
        return {skip: (saves[skip], uses[skip]) for skip in saves if skip in uses}  # type: ignore[misc]

    def forward(
        self, x: Tensor, skips: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run all stages.

        Parameters
        ----------
        x : Tensor (N, C, H, W)
        skips : mapping of str to Tensor
            One tensor for each of `skips_in`.

        Returns
        -------
        Tensor, dict of str to Tensor
            The output, and one tensor for each of `skips_out`.
        """
        kept = dict(skips or {})
        for stage in self.stages.values():
            x = stage(x, kept.pop(stage.uses) if stage.uses else None)
            if stage.saves:
                kept[stage.saves] = x
        return x, kept


Chain = Part


def run_backward(outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Do what ``torch.autograd.backward(outputs, gradients)`` does, for gradients of the outputs' shapes.

    torch compares those shapes by its symbolic mathematics, whose import takes a second.
    """
    for output, gradient in zip(outputs, gradients, strict=True):
        assert output.shape == gradient.shape, (output.shape, gradient.shape)
    _engine_run_backward(
        tuple(outputs), tuple(gradients), False, False, (), allow_unreachable=True, accumulate_grad=True
    )
