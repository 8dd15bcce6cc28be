"""Feature-wise: columns of the batch dropped by chance, the others quantised within a budget (SplitFC)."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec import feature_quantiser as fwq
from sfsim.codec.base import Codec, Coded, GradientPlace, saturate, single
from sfsim.codec.frame import Buffer
from sfsim.cost import Cost
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError


@declaration
class FeatureWise(Codec):
    """Keep some features of the batch, those that vary more likely, and quantise them feature by feature.

    A feature is a column of the batch (B, D) of flattened samples. In training each is kept with a probability
    p that follows its deviation over the batch and divided by p, so that the mean is right; the expected number
    kept is D / reduction. In evaluation all are kept. With `bits_per_entry`, the kept columns of largest range
    are quantised between end points on a common grid, the others sent as their mean, with the levels and the
    division between the two that give the least error within the budget. The gradient returns for the kept
    columns alone, as a matrix.

    Parameters
    ----------
    reduction : float
        Features for each one that is kept, 1 (no dropout) or more.
    dropout : {"adaptive", "random", "deterministic"}
        Probabilities by deviation; all equal; or always those of largest deviation, not divided by anything.
    bits_per_entry : float, optional
        Budget for everything that is sent, for each of the B D entries; without it kept columns are float32.
    normalise : bool
        Deviations are of values scaled to 0 to 1 in each channel (axis 1).

    Source
    ------
    SplitFC (arXiv:2307.10805v2), derived anew: no official code is public.
    """

    kind: Literal["feature-wise"] = "feature-wise"
    reduction: Annotated[float, Field(ge=1)] = 8.0
    dropout: Literal["adaptive", "random", "deterministic"] = "adaptive"
    bits_per_entry: Annotated[float, Field(gt=0)] | None = None
    normalise: bool = True
    encode_passes: ClassVar[float] = 5

    def __post_init__(self) -> None:
        if self.reduction == 1 and self.bits_per_entry is None:
            raise misfit("bits_per_entry", "nothing", "a number, because reduction = 1 drops nothing")

    @property
    def num_parts(self) -> int:  # type: ignore[misc,override]
        return 2 if self.bits_per_entry is None else 5

    @property
    def name(self) -> str:
        bits = [] if self.bits_per_entry is None else [f"{self.bits_per_entry:g}bit"]
        if self.reduction == 1:
            return f"fwq-{bits[0]}"
        law = [] if self.dropout == "adaptive" else [self.dropout]
        return "-".join([f"splitfc-{self.reduction:g}x", *law, *bits])

    @property
    def stochastic(self) -> bool:
        return self.reduction > 1 and self.dropout != "deterministic"

    @property
    def gradient_place(self) -> GradientPlace:
        return "support" if self.reduction > 1 else "input"

    def estimate_bits(self, numel: int) -> float:
        if self.bits_per_entry is not None:
            return self.bits_per_entry * numel
        return 32.0 * numel / self.reduction

    def encode_operations(self, shape: tuple[int, ...]) -> float:
        # Deviations; and for each of 17 divisions, codes and their error.
        trials = 0.0 if self.bits_per_entry is None else 17 * 12 / self.reduction
        return (8 + trials) * prod(shape)

    def encode_symbols(self, numel: int) -> float:
        return 0.0 if self.bits_per_entry is None else numel / self.reduction

    def decode_symbols(self, numel: int) -> float:
        return self.encode_symbols(numel)

    def correct_cost(self, numel: int) -> Cost:
        scales = self.stochastic
        return Cost(flops=numel, bytes_touched=8.0 * numel, launches=1) if scales else Cost()

    def check_shape(self, shape: tuple[int, ...], training: bool = True) -> None:
        rows, features = _matrix(shape)
        drops = training and self.reduction > 1
        if rows < 2 and drops and self.dropout != "random":
            raise CodecError(
                f"a batch of {rows} has no deviations to keep features by; dropout = 'random' needs none"
            )
        self._check_budget(rows, features, drops)

    def check_single(self, shape: tuple[int, ...]) -> None:
        self._check_budget(*_matrix(shape), self.reduction > 1)

    def _check_budget(self, rows: int, features: int, drops: bool) -> None:
        if self.bits_per_entry is not None:
            expected = features / self.reduction
            number = min(features, int(expected + 5 * sqrt(expected)) + 1) if drops else features
            needed = self._needed(features, number)
            if int(self.bits_per_entry * rows * features) < needed:
                raise CodecError(self._too_small(rows, features, needed))

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        values, saturated = single(x, self.name)
        rows, features = _matrix(x.shape)
        if x.size == 0:
            return Coded((b"",) * self.num_parts, 0.0)
        matrix = values.reshape(rows, features)
        kept = np.arange(features)
        scales = None
        if training and self.reduction > 1:
            kept, scales = self._drop(values, rng)
        columns = matrix[:, kept]
        if scales is not None:
            wide = columns.astype(np.float64) * scales[kept]
            with np.errstate(over="ignore"):
                columns, more = saturate(wide.astype(np.float32), wide)
            saturated += more
        marks = np.zeros(features if kept.size < features else 0, np.uint8)  # none where all are kept
        if marks.size:
            marks[kept] = 1
        if self.bits_per_entry is None:
            bits = 8 + marks.size + 32.0 * columns.size
            return Coded((_head(marks), columns.astype("<f4").tobytes()), bits, saturated, kept=scales)
        budget = int(self.bits_per_entry * x.size) - 8 - marks.size
        found = fwq.plan(np.ascontiguousarray(columns.T), budget)
        if found is None:
            needed = self._needed(features, kept.size)
            raise CodecError(self._too_small(rows, features, needed))
        plan, codes, mean_codes = found
        parts, bits = fwq.pack(plan, codes, mean_codes)
        head = _head(marks, plan.two_stage.astype(np.uint8))
        return Coded((head, *parts), 8.0 + marks.size + kept.size + bits, saturated, kept=scales)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        rows, features = _matrix(shape)
        if prod(shape) == 0:
            if any(len(part) for part in parts):
                raise CodecError("an empty tensor came with bytes of content")
            return np.zeros(shape, dtype)
        kept, two_stage = self._read_head(parts[0], features)
        limit = np.finfo(dtype).max
        if two_stage is None:
            if len(parts[1]) != 4 * rows * kept.size:
                raise CodecError(f"values: found {len(parts[1])} bytes, expected {4 * rows * kept.size}")
            columns: NDArray[Any] = np.frombuffer(parts[1], "<f4").reshape(rows, kept.size)
            if not np.isfinite(columns).all():
                raise CodecError("values: expected finite numbers")
        else:
            plan, codes, mean_codes = fwq.unpack(list(parts[1:]), two_stage, rows)
            columns = plan.values(codes, mean_codes).T
        out = np.zeros((rows, features), dtype)
        out[:, kept] = np.clip(columns, -limit, limit) if limit < np.inf else columns
        return out.reshape(shape)

    def support(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the flat indices of the kept columns, shape (B, kept)."""
        rows, features = _matrix(shape)
        kept = self._read_head(parts[0], features)[0] if prod(shape) else np.zeros(0, np.int64)
        return features * np.arange(rows)[:, None] + kept

    def correct(self, gradient: NDArray[Any], kept: NDArray[Any] | None) -> NDArray[Any]:
        """Divide each kept column by its probability, as the features were."""
        if kept is None:
            return gradient
        rows, features = _matrix(gradient.shape)
        return (gradient.reshape(rows, features) * kept).astype(np.float32).reshape(gradient.shape)

    def facts(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return ``kept`` and, quantised, ``two_stage``, ``levels``, ``mean_levels``."""
        if prod(shape) == 0:
            return {"kept": []}
        rows, features = _matrix(shape)
        kept, two_stage = self._read_head(parts[0], features)
        told: dict[str, Any] = {"kept": kept.tolist()}
        if two_stage is not None:
            levels, mean_levels = fwq.unpack(list(parts[1:]), two_stage, rows)[0].levels()
            told |= {
                "two_stage": kept[two_stage].tolist(),
                "levels": levels.tolist(),
                "mean_levels": mean_levels,
            }
        return told

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        if prod(shape) == 0:
            return 0.0
        rows, features = _matrix(shape)
        kept, two_stage = self._read_head(parts[0], features)
        head = 8.0 + (features if parts[0][0] else 0)
        if two_stage is None:
            return head + 32.0 * rows * kept.size
        plan = fwq.unpack(list(parts[1:]), two_stage, rows)[0]
        return head + kept.size + fwq.SIDE_BITS + sum(plan.sizes())

    def probabilities(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability with which each feature of a batch is kept."""
        features = _matrix(values.shape)[1]
        expected = features / self.reduction
        if self.dropout == "random":
            return np.full(features, expected / features)
        sigma = self.deviations(values)
        if not sigma.any():
            return np.full(features, expected / features)
        floor = max(0.0, (expected * sigma.max() - sigma.sum()) / (features - expected))
        return np.minimum(1.0, expected * (sigma + floor) / (sigma.sum() + features * floor))

    def deviations(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the standard deviation of each feature over the batch."""
        wide = values.astype(np.float64)
        if self.normalise:
            axes = (0, *range(2, wide.ndim)) if wide.ndim > 2 else tuple(range(wide.ndim))
            low, high = wide.min(axis=axes, keepdims=True), wide.max(axis=axes, keepdims=True)
            wide = (wide - low) / np.where(high > low, high - low, 1.0)
        columns = wide.reshape(_matrix(values.shape))
        # Of equal values 0, and not what the rounding of their mean leaves.
        return np.where(columns.max(axis=0) > columns.min(axis=0), columns.std(axis=0), 0.0)

    def _drop(
        self, values: NDArray[np.float32], rng: np.random.Generator | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """Return the kept columns, ascending, and what each column is multiplied by (0 where it is dropped)."""
        features = _matrix(values.shape)[1]
        if self.dropout == "deterministic":
            number = max(1, round(features / self.reduction))
            kept = np.sort(np.argsort(-self.deviations(values), kind="stable")[:number])
            return kept, None
        p = self.probabilities(values)
        assert rng is not None
        kept = np.flatnonzero(rng.random(features) < p)
        if kept.size == 0:
            kept = np.array([int(np.argmax(p))])
        scales = np.zeros(features, np.float32)
        scales[kept] = np.minimum(1 / p[kept], np.finfo(np.float32).max)
        return kept, scales

    def _needed(self, features: int, number: int) -> int:
        """Return the bits without which `number` kept columns cannot be sent."""
        return 8 + (features if number < features else 0) + fwq.smallest_bits(number)

    def _too_small(self, rows: int, features: int, needed: int) -> str:
        assert self.bits_per_entry is not None
        return (
            f"bits_per_entry = {self.bits_per_entry:g} is {int(self.bits_per_entry * rows * features)} bits "
            f"for {rows} samples of {features} features; the smallest budget is {needed} bits, "
            f"{needed / (rows * features):.4g} an entry"
        )

    def _read_head(self, head: Buffer, features: int) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """Return the kept columns and, quantised, which of them are two-stage."""
        if len(head) < 1 or head[0] > 1:
            raise CodecError("keep vector: expected a byte 0 or 1 first")
        whole, quantised = head[0] == 0, self.bits_per_entry is not None
        least = 1 + packing.num_bytes(0 if whole else features, 1)
        if len(head) < least:
            raise CodecError(f"keep vector: found {len(head)} bytes, expected at least {least}")
        bits = np.unpackbits(np.frombuffer(head[1:], np.uint8))
        kept = np.arange(features) if whole else np.flatnonzero(bits[:features])
        if kept.size == 0:
            raise CodecError("keep vector: found no column")
        start = 0 if whole else features
        total = start + (kept.size if quantised else 0)
        if len(head) != 1 + packing.num_bytes(total, 1):
            raise CodecError(
                f"keep vector: found {len(head)} bytes, expected {1 + packing.num_bytes(total, 1)}"
            )
        return kept, bits[start:total].astype(bool) if quantised else None


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (B, D); fewer than two axes are one sample."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def _head(*marks: NDArray[np.uint8]) -> bytes:
    """Return a byte that says whether a keep vector follows, it, and the types of the kept columns."""
    return bytes([marks[0].size > 0]) + np.packbits(np.concatenate(marks)).tobytes()
