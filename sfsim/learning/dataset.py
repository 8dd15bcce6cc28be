"""Examples in memory, and a data set as three splits of them."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sfsim.errors import ConfigError
from sfsim.learning.declarations import Cifar10, Cifar100, Mnist, Task

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Examples:
    """Examples of one split, kept as small as they were read.

    Attributes
    ----------
    stored_inputs : Tensor (N, C, H, W) or (N, C, L)
        uint8 (0 to 255) or float32 (already scaled).
    stored_targets : Tensor (N,), (N, H, W) or (N, K)
        Classes, uint8 or int64; with several labels 0 or 1 for each of K classes.
    normalisation : (Tensor (C,), Tensor (C,)), optional
        Mean and standard deviation, float32, by which batches are normalised.
    """

    stored_inputs: Tensor
    stored_targets: Tensor
    normalisation: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.stored_inputs)

    def __getitem__(self, positions: np.ndarray | slice) -> "Examples":
        """Return some of the examples, in the order of `positions`."""
        at = positions if isinstance(positions, slice) else torch.from_numpy(positions)
        return Examples(self.stored_inputs[at], self.stored_targets[at], self.normalisation)

    def batch(
        self,
        positions: np.ndarray | slice,
        device: torch.device | str = "cpu",
        augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return inputs, float32 (B, C, ...), and int64 targets (B,), (B, H, W) or (B, K), on `device`.

        Images are in [0, 1], or normalised; `augment` changes images in [0, 1] and targets before, on the CPU.
        """
        some = self[positions]
        inputs, targets = some.stored_inputs, some.stored_targets
        if augment is not None:
            inputs, targets = augment(_scaled(inputs), targets)
        return self.normalise(_scaled(inputs.to(device))), targets.to(device).long()

    def normalise(self, inputs: Tensor) -> Tensor:
        """Return inputs in [0, 1] (B, C, ...) as a model gets them, on the device they are on."""
        if self.normalisation is None:
            return inputs
        shape = (-1, *[1] * (inputs.ndim - 2))
        mean, std = (numbers.to(inputs.device).view(shape) for numbers in self.normalisation)
        return (inputs - mean) / std

    @cached_property
    def inputs(self) -> Tensor:
        """All inputs at once, float32 (N, C, ...); for large images rather ask for a `batch`."""
        return self.batch(slice(None))[0]

    @cached_property
    def targets(self) -> Tensor:
        """All targets at once, int64."""
        return self.stored_targets.long()


@dataclass(frozen=True)
class Dataset:
    """A data set in three splits.

    Attributes
    ----------
    train, validation, test : Examples
        Disjoint; no lesion (HAM10000, official layout) is in two of them.
    task : str
        ``"classification"``, ``"segmentation"`` or ``"multi-label"``.
    num_classes, in_channels : int
    fingerprint : str
        SHA-256 (hex) of all three splits as they were decoded, in order.
    partition_labels : array of int64 (N_train,)
        What a Dirichlet partition makes unequal: the class (of several the first one); for masks the diagnosis
        where the data set has one, otherwise which fifth of the training split the share of foreground pixels
        falls into.
    client_indices : tuple of arrays of int64, or None
        Positions in `train` that belong to each client, where the data set has one folder per client.
    notes : tuple of str
        What was left out or never occurs.
    """

    train: Examples
    validation: Examples
    test: Examples
    task: Task
    num_classes: int
    in_channels: int
    fingerprint: str
    partition_labels: np.ndarray
    client_indices: tuple[np.ndarray, ...] | None = None
    notes: tuple[str, ...] = ()


def _scaled(inputs: Tensor) -> Tensor:
    return inputs / 255 if inputs.dtype == torch.uint8 else inputs


def draw_roles(
    groups: np.ndarray, test_fraction: float, validation_fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Say for each example which split it is in, keeping the examples of one group together.

    Parameters
    ----------
    groups : array (N,)
        A group's name per example (a lesion; or every example its own).
    test_fraction : float
        Share of all examples that is tested on; 0 for none.
    validation_fraction : float
        Share of the others that is validated on; 0 for none.
    rng : Generator

    Returns
    -------
    array of int64 (N,)
        TRAIN, VALIDATION or TEST; a fraction above zero gives at least one group.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    roles = np.full(len(sizes), TRAIN)
    tested = before < _at_least_one(test_fraction, len(groups))
    rest = len(groups) - sizes[order][tested].sum()
    validated = before < len(groups) - rest + _at_least_one(validation_fraction, rest)
    roles[order[validated]] = VALIDATION
    roles[order[tested]] = TEST
    return roles[group_of]


def assemble(
    inputs: np.ndarray,
    targets: np.ndarray,
    roles: np.ndarray,
    task: Task,
    num_classes: int,
    labels: np.ndarray | None = None,
    clients: np.ndarray | None = None,
    notes: Iterable[str] = (),
) -> Dataset:
    """Make the data set from arrays over all examples.

    Parameters
    ----------
    inputs : array (N, C, H, W) or (N, C, L), uint8 or float32
    targets : array (N,), (N, H, W) or (N, K), uint8 or int64
    roles : array of int64 (N,)
        From `draw_roles`.
    task, num_classes
        See `Dataset`.
    labels : array of int64 (N,), optional
        What a Dirichlet partition makes unequal; by default the class or the share of foreground.
    clients : array of int64 (N,), optional
        The client of each example.
    notes : iterable of str
        See `Dataset`.

    Raises
    ------
    ConfigError
        No training example is left.
    """
    train = roles == TRAIN
    if not train.any():
        raise ConfigError(
            "[data] test_fraction, validation_fraction",
            f"shares that leave none of the {len(roles)} examples for training",
            "smaller ones",
        )
    splits = {
        name: Examples(torch.from_numpy(inputs[roles == role]), torch.from_numpy(targets[roles == role]))
        for name, role in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
    }
    if labels is None:
        labels = targets if task == "classification" else _foreground_fifth(targets, train)
    client_indices = None
    if clients is not None:
        client_indices = tuple(
            np.flatnonzero(clients[train] == client) for client in np.unique(clients[train])
        )
    return Dataset(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        task=task,
        num_classes=num_classes,
        in_channels=inputs.shape[1],
        fingerprint=_fingerprint(splits.values()),
        partition_labels=labels[train].astype(np.int64),
        client_indices=client_indices,
        notes=tuple(notes),
    )


def assemble_given(
    inputs: np.ndarray,
    targets: np.ndarray,
    test_inputs: np.ndarray,
    test_targets: np.ndarray,
    spec: Cifar10 | Cifar100 | Mnist,
    validation_fraction: float,
    rng: np.random.Generator,
) -> Dataset:
    """Make a data set that brings its test split: the others are kept up to `max_examples`, and split by `rng`."""
    if spec.max_examples is not None and spec.max_examples < len(inputs):
        kept = np.sort(rng.permutation(len(inputs))[: spec.max_examples])
        inputs, targets = inputs[kept], targets[kept]
    roles = np.concatenate(
        [draw_roles(np.arange(len(inputs)), 0, validation_fraction, rng), np.full(len(test_inputs), TEST)]
    )
    return assemble(
        np.concatenate([inputs, test_inputs]),
        np.concatenate([targets, test_targets]),
        roles,
        spec.task,
        spec.num_classes,
    )


def _at_least_one(fraction: float, total: int) -> int:
    return max(1, round(fraction * total)) if fraction > 0 else 0


def _foreground_fifth(masks: np.ndarray, train: np.ndarray) -> np.ndarray:
    share = (masks > 0).mean(axis=(1, 2))
    return np.digitize(share, np.quantile(share[train], [0.2, 0.4, 0.6, 0.8]))


def _fingerprint(splits: Iterable[Examples]) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.stored_inputs, split.stored_targets):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy())
    return digest.hexdigest()
