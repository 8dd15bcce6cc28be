"""Latency laws: their moments, the luck that two codecs share, and the matrix of round-trip times."""

import numpy as np
import pytest
from scipy import stats

from sfsim.channel import (
    ConstantLatency,
    GammaLatency,
    LognormalLatency,
    RttMatrixLatency,
    UniformLatency,
    load_latency,
    parse_latency,
)
from sfsim.errors import ConfigError, NetworkError

LAWS = [
    (UniformLatency(low_s=0.01, high_s=0.03), stats.uniform(0.01, 0.02)),
    (GammaLatency(mean_s=0.05, std_s=0.02, least_s=0.01), stats.gamma(4, 0.01, 0.01)),
    (
        LognormalLatency(mean_s=0.05, std_s=0.02, least_s=0.01),
        stats.lognorm(np.sqrt(np.log(1.25)), 0.01, 0.04 / np.sqrt(1.25)),
    ),
]


def samples(law, count, seed=1, name="a->b"):
    drawn = law.realise(seed, name)
    return np.array([drawn.at(index) for index in range(count)])


@pytest.mark.parametrize(("law", "expected"), LAWS, ids=lambda item: getattr(item, "kind", ""))
def test_law(law, expected):
    found = samples(law, 20_000)
    assert stats.kstest(found, expected.cdf).pvalue > 1e-3
    assert found.mean() == pytest.approx(expected.mean(), rel=0.02)
    assert found.std() == pytest.approx(expected.std(), rel=0.05)


@pytest.mark.parametrize("law", [law for law, _ in LAWS], ids=lambda law: law.kind)
def test_a_message_has_its_own_luck_whoever_asks(law):
    found = samples(law, 600)
    drawn = law.realise(1, "a->b")
    for index in (599, 0, 300, 299, 300, 255, 256):
        assert drawn.at(index) == found[index] == law.sample(1, "a->b", index)
    others = [samples(law, 5, seed=2), samples(law, 5, name="b->a")]
    assert not any(np.any(other == found[:5]) for other in others)


def test_without_jitter_every_message_takes_the_same():
    assert set(samples(ConstantLatency(latency_s=0.02), 300)) == {0.02}
    assert samples(GammaLatency(mean_s=0.02, std_s=0.0), 300) == pytest.approx(np.full(300, 0.02))
    assert samples(LognormalLatency(mean_s=0.02, std_s=0.0), 300) == pytest.approx(np.full(300, 0.02))


@pytest.fixture
def matrix(tmp_path):
    (tmp_path / "slice").write_text("0\t0.1\t0.3\n0.2\t0\t0.4\n0.6\t0.5\t0\n")
    return tmp_path / "slice"


def test_rtt_matrix(matrix):
    assert RttMatrixLatency(path=matrix, pair=(0, 2)).sample(1, "a->b", 7) == 0.15
    drawn = {RttMatrixLatency(path=matrix).sample(1, f"a{i}->b", 0) for i in range(60)}
    assert drawn == {0.05, 0.1, 0.15, 0.2, 0.25, 0.3}
    own = set(samples(RttMatrixLatency(path=matrix), 50))
    assert len(own) == 1
    (matrix.parent / "later").write_text("0 1 1\n1 0 1\n1 1 0\n")
    folder = RttMatrixLatency(path=matrix.parent, pair=(0, 2))
    assert set(samples(folder, 50)) == {0.15, 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n", "found 1 rows, expected a square matrix"),
        ("0 1\n1 0\n1 1\n", "found 3 rows, expected a square matrix"),
        ("0 1\n1 0 2\n", "line 2: found 3 numbers, expected 2 as before"),
        ("0 1\n-1 0\n", "line 2: expected round-trip times of at least 0"),
        ("0 fast\n1 0\n", "line 1: found 'fast', expected a number"),
        ("", "found 0 rows"),
    ],
)
def test_bad_matrices(tmp_path, text, message):
    (tmp_path / "m").write_text(text)
    with pytest.raises(NetworkError, match=f"m(:|,) {message}"):
        RttMatrixLatency(path=tmp_path / "m").sample(1, "a->b", 0)


def test_bad_pairs_and_folders(matrix):
    with pytest.raises(NetworkError, match=r"slice: found 3 nodes, pair = \[0, 3\] needs more"):
        RttMatrixLatency(path=matrix, pair=(0, 3)).sample(1, "a->b", 0)
    with pytest.raises(NetworkError, match=r"no such trace file. Did you mean 'slice'"):
        RttMatrixLatency(path=matrix.with_name("slise")).sample(1, "a->b", 0)
    (matrix.parent / "small").write_text("0 1\n1 0\n")
    with pytest.raises(NetworkError, match="small: another number of nodes than in slice"):
        RttMatrixLatency(path=matrix.parent).sample(1, "a->b", 0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "gama"}, "kind: found 'gama', expected 'constant', .* Did you mean 'gamma'"),
        ({"kind": "uniform", "low_s": 2.0, "high_s": 1.0}, "high_s: found 1, expected at least low_s = 2"),
        (
            {"kind": "gamma", "mean_s": 1.0, "std_s": 1.0, "least_s": 1.0},
            "mean_s: found 1, expected more than",
        ),
        ({"kind": "constant", "latency_ms": 5}, "latency_ms: found an unknown key.*latency_s = 0.005"),
    ],
)
def test_wrong_tables(table, message):
    with pytest.raises(ConfigError, match=f"a.toml, {message}"):
        parse_latency(table, "a.toml")


def test_a_path_starts_at_the_file_that_names_it(matrix):
    (matrix.parent / "lat.toml").write_text('kind = "rtt-matrix"\npath = "slice"\npair = [1, 2]\n')
    assert load_latency(matrix.parent / "lat.toml").sample(1, "a->b", 0) == 0.2


def test_a_matrix_in_ms_and_what_it_lacks(tmp_path):
    path = tmp_path / "rtt.txt"
    path.write_text("0 80 150\n80 0 0\n150 0 0\n")
    with pytest.raises(NetworkError, match=r"a round trip of 80 s .* expected at most 5 s; scale = 1e-3"):
        RttMatrixLatency(path=path, pair=(0, 1)).mean(1, "a->b")
    assert RttMatrixLatency(path=path, pair=(0, 1), scale=1e-3).mean(1, "a->b") == pytest.approx(0.04)
    with pytest.raises(NetworkError, match="found 0 between nodes 1 and 2"):
        RttMatrixLatency(path=path, pair=(1, 2), scale=1e-3).mean(1, "a->b")
    with pytest.raises(NetworkError, match="expected two different nodes"):
        RttMatrixLatency(path=path, pair=(1, 1), scale=1e-3).mean(1, "a->b")
    free = RttMatrixLatency(path=path, scale=1e-3)
    drawn = {round(free.mean(1, f"a{i}->b"), 6) for i in range(30)}
    assert drawn == {0.04, 0.075}
    assert free.notes() == [
        "rtt.txt: 2 of 6 round trips are 0 between different nodes, taken as not measured"
    ]
    path.write_text("0 0.1\n0.2 0\n")
    assert "1 pairs of nodes have another round trip" in RttMatrixLatency(path=path).notes()[0]
