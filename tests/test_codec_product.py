"""FedLite: the specification's tables, a slow twin, and the corrected gradient."""

import numpy as np
import pytest
from codec_contract import rng
from shelf import bit_string, check_corruptions, error, parts_of, ramp

from sfsim.codec import Chain, ProductQuantization, Zstd, parse, product_kernel
from sfsim.codec.product_quantization import _repeated
from sfsim.errors import CodecError, ConfigError

X = ramp(3, 8)


@pytest.mark.parametrize(
    ("keys", "bits", "size", "expected", "books", "indices"),
    [
        (
            {"centroids": 2},
            140,
            18,
            7.72872,
            [[(-1.25, -1.04167), (0.63542, 0.84375)]],
            "0 0 1 0 1 0 1 0 1 1 1 0",
        ),
        (
            {"centroids": 2, "groups": 2},
            268,
            34,
            5.71365,
            [[(-0.1875, -2.08333), (1.89583, 0)], [(-2.3125, 0), (-0.625, 1.6875)]],
            "0 0 1 0 1 1 1 0 1 0 1 0",
        ),
        (
            {"centroids": 4},
            280,
            35,
            2.53748,
            [[(-2.72917, -0.41667), (-1.46875, 0.84375), (1.90625, -2.09375), (-0.0625, 2.25)]],
            "0 2 3 1 2 2 3 0 2 3 1 0",
        ),
        (
            {"centroids": 3, "iterations": 1},
            216,
            27,
            6.44678,
            [[(-1.8, -0.75), (0.53125, -0.3125), (1.0625, 1.27083)]],
            "0 1 2 0 1 1 2 0 1 2 2 0",
        ),
    ],
)
def test_table(keys: dict, bits: int, size: int, expected: float, books: list, indices: str) -> None:
    codec = ProductQuantization(subvectors=4, **keys)
    encoded = codec.encode(X)
    told = codec.explain(encoded.payload)
    assert encoded.estimated_bits == bits and sum(told["parts"]) == size
    assert np.array(told["codebooks"]) == pytest.approx(np.array(books), abs=5.1e-6)
    width = max(1, (keys["centroids"] - 1).bit_length())
    text = "".join(f"{byte:08b}" for byte in parts_of(codec, encoded.payload)[1])
    found = [str(int(text[at : at + width], 2)) for at in range(0, 12 * width, width)]
    assert " ".join(found) == indices
    assert error(codec, X) == pytest.approx(expected, abs=5.1e-6)


def test_corrected_gradient() -> None:
    codec = ProductQuantization(subvectors=4, centroids=2, correction=0.1)
    encoded = codec.encode(X)
    assert codec.gradient_place == "input" and codec.gradient_support(encoded.payload) is None
    found = codec.correct(np.ones_like(X), encoded.kept)
    expected = [0.8125, 1.02292, 1.275, 0.85417, 0.91771, 1.12812, 0.9375, 1.14792]
    assert found[0] == pytest.approx(expected, abs=5.1e-6)
    # It is the gradient of loss + correction / 2 * |z - decoded|^2 with the decoded tensor held constant.
    decoded = codec.decode(encoded.payload).astype(np.float64)
    z, step = X.astype(np.float64), 1e-5
    penalty = lambda at: 0.05 * ((at - decoded) ** 2).sum()  # noqa: E731
    for i in range(8):
        shift = np.zeros_like(z)
        shift[1, i] = step
        assert found[1, i] - 1 == pytest.approx(
            (penalty(z + shift) - penalty(z - shift)) / 2 / step, abs=1e-6
        )
    assert ProductQuantization(subvectors=4, centroids=2, correction=0).encode(X).kept is None


def test_published_vector() -> None:
    """Its published centres (0,0), (1,2) are a fixed point of error 2; this start finds the optimum, 4/3."""
    codec = ProductQuantization(subvectors=2, centroids=2)
    encoded = codec.encode(np.array([[0, 0, 1, 1], [0, 0, 1, 3]], np.float32))
    assert encoded.estimated_bits == 132
    third = 1 / 3
    assert codec.decode(encoded.payload) == pytest.approx(
        np.array([[third] * 4, [third, third, 1, 3]]), abs=1e-7
    )


def twin(x: np.ndarray, codec: ProductQuantization) -> tuple[list[bytes], np.ndarray]:
    """Return parts and the reconstruction, in float64 throughout."""
    rows = x.reshape(x.shape[0], -1).astype(np.float64)
    samples, d = rows.shape
    q, length, each = codec.subvectors, d // codec.subvectors, codec.subvectors // codec.groups
    books, codes, out = b"", [], np.zeros((samples, q, length))
    for r in range(codec.groups):
        mine = [j for j in range(q) if j * codec.groups // q == r]
        assert len(mine) == each
        vectors = rows.reshape(samples, q, length)[:, mine].reshape(-1, length)
        sums = np.zeros(len(vectors))
        for j in range(length):
            sums += vectors[:, j]
        order = np.argsort(sums, kind="stable")
        ranks = [int((i + 0.5) * len(vectors) / codec.centroids) for i in range(codec.centroids)]
        centres, before = vectors[order[ranks]].copy(), None

        def assign(centres: np.ndarray, vectors: np.ndarray = vectors) -> np.ndarray:
            distances = np.zeros((len(vectors), len(centres)))
            for j in range(vectors.shape[1]):
                distances += (vectors[:, j, None] - centres[None, :, j]) ** 2
            return distances.argmin(axis=1)

        for _ in range(codec.iterations):
            nearest = assign(centres)
            if before is not None and (nearest == before).all():
                break
            before = nearest
            for c in range(codec.centroids):
                members = vectors[nearest == c]
                if len(members):
                    centres[c] = (0.0 + np.cumsum(members, axis=0)[-1]) / len(members)
        centres = centres.astype(np.float32)
        nearest = assign(centres.astype(np.float64))
        books += centres.astype("<f4").tobytes()
        codes += [(int(n), (codec.centroids - 1).bit_length()) for n in nearest]
        out[:, mine] = centres[nearest].reshape(samples, each, length)
    return [books, bit_string(codes)], out.reshape(x.shape)


@pytest.mark.parametrize("trial", range(50))
def test_twin_and_sizes(trial: int) -> None:
    draw = np.random.default_rng(trial)
    groups, each, length, samples = (int(n) for n in draw.integers(1, [4, 12, 8, 9]))
    x = draw.standard_normal((samples, groups * each, length)).astype(np.float32) * 10.0 ** int(trial % 7 - 3)
    x = np.maximum(x, 0) if trial % 2 else np.round(x, 1)  # ties
    x = x.astype(np.float32)
    codec = ProductQuantization(
        subvectors=groups * each, groups=groups, centroids=int(draw.integers(1, 20)), iterations=1 + trial % 6
    )
    encoded = codec.encode(x)
    parts, y = twin(x, codec)
    d, q, levels = groups * each * length, groups * each, codec.centroids
    assert encoded.estimated_bits == 32 * d * levels * groups / q + samples * q * (levels - 1).bit_length()
    assert parts_of(codec, encoded.payload) == parts
    assert np.array_equal(codec.decode(encoded.payload), y)


@pytest.mark.parametrize("trial", range(60))
def test_nearest_centres_are_those_of_float64(trial: int) -> None:
    """Of every magnitude, with ties, repeated centres and centres that float32 cannot tell apart."""
    draw = np.random.default_rng(trial)
    length, number, levels = (int(n) for n in draw.integers(1, [21, 1500, 40]))
    length = 4 if trial % 2 else length
    scale = [1e-30, 1e-3, 1.0, 1e10, 1e19, 3e37][trial % 6]
    x = draw.integers(-2, 3, (number, length)) if trial % 3 == 0 else draw.standard_normal((number, length))
    x = (x * scale).astype(np.float32)
    centres = x[draw.integers(0, number, levels)].astype(np.float64)
    if trial % 4 == 1:
        centres += draw.standard_normal(centres.shape) * scale * 1e-8
    columns, nearest = np.ascontiguousarray(x.T), np.full(number, -1, np.int32)
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    product_kernel.assign(columns, norms, centres, _repeated(centres), nearest)
    distances = np.zeros((number, levels))
    for j in range(length):
        distances += (x[:, j].astype(np.float64)[:, None] - centres[:, j]) ** 2
    assert nearest.tolist() == distances.argmin(axis=1).tolist()


def test_values_beyond_the_squares_of_float32() -> None:
    x = (np.random.default_rng(2).standard_normal((3, 40)) * 1e19).astype(np.float32)
    codec = ProductQuantization(subvectors=10, centroids=5, iterations=4)
    assert parts_of(codec, codec.encode(x).payload) == twin(x, codec)[0]


def test_large_with_ties_and_repeated_centres() -> None:
    """Half of the values are zero: many starts are the same, and float32 alone could not tell who is nearest."""
    x = np.maximum(np.random.default_rng(0).standard_normal((4, 8, 16, 16)), 0).astype(np.float32)
    codec = ProductQuantization(subvectors=1024, centroids=16, iterations=4)
    encoded = codec.encode(x)
    parts, y = twin(x, codec)
    assert parts_of(codec, encoded.payload) == parts
    assert np.array_equal(codec.decode(encoded.payload), y)


def test_corruptions() -> None:
    check_corruptions(ProductQuantization(subvectors=4, groups=2, centroids=3), X, rng)


def test_behind_a_byte_stage_with_large_codebooks() -> None:
    codec = Chain(stages=(ProductQuantization(subvectors=1, centroids=64), Zstd()))
    assert np.array_equal(codec.decode(codec.encode(X).payload), X)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"groups.*a divisor of subvectors, which is 4"):
        parse({"kind": "product-quantization", "subvectors": 4, "centroids": 2, "groups": 3}, "x")
    with pytest.raises(CodecError, match="samples of 8 elements cannot be cut into 3 equal subvectors"):
        ProductQuantization(subvectors=3, centroids=2).encode(X)
