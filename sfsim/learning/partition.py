"""Deal a training split out to the clients, and a client's share into minibatches."""

from collections.abc import Sequence

import numpy as np

from sfsim.errors import ConfigError
from sfsim.learning.declarations import AnyPartition, Counts, Dirichlet, Folders, Fractions

_REDRAWS = 1000


def partition(
    targets: np.ndarray,
    spec: AnyPartition,
    num_clients: int,
    rng: np.random.Generator,
    folders: Sequence[np.ndarray] | None = None,
    place: str = "[partition]",
) -> list[np.ndarray]:
    """Deal examples out to clients.

    Parameters
    ----------
    targets : array of int64 (N,)
        What `Dirichlet` makes unequal, one per training example: ``Dataset.partition_labels``.
    spec : AnyPartition
        How to deal.
    num_clients : int
        How many clients there are.
    rng : Generator
        The only luck.
    folders : sequence of arrays, optional
        ``Dataset.client_indices``, for the kind ``"folders"``.
    place : str
        Where `spec` was written, for the error.

    Returns
    -------
    list of arrays of int64
        Sorted positions in the training split, disjoint, one array per client, none empty.

    Raises
    ------
    ConfigError
        Another number of counts or folders than clients, more examples asked for than there are, or no draw
        that gives every client ``min_examples``.
    """
    if len(targets) < num_clients:
        expected = f"at least one training example for each of the {num_clients} clients"
        raise ConfigError(place, f"{len(targets)} training examples", expected)
    if isinstance(spec, Folders):
        if folders is None:
            raise ConfigError(f"{place} kind", "'folders'", "a data set with one folder per client")
        _same_length(len(folders), num_clients, f"{place} kind", "client folders")
        return [np.sort(np.asarray(share)) for share in folders]
    if isinstance(spec, Dirichlet):
        return _dirichlet(np.asarray(targets), spec, num_clients, rng, place)
    if isinstance(spec, Counts):
        _same_length(len(spec.counts), num_clients, f"{place} counts", "numbers")
        sizes = np.asarray(spec.counts)
        if sizes.sum() > len(targets):
            found, expected = (
                f"{sizes.sum()} examples in all",
                f"at most the {len(targets)} of the training split",
            )
            raise ConfigError(f"{place} counts", found, expected)
    elif isinstance(spec, Fractions):
        _same_length(len(spec.fractions), num_clients, f"{place} fractions", "numbers")
        sizes = _apportion(np.asarray(spec.fractions), len(targets))
    else:
        sizes = _apportion(np.ones(num_clients), len(targets))
    dealt = rng.permutation(len(targets))[: sizes.sum()]
    return [np.sort(share) for share in np.split(dealt, np.cumsum(sizes)[:-1])]


def minibatches(indices: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Shuffle `indices` and cut them into minibatches; a last, smaller one is kept.

    >>> [len(batch) for batch in minibatches(np.arange(5), 2, np.random.default_rng(0))]
    [2, 2, 1]
    """
    shuffled = rng.permutation(indices)
    return np.split(shuffled, range(batch_size, len(shuffled), batch_size))


def _dirichlet(
    targets: np.ndarray, spec: Dirichlet, num_clients: int, rng: np.random.Generator, place: str
) -> list[np.ndarray]:
    for _ in range(_REDRAWS):
        owner = np.empty(len(targets), dtype=np.int64)
        for label in np.unique(targets):
            members = rng.permutation(np.flatnonzero(targets == label))
            shares = rng.dirichlet(np.full(num_clients, spec.alpha))
            borders = (np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            owner[members] = np.searchsorted(borders, np.arange(len(members)), side="right")
        if np.bincount(owner, minlength=num_clients).min() >= spec.min_examples:
            return [np.flatnonzero(owner == client) for client in range(num_clients)]
    raise ConfigError(
        f"{place} alpha",
        f"{spec.alpha:g}, with which none of {_REDRAWS} draws gave each of {num_clients} clients "
        f"{spec.min_examples} examples",
        "a larger alpha, a smaller min_examples or fewer clients",
    )


def _apportion(shares: np.ndarray, total: int) -> np.ndarray:
    # One each, then largest remainders over the rest (Hamilton's method).
    exact = shares / shares.sum() * (total - len(shares))
    sizes = np.floor(exact).astype(np.int64)
    for client in np.argsort(sizes - exact, kind="stable")[: total - len(shares) - sizes.sum()]:
        sizes[client] += 1
    return sizes + 1


def _same_length(found: int, num_clients: int, place: str, what: str) -> None:
    if found != num_clients:
        raise ConfigError(place, f"{found} {what}", f"{num_clients}, one per client")
