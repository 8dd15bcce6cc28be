"""Latents: the three ways in which latents become a bitstream and come back, exactly.

A body is what both ends need besides the weights, then one rANS stream of all latents of the tensor. ``ae``: a
byte of leak, the smallest symbol (varint, sign in the last bit), how many follow it (varint). The others: two
bytes, for the hyperprior's latents and for the latents, each the leak (low half) and the alphabet (high half:
which of `REACHES`), and a byte of mode (last bit) and shift; the hyperprior's latents lead the stream. ``series-ae``
has no stream: its latents are float32.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.entropy import gaussian, mixture, rans
from sfsim.codec.entropy.context import LARGEST_SYMBOL, Context, Parameters
from sfsim.codec.entropy.factorised import Factorised
from sfsim.codec.entropy.layer import LARGEST, LATENT_BITS, Layer
from sfsim.codec.entropy.mixture import MAX_LEAK
from sfsim.codec.entropy.rans import TOTAL
from sfsim.codec.entropy.tables import MEAN_BITS
from sfsim.codec.frame import Buffer, read_varint, varint
from sfsim.cost import Cost
from sfsim.errors import CodecError

Symbols = NDArray[np.int32]
Latents = NDArray[np.float32]
Shape = tuple[int, ...]

REACHES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 256, 1024, 2**14, LARGEST_SYMBOL)
"""Alphabets are symmetric: from minus one of these to it."""


class Body(NamedTuple):
    """What `encode` made: bytes, the latents as the decoder gets them (B, C, H, W), and their ideal bits."""

    data: bytes
    latents: Latents
    ideal_bits: float
    saturated: int


class Alphabet(NamedTuple):
    """The symbols of a tensor reach from `low` to `high`; `code` is the half byte that says so."""

    low: int
    high: int
    code: int

    @classmethod
    def of(cls, symbols: Symbols) -> "Alphabet":
        """Return the smallest alphabet that holds `symbols`."""
        largest = max(-int(symbols.min()), int(symbols.max()))
        return cls.coded(bisect_left(REACHES, largest))

    @classmethod
    def coded(cls, code: int) -> "Alphabet":
        """Return the alphabet of a half byte."""
        return cls(-REACHES[code], REACHES[code], code)

    @classmethod
    def read(cls, data: Buffer, at: int) -> "tuple[tuple[int, int, int], int]":
        """Return low, high and leak of a byte of the body, and what follows it.

        Raises
        ------
        CodecError
            When the body ends before, or the leak would leave nothing to the model.
        """
        byte, at = _byte(data, at)
        low, high, _ = cls.coded(byte >> 4)
        return _checked(low, high, byte & 15), at

    def write(self, leak: int) -> int:
        """Return the byte of the body."""
        return self.code << 4 | leak


class Candidate(NamedTuple):
    """Latents quantised in one mode, and all that coding them takes."""

    symbols: Symbols
    quantised: Symbols
    parameters: Parameters
    centred: bool
    alphabet: Alphabet
    leak: int
    shift: int

    @property
    def coding(self) -> tuple[Any, ...]:
        """Symbols, parameters, ends of the alphabet, leak, shift: the first arguments of `mixture.encode`."""
        return (self.symbols, *self.parameters, *self.alphabet[:2], self.leak, self.shift)

    def measure(self) -> float:
        """Return how many bits coding would take."""
        return float(mixture.measure(*self.coding))


@dataclass(eq=False)
class Simple:
    """Latents under a factorised model alone (codec ``ae``)."""

    model: Factorised

    def encode(self, y: Latents, z: Latents | None) -> Body:
        """Encode float32 latents (B, C, H, W)."""
        symbols, saturated = _centre(y, self.model.medians)
        low, high = int(symbols.min()), int(symbols.max())
        leak = self.model.calibrate(symbols, low, high)
        words = rans.room(symbols.size)
        state, at, bits = self.model.encode(symbols, low, high, leak, rans.START, words, words.size)
        zigzag = 2 * low if low >= 0 else -2 * low - 1
        side = bytes((leak,)) + varint(zigzag) + varint(high - low)
        return Body(side + rans.finish(state, words, at), self.restore(symbols), bits, saturated)

    def decode(self, data: Buffer, shape: Shape) -> Latents:
        """Decode latents of a shape; raise CodecError for a body that `encode` did not make."""
        leak, at = _byte(data, 0)
        zigzag, at = read_varint(data, at)
        span, at = read_varint(data, at)
        low = -(zigzag + 1) // 2 if zigzag % 2 else zigzag // 2
        alphabet = _checked(low, low + span, leak)
        state, words = rans.begin(data[at:])
        symbols, state, at = self.model.decode(shape, *alphabet, state, words, 0)
        rans.check_end(state, at, words)
        return self.restore(symbols)

    def restore(self, symbols: Symbols) -> Latents:
        """Return the latents that symbols stand for."""
        return symbols.astype(np.float32) + self.model.medians[:, None, None]

    def cost(self, shape: Shape) -> Cost:
        """Return what coding latents of a shape needs, either way: symbols one after another."""
        return Cost(serial_symbols=prod(shape), bytes_touched=8 * prod(shape), launches=2)

    def arrays(self) -> list[NDArray[Any]]:
        """Return all numbers that both ends must share."""
        model = self.model
        return [model.matrices, model.biases, model.factors, model.medians]


class Plain:
    """Latents as they are, float32, little endian (codec ``series-ae``)."""

    def encode(self, y: Latents, z: Latents | None) -> Body:
        """Encode float32 latents (B, C, L)."""
        return Body(y.astype("<f4").tobytes(), y, 32.0 * y.size, 0)

    def decode(self, data: Buffer, shape: Shape) -> Latents:
        """Decode latents of a shape; raise CodecError for a body that `encode` did not make."""
        if len(data) != 4 * prod(shape):
            raise CodecError(f"payload has {len(data)} bytes of latents, expected {4 * prod(shape)}")
        return np.frombuffer(data, "<f4").astype(np.float32).reshape(shape)

    def cost(self, shape: Shape) -> Cost:
        """Return what coding latents of a shape needs, either way: one copy."""
        return Cost(bytes_touched=8 * prod(shape), launches=1)

    def arrays(self) -> list[NDArray[Any]]:
        """Return all numbers that both ends must share: none."""
        return []


@dataclass(eq=False)
class Conditional:
    """Latents under Gaussians from a hyperprior, with or without an autoregressive context.

    Parameters
    ----------
    side : Simple
        The hyperprior's latents.
    hyper : list of Layer
        From the hyperprior's latents to parameters, or to features if there is a context.
    mode : {"auto", "round", "centred"}
    has_means : bool
    context : Context, optional
    """

    side: Simple
    hyper: list[Layer]
    mode: str
    has_means: bool
    context: Context | None = None

    def encode(self, y: Latents, z: Latents | None) -> Body:
        """Encode latents (B, C, H, W) and the hyperprior's."""
        assert z is not None
        model = self.side.model
        side_symbols, saturated = _centre(z, model.medians)
        side_low, side_high, _ = side_alphabet = Alphabet.of(side_symbols)
        side_leak = model.calibrate(side_symbols, side_low, side_high)
        features = self._features(side_symbols, y.shape[2:])
        columns = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
        candidates = [self._quantise(columns, features, centred) for centred in self._modes()]
        best = min(candidates, key=Candidate.measure) if len(candidates) > 1 else candidates[0]
        symbols, quantised, _, centred, alphabet, leak, shift = best
        words = rans.room(symbols.size + side_symbols.size)
        state, at, bits = mixture.encode(*best.coding, rans.START, words, words.size)
        state, at, side_bits = model.encode(side_symbols, side_low, side_high, side_leak, state, words, at)
        header = bytes((side_alphabet.write(side_leak), alphabet.write(leak), (shift & 0xFE) | centred))
        saturated += int(np.count_nonzero(np.abs(symbols) == LARGEST_SYMBOL))
        return Body(header + rans.finish(state, words, at), _real(quantised), bits + side_bits, saturated)

    def decode(self, data: Buffer, shape: Shape) -> Latents:
        """Decode latents of a shape; raise CodecError for a body that `encode` did not make."""
        batch, channels, height, width = shape
        side_alphabet, at = Alphabet.read(data, 0)
        alphabet, at = Alphabet.read(data, at)
        flags, at = _byte(data, at)
        centred = bool(flags & 1)
        shift = (flags & 0xFE) - (256 if flags > 127 else 0)
        if centred not in self._modes():
            raise CodecError("payload is coded in a mode that its codec does not use")
        state, words = rans.begin(data[at:])
        side_shape = (batch, len(self.side.model.medians), -(-height // 4), -(-width // 4))
        side_symbols, state, at = self.side.model.decode(side_shape, *side_alphabet, state, words, 0)
        features = self._features(side_symbols, (height, width))
        if self.context is None:
            parameters = self._split(features, channels)
            means = parameters.means
            if centred:
                parameters = parameters._replace(means=np.zeros_like(means))
            symbols = np.empty(batch * height * width * channels, np.int32)
            state, at = mixture.decode(symbols, *parameters, *alphabet, shift, state, words, at)
            quantised = (symbols << MEAN_BITS) + (means[0] if centred else 0)
            quantised = quantised.reshape(batch, height, width, channels)
        else:
            quantised, state, at = self.context.decode(
                (batch, height, width, channels), features, centred, *alphabet, shift, state, words, at
            )
        rans.check_end(state, at, words)
        return _real(quantised)

    def _modes(self) -> tuple[bool, ...]:
        """Return what `centred` may be."""
        if not self.has_means or self.mode == "round":
            return (False,)
        return (True,) if self.mode == "centred" else (False, True)

    def _features(self, side_symbols: Symbols, size: tuple[int, ...]) -> NDArray[Any]:
        """Return the hyperprior's outputs (B, H, W, F), cut to the size of the latents."""
        middle = np.rint(self.side.model.medians * 2.0**LATENT_BITS).astype(np.int64)
        whole = (side_symbols.astype(np.int64) << LATENT_BITS) + middle[:, None, None]
        x = np.clip(whole, -LARGEST, LARGEST).astype(np.int16).transpose(0, 2, 3, 1)
        for layer in self.hyper[:-1]:
            x = layer(x)
        x = self.hyper[-1](x, np.int32 if self.context is None else np.int16)
        return np.ascontiguousarray(x[:, : size[0], : size[1]])

    def _split(self, features: NDArray[np.int32], channels: int) -> Parameters:
        pixels = features.size // features.shape[3]
        shape = (1, pixels * channels)
        found = Parameters(np.zeros(shape, np.int32), np.empty(shape, np.int16), np.empty(shape, np.int32))
        gaussian.split(features.reshape(pixels, -1), pixels, channels, 0, *found)
        return found

    def _quantise(self, columns: Latents, features: NDArray[Any], centred: bool) -> Candidate:
        """Quantise latents (B, H, W, C) in one mode."""
        if self.context is not None:
            symbols, quantised, parameters = self.context.encode(columns, features, centred)
        else:
            parameters = self._split(features, columns.shape[3])
            means = parameters.means[0].astype(np.int64) * centred
            flat = columns.reshape(-1).astype(np.float64) - means / 2.0**MEAN_BITS
            symbols = np.clip(np.rint(flat), -LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int32)
            quantised = (
                ((symbols.astype(np.int64) << MEAN_BITS) + means).astype(np.int32).reshape(columns.shape)
            )
            if centred:
                parameters = parameters._replace(means=np.zeros_like(parameters.means))
        alphabet = Alphabet.of(symbols)
        leak, shift = mixture.calibrate(symbols, *parameters, alphabet.low, alphabet.high)
        return Candidate(symbols, quantised, parameters, centred, alphabet, leak, shift)

    def cost(self, shape: Shape) -> Cost:
        """Return what coding latents of a shape needs, either way: the integer networks, and the symbols."""
        batch, channels, height, width = shape
        side = (batch, channels, -(-height // 4), -(-width // 4))
        weights, pixels, area = [], [], prod(side) // channels
        for layer in self.hyper:
            weights.append(layer.weight.size)
            pixels.append(area)
            area *= layer.upscale**2
        if self.context is not None:
            weights += [layer[0].size for layer in self.context.layers]
            pixels += [batch * height * width] * len(self.context.layers)
        flops = sum(2.0 * size * n for size, n in zip(weights, pixels, strict=True))
        touched = 2.0 * sum(weights) + 16 * prod(shape)
        return self.side.cost(side) + Cost(flops, touched, prod(shape), len(weights))

    def arrays(self) -> list[NDArray[Any]]:
        """Return all numbers that both ends must share."""
        layers = [array for layer in self.hyper for array in (layer.weight, layer.bias, layer.shift)]
        if self.context is not None:
            layers += [array for layer in self.context.layers for array in layer]
        return self.side.arrays() + layers


def _centre(y: Latents, medians: NDArray[np.float32]) -> tuple[Symbols, int]:
    """Return the symbols of latents around their medians, and how many saturated."""
    away = np.rint(y - medians[:, None, None])
    symbols = np.clip(away, -LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int32)
    return symbols, int(np.count_nonzero(np.abs(away) > LARGEST_SYMBOL))


def _real(quantised: NDArray[np.int32]) -> Latents:
    """Return (B, H, W, C) in 2**-8 as float32 (B, C, H, W)."""
    real = quantised.transpose(0, 3, 1, 2) * np.float64(2.0**-MEAN_BITS)
    return np.ascontiguousarray(real, np.float32)


def _checked(low: int, high: int, leak: int) -> tuple[int, int, int]:
    """Return an alphabet and its leak, or raise CodecError when they leave nothing to the model."""
    if max(abs(low), abs(high)) > LARGEST_SYMBOL or leak > MAX_LEAK or (high - low + 1) << leak > TOTAL // 2:
        raise CodecError(f"payload claims symbols from {low} to {high} with leak {leak}: no encoder does")
    return low, high, leak


def _byte(data: Buffer, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise CodecError("payload ends inside its header")
    return data[at], at + 1
