"""Partitions: what every kind keeps, how skewed Dirichlet is, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfsim import seeds
from sfsim.errors import ConfigError
from sfsim.learning.declarations import AnyPartition, Counts, Dirichlet, Folders, Fractions, Iid
from sfsim.learning.partition import minibatches, partition

TARGETS = np.arange(600) % 10
FOLDERS = [np.array([5, 1, 3]), np.array([2]), np.array([0, 4])]
KINDS: list[AnyPartition] = [
    Iid(),
    Dirichlet(alpha=0.5, min_examples=5),
    Counts(counts=(100, 1, 20)),
    Fractions(fractions=(0.7, 0.2, 0.1)),
    Folders(),
]


def deal(
    spec: AnyPartition, clients: int = 3, seed: int = 7, targets: np.ndarray = TARGETS
) -> list[np.ndarray]:
    return partition(targets, spec, clients, seeds.stream(seed, "partition"), FOLDERS)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_shares_are_disjoint_sorted_and_repeatable(spec: AnyPartition) -> None:
    shares = deal(spec)
    together = np.concatenate(shares)
    assert len(shares) == 3 and min(len(share) for share in shares) >= 1
    assert len(np.unique(together)) == len(together) and together.max() < 600
    assert all((np.diff(share) > 0).all() for share in shares)
    assert all(np.array_equal(a, b) for a, b in zip(shares, deal(spec), strict=True))
    if not isinstance(spec, Folders):
        assert not all(np.array_equal(a, b) for a, b in zip(shares, deal(spec, seed=8), strict=True))


def test_sizes() -> None:
    assert [len(share) for share in deal(Iid(), 7)] == [86, 86, 86, 86, 86, 85, 85]
    assert [len(share) for share in deal(Counts(counts=(100, 1, 20)))] == [100, 1, 20]
    # One each and the largest remainders of the other 597: 417.9, 119.4, 59.7.
    assert [len(share) for share in deal(Fractions(fractions=(7, 2, 1)))] == [419, 120, 61]
    # SplitFedZip's 6325/241/71/2359/9 on 60 examples: nobody is left without.
    published = Fractions(fractions=(6325, 241, 71, 2359, 9))
    assert [len(share) for share in deal(published, 5, targets=TARGETS[:60])] == [40, 3, 1, 15, 1]
    assert [list(share) for share in deal(Folders())] == [[1, 3, 5], [2], [0, 4]]


def test_dirichlet_deals_everything_and_is_the_more_skewed_the_smaller_alpha() -> None:
    def skew(alpha: float) -> float:
        shares = deal(Dirichlet(alpha=alpha), 5)
        assert sum(len(share) for share in shares) == 600
        return float(
            np.mean([np.bincount(TARGETS[share], minlength=10).max() / len(share) for share in shares])
        )

    assert skew(0.05) > 0.3 > skew(1) > skew(1000)
    assert skew(1000) < 0.12


def test_dirichlet_redraws_until_everybody_has_enough() -> None:
    shares = deal(Dirichlet(alpha=0.1, min_examples=40), 6)
    assert min(len(share) for share in shares) >= 40


@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 5))
def test_iid_and_fractions_deal_everything(total: int, clients: int, seed: int) -> None:
    if clients > total:
        return
    fractions = Fractions(fractions=tuple(1.0 + k for k in range(clients)))
    for spec in (Iid(), fractions):
        shares = deal(spec, clients, seed, np.zeros(total, dtype=np.int64))
        assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(total))
        assert min(len(share) for share in shares) >= 1


@pytest.mark.parametrize(
    ("spec", "clients", "text"),
    [
        (Counts(counts=(1, 2)), 3, "[partition] counts: found 2 numbers, expected 3, one per client"),
        (
            Counts(counts=(500, 100, 1)),
            3,
            "[partition] counts: found 601 examples in all, expected at most the 600 of the training split",
        ),
        (Fractions(fractions=(1,)), 3, "[partition] fractions: found 1 numbers, expected 3, one per client"),
        (Folders(), 4, "[partition] kind: found 3 client folders, expected 4, one per client"),
        (
            Dirichlet(alpha=0.01, min_examples=100),
            6,
            "[partition] alpha: found 0.01, with which none of 1000 draws gave each of 6 clients "
            "100 examples, expected a larger alpha, a smaller min_examples or fewer clients",
        ),
        (
            Iid(),
            601,
            "[partition]: found 600 training examples, "
            "expected at least one training example for each of the 601 clients",
        ),
    ],
)
def test_what_cannot_be_dealt(spec: AnyPartition, clients: int, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        deal(spec, clients)
    assert str(error.value) == text


def test_folders_need_a_data_set_with_folders() -> None:
    with pytest.raises(ConfigError, match="expected a data set with one folder per client"):
        partition(TARGETS, Folders(), 3, np.random.default_rng(0))


def test_minibatches_hold_every_example_once_and_keep_the_last_partial_one() -> None:
    indices = np.arange(100, 110)
    batches = minibatches(indices, 4, seeds.stream(1, "minibatches"))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(np.concatenate(batches)) == list(indices)
    assert [len(batch) for batch in minibatches(indices, 5, seeds.stream(1, "x"))] == [5, 5]
    assert [len(batch) for batch in minibatches(indices, 64, seeds.stream(1, "x"))] == [10]
