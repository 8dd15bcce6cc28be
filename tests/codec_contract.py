"""The codec contract as functions: what every codec keeps for every tensor, whatever it does inside.

Test files list codecs and tensors only; the rules are here (and in words in `sfsim.codec.base`).
"""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import sfsim.codec
from sfsim import seeds
from sfsim.codec import Codec, FeatureWise, Learned, ProductQuantization
from sfsim.codec.frame import Frame
from sfsim.codec.selecting import count_kept
from sfsim.errors import CodecError

CATALOGUE = Path(__file__).resolve().parents[1] / "codecs"
EVERY_ENTRY = {path.stem: sfsim.codec.load(path) for path in sorted(CATALOGUE.glob("*.toml"))}
# Learned codecs code with weights, not by their declaration alone: tests/test_learned_*.py.
ENTRIES = {stem: codec for stem, codec in EVERY_ENTRY.items() if not isinstance(codec, Learned)}
# The pieces of a sample divide its size, and the tensors here are of all sizes: one piece, which the batch shares.
ENTRIES |= {
    stem: replace(codec, subvectors=1, centroids=3)
    for stem, codec in ENTRIES.items()
    if isinstance(codec, ProductQuantization)
}
# Nor do tiny tensors fit into a budget of half a bit an entry.
ENTRIES |= {
    stem: replace(codec, bits_per_entry=1e5 * codec.bits_per_entry)
    for stem, codec in ENTRIES.items()
    if isinstance(codec, FeatureWise) and codec.bits_per_entry
}


def rng() -> np.random.Generator:
    return seeds.stream(7, "codec", "contract")


def edge_tensors() -> dict[str, np.ndarray]:
    """Finite tensors on which codecs of the field crash or return garbage."""
    normal = rng().standard_normal((5, 6, 4, 3)).astype(np.float32)
    tiny = np.float32(1e-45)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "negative": -np.abs(normal) - 1,
        "empty batch": np.zeros((0, 6, 4, 3), np.float32),
        "empty axis": np.zeros((5, 0, 4), np.float32),
        "empty vector": np.zeros(0, np.float32),
        "scalar": np.array(3.25, np.float32),
        "one element": np.array([[-2.5]], np.float32),
        "constant": np.full((4, 3, 2), 0.1, np.float32),
        "zeros": np.zeros((3, 4, 5), np.float32),
        "negative zero": np.full((2, 3), -0.0, np.float32),
        "ties": np.tile(np.array([1, -1, 1, 0.5], np.float32), (4, 4)),
        "more kept than positive": np.eye(20, dtype=np.float32)[:1] * 2,
        "outlier": np.where(np.arange(60) == 17, 1e30, normal.ravel()[:60]).astype(np.float32).reshape(3, 20),
        "denormal": np.array([[0, tiny, -tiny, 5 * tiny], [tiny, 0, 3 * tiny, 0]], np.float32),
        "whole float32 range": np.array([[-3e38, 3e38, 0, 1]], np.float32),
        "half": normal.astype(np.float16),
        "half range": np.array([[65504, -65504, 6e-8, 1]], np.float16),
        "double": normal.astype(np.float64),
        "big endian": normal.astype(">f4"),
        "transposed": normal.transpose(3, 1, 0, 2),
        "strided": normal[::2, ::-1, 1:, ::2],
        "read only": np.broadcast_to(normal[:1], (3, 6, 4, 3)),
        "last partial batch": normal[:1],
        "vector": normal.ravel()[:37],
        "five axes": normal.reshape(5, 3, 2, 4, 3),
    }


EDGES = edge_tensors()


def check_round_trip(codec: Codec, x: np.ndarray, training: bool) -> None:
    """Same shape and type, finite, own memory, the input untouched, the error within the codec's bound."""
    before = x.copy()
    encoded = codec.encode(x, rng(), training)
    y = codec.decode(encoded.payload)
    assert y.shape == x.shape
    assert y.dtype == x.dtype.newbyteorder("=")
    assert y.flags.writeable and y.flags.c_contiguous and not np.shares_memory(x, y)
    assert np.isfinite(y).all()
    assert np.array_equal(x, before)
    assert isinstance(encoded.payload, bytes)
    error = np.abs(y.astype(np.float64) - x)
    assert (error <= error_bound(codec, x.astype(np.float64)) * (1 + 1e-3) + 1e-44).all()
    if codec.lossless and x.dtype.itemsize <= 4:
        assert y.astype(y.dtype).tobytes() == np.ascontiguousarray(x.astype(y.dtype)).tobytes()


def error_bound(codec: Codec, x: np.ndarray) -> np.ndarray:
    """Return the largest error that the codec's formula allows, per element (float64, shape of x)."""
    if codec.kind == "chain":
        return error_bound(codec.stages[1 if codec.feeds_back else 0], x)
    size = np.abs(x)
    largest = size.max(initial=0.0)
    half_step = np.abs(x) * 2.0**-10 + 2.0**-24  # of a float16 value
    if codec.kind == "cast":
        relative = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[codec.dtype]
        over = np.maximum(size - np.finfo(np.float16).max, 0) if codec.dtype == "float16" else 0
        return size * relative + 2.0**-24 + over
    if codec.kind == "uniform":
        axes = tuple(a for a in range(x.ndim) if codec.per == "tensor" or x.ndim < 2 or a != 1)
        step = (
            (x.max(axes, keepdims=True) - x.min(axes, keepdims=True)) / (2**codec.bits - 1) if x.size else 0
        )
        return step / 2 + half_step
    if codec.kind == "qsgd":
        return largest / (2 ** (codec.bits - 1) - 1) + half_step + np.zeros(x.shape)
    if codec.kind == "mask-encoded":
        k = count_kept(1 - codec.sparsity, x.size)
        threshold = np.sort(size, axis=None)[::-1][:k].min(initial=np.inf) if k else 0.0
        return (
            np.minimum(size, threshold / (2**codec.mask_bits - 1)) + half_step
        )  # clamping costs a whole step
    if codec.kind == "topk":
        k = count_kept(codec.keep, x.size)
        return np.minimum(size, np.sort(size, axis=None)[::-1][:k].min(initial=np.inf)) + half_step
    if codec.kind == "channel-adaptive":
        return (x.max(initial=-np.inf) - x.min(initial=np.inf)) / 2 / (2**codec.min_bits - 1) + half_step
    if codec.kind == "feature-wise":
        # Dropped, or divided by a probability that may be tiny; alone, the quantiser stays on its grid.
        return (
            np.full(x.shape, np.inf)
            if codec.reduction > 1
            else x.max(initial=-np.inf) - x.min(initial=np.inf)
        )
    if codec.kind == "product-quantization":
        return x.max(initial=-np.inf) - x.min(initial=np.inf) + half_step
    if codec.kind == "frequency-aware":
        # A transform is a rotation: a coefficient's half step may gather on one element, or spread.
        whole = np.sqrt(np.square(x).sum()) if x.size else 0.0
        return np.sqrt(max(x.size, 1)) * whole / (2**codec.min_bits - 1) + half_step
    return size + half_step


def check_repeats(codec: Codec, x: np.ndarray) -> None:
    """The same tensor, layout aside, and the same stream give the same bytes."""
    first = codec.encode(x, rng(), True).payload
    native = x.astype(x.dtype.newbyteorder("=")).copy(order="C")
    assert first == codec.encode(native, rng(), True).payload
    assert codec.encode(x).payload == codec.encode(x).payload


def check_size(codec: Codec, x: np.ndarray) -> None:
    """The parts weigh what the formula says, rounded up to whole bytes; the frame is 12 to 20 bytes."""
    encoded = codec.encode(x, rng(), True)
    frame = Frame.unpack(encoded.payload, codec.kind, codec.wire_parts, codec.signature)
    parts = sum(len(part) for part in frame.parts)
    # Pieces that each fill their last byte: the mask and its signs; parts.
    spare = {
        "mask-encoded": 1,
        "frequency-aware": 2,
        "channel-adaptive": 2,
        "product-quantization": 1,
        "feature-wise": 4,
    }.get(codec.kind, 0)
    told = codec.explain(encoded.payload)
    assert told["estimated_bits"] == encoded.estimated_bits
    assert told["parts"] == [len(part) for part in frame.parts] and told["shape"] == list(x.shape)
    json.dumps(told)
    assert math.ceil(encoded.estimated_bits / 8) <= parts <= math.ceil(encoded.estimated_bits / 8) + spare
    assert len(encoded.payload) - parts <= 20
    if x.ndim == 4:
        assert len(encoded.payload) - parts >= 12


def check_refuses(codec: Codec, payload: bytes) -> None:
    """A payload that this codec did not make is a CodecError."""
    with pytest.raises(CodecError):
        codec.decode(payload)


def check_values(codec: Codec) -> None:
    """A codec is a value: its repr makes an equal one, equality and hash are those of the declaration."""
    again = eval(repr(codec), vars(sfsim.codec))
    assert again == codec and hash(again) == hash(codec) and again is not codec
    assert again.name == codec.name and again.signature == codec.signature


def check_costs(codec: Codec) -> None:
    """Encoding and decoding cost something even for nothing, and more for more."""
    sizes = (0, 1, 1000, 2_000_000)
    for costs in (
        [codec.encode_cost(numel, 4) for numel in sizes],
        [codec.decode_cost(numel, 20 + int(codec.estimate_bits(numel) / 8)) for numel in sizes],
    ):
        assert costs[0].bytes_touched > 0 and costs[0].launches > 0
        for less, more in pairwise(costs):
            assert more.bytes_touched > less.bytes_touched and more.flops > less.flops
            assert more.serial_symbols >= less.serial_symbols
