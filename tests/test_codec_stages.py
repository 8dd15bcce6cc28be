"""Stages: error feedback before a lossy codec; rans and byte planes behind one."""

import numpy as np
import pytest
from codec_contract import rng
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import check_corruptions
from worlds import scenario

from sfsim.codec import BytePlane, Cast, Chain, ErrorFeedback, Pcodec, Qsgd, Rans, TopK, Uniform, Zstd, parse
from sfsim.codec import bits as packing
from sfsim.codec import byte_kernel as kernel
from sfsim.codec.positions import pack_shortest, unpack_shortest
from sfsim.codec.state import decode_state, encode_state
from sfsim.errors import CodecError, ConfigError
from sfsim.scenario import Codecs

TOP = Chain(stages=(ErrorFeedback(), TopK(keep=1 / 3)))


def test_error_feedback_vector() -> None:
    memory = None
    sent, left = [], []
    for x in ([3, 2, 1], [1, 1, 1], [0, 0, 1]):
        encoded = TOP.encode(np.float32(x), memory=memory)
        memory = encoded.memory
        assert memory is not None
        sent.append(TOP.decode(encoded.payload).tolist())
        left.append(memory["residual"].tolist())
    assert sent == [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert left == [[0, 2, 1], [1, 0, 2], [1, 0, 0]]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_what_was_sent_and_what_is_left_is_what_came(seed: int) -> None:
    draw, memory = np.random.default_rng(seed), None
    chain = Chain(stages=(ErrorFeedback(), Qsgd(bits=3), Zstd()))
    came, sent = np.zeros((4, 5)), np.zeros((4, 5))
    for _ in range(5):
        x = draw.standard_normal((4, 5)).astype(np.float32)
        encoded = chain.encode(x, draw, True, memory=memory)
        memory = encoded.memory
        came += x
        sent += chain.decode(encoded.payload)
    assert memory is not None
    assert sent + memory["residual"] == pytest.approx(came, abs=1e-5)


def test_decay_and_other_shapes() -> None:
    half = Chain(stages=(ErrorFeedback(decay=0.5), TopK(keep=1 / 3)))
    memory = half.encode(np.float32([3, 2, 1])).memory
    assert half.decode(half.encode(np.float32([0, 0, 0]), memory=memory).payload).tolist() == [0, 1, 0]
    with pytest.raises(CodecError, match=r"found shape \(2,\), expected \(3,\) as the sender's last message"):
        half.encode(np.ones(2, np.float32), memory=memory)


def test_a_state_keeps_a_residual_for_each_array() -> None:
    state = {"a": np.float32([3, 2, 1]), "b": np.float32([[1, 5, 2]]), "n": np.array([7])}
    like = {name: (array.shape, array.dtype) for name, array in state.items()}
    first = encode_state(state, TOP)
    assert first.memory is not None and set(first.memory) == {"a/residual", "b/residual"}
    second = encode_state({name: 0 * array for name, array in state.items()}, TOP, memory=first.memory)
    decoded = decode_state(second.payload, TOP, like)
    assert decoded["a"].tolist() == [0, 2, 0] and decoded["b"].tolist() == [[0, 0, 2]]


@pytest.mark.parametrize("slot", ["smashed_up", "gradient_down"])
def test_error_feedback_is_for_models(slot: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{slot}.*no error-feedback: the residual of one minibatch is noise"
    ):
        scenario(codecs=Codecs(**{slot: TOP}))
    with pytest.raises(ConfigError, match="a lossy codec: this one leaves no residual"):
        parse([{"kind": "error-feedback"}, {"kind": "cast", "dtype": "float32"}], "x")
    for stages in ([{"kind": "error-feedback"}], [{"kind": "topk", "keep": 0.5}, {"kind": "error-feedback"}]):
        with pytest.raises(
            ConfigError, match=r"at most error-feedback before it|found 'error-feedback' alone"
        ):
            parse(stages, "x")


@given(st.binary(max_size=3000), st.integers(0, 255), st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_any_bytes_come_back(data: bytes, byte: int, count: int) -> None:
    for content in (data, data + bytes([byte]) * count):
        for stage in (Rans(), Rans(bits=1), Rans(bits=3), Rans(bits=5), BytePlane(), BytePlane(width=2)):
            packed = stage.compress(content)
            assert stage.decompress(packed, len(content)) == content
            assert len(packed) <= len(content) + 1


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=256))
@settings(max_examples=50, deadline=None)
def test_frequencies(counts: list[int]) -> None:
    counts = [min(count, 40) if index % 3 else count % 300 for index, count in enumerate(counts)]
    data = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    if data.size == 0:
        return
    found = kernel.frequencies(data)
    assert found.sum() == 2**14 and ((found > 0) == (np.bincount(data, minlength=256) > 0)).all()


def test_rans_is_near_the_entropy() -> None:
    data = np.random.default_rng(0).geometric(0.1, 100_000).clip(0, 255).astype(np.uint8)
    p = np.bincount(data) / data.size
    entropy_bytes = -(p[p > 0] * np.log2(p[p > 0])).sum() * data.size / 8
    packed = Rans().compress(data.tobytes())
    assert entropy_bytes < len(packed) < 1.001 * entropy_bytes + 32 + 14 / 8 * np.count_nonzero(p) + 40


@pytest.mark.parametrize("bits", range(1, 9))
def test_rans_sees_codes_of_any_width(bits: int) -> None:
    rng = np.random.default_rng(bits)
    codes = rng.geometric(0.4, 50_001).clip(1, 1 << bits) - 1
    data = packing.pack(codes.astype(np.uint8), bits)
    p = np.bincount(codes) / codes.size
    entropy_bytes = -(p[p > 0] * np.log2(p[p > 0])).sum() * codes.size / 8
    stage = Rans(bits=bits)
    packed = stage.compress(data)
    assert stage.decompress(packed, len(data)) == data
    assert len(packed) < max(1.002 * entropy_bytes + 150, 0 if bits > 1 else len(data) + 1)


@pytest.mark.parametrize(("bits", "symbol"), [(3, 5), (5, 9), (7, 100)])
def test_rans_of_one_symbol_that_lies_across_bytes(bits: int, symbol: int) -> None:
    for count in (8000, 8001, 8003):
        data = packing.pack(np.full(count, symbol, np.uint8), bits)
        packed = Rans(bits=bits).compress(data)
        assert len(packed) < 100 and Rans(bits=bits).decompress(packed, len(data)) == data


def test_rans_refuses_bits_behind_the_last_symbol_that_cannot_be() -> None:
    data = packing.pack(
        np.arange(1000, dtype=np.uint8) % 3, 3
    )  # 375 bytes: 1,000 symbols; one byte more: 2 bits left
    stage, data = Rans(bits=3), data + b"\x03"
    packed = bytearray(stage.compress(data))
    assert stage.decompress(packed, 400) == data
    at = 1 + 2 + 1 + packing.num_bytes(3, 14)  # kind, length, which symbols occur, their frequencies
    assert packed[at] == 3
    packed[at] = 4
    with pytest.raises(CodecError, match="found 4 behind the last symbol, expected 2 bits"):
        stage.decompress(packed, 400)


def slow_rans(data: bytes, found: np.ndarray) -> bytes:
    """Return states and words, one symbol after another."""
    starts = (np.cumsum(found) - found).tolist()
    states, words = [2**32] * 4, []
    for i in reversed(range(len(data))):
        f, start = int(found[data[i]]) << 10, starts[data[i]] << 10
        x = states[i % 4]
        while x >= f << 24:
            words.append(x & 0xFFFF)
            x >>= 16
        states[i % 4] = (x // f << 24) + start + x % f
    return b"".join(x.to_bytes(6, "little") for x in states) + np.array(words[::-1], "<u2").tobytes()


@pytest.mark.parametrize("size", [64, 65, 66, 67, 5000])
def test_rans_twin(size: int) -> None:
    data = np.random.default_rng(size).geometric(0.2, size).astype(np.uint8)
    found = kernel.frequencies(data)
    stream = kernel.encode(data, found)
    assert stream == slow_rans(data.tobytes(), found)
    assert kernel.decode(stream, found, size) == data.tobytes()


def test_byte_planes() -> None:
    assert BytePlane(width=2).compress(b"aAbBcCx") == b"abcABCx"
    dense = np.random.default_rng(0).standard_normal((512, 128)).astype(np.float32)
    half = Cast(dtype="bfloat16")
    alone, sorted_ = (Chain(stages=(half, *stages)) for stages in ((Zstd(),), (BytePlane(width=2), Zstd())))
    saved = 1 - len(sorted_.encode(dense).payload) / len(alone.encode(dense).payload)
    assert 0.03 < saved < 0.3
    with pytest.raises(ConfigError, match=r"zstd or rans behind it: it makes nothing shorter"):
        parse([{"kind": "cast", "dtype": "float32"}, {"kind": "byte-plane"}], "x")


def test_parts_are_coded_one_by_one() -> None:
    """Positions and values have frequencies of their own; both ends find the parts again behind several stages."""
    x = np.random.default_rng(3).standard_normal((8, 8, 8)).astype(np.float32)
    for stages in (
        (Rans(),),
        (BytePlane(), Rans()),
        (Rans(), Zstd()),
        (Zstd(), Rans()),
        (BytePlane(), Zstd(), Rans()),
    ):
        chain = Chain(stages=(TopK(keep=0.3), *stages))
        encoded = chain.encode(x)
        assert np.array_equal(
            chain.decode(encoded.payload), TopK(keep=0.3).decode(TopK(keep=0.3).encode(x).payload)
        )
        state = {"a": x, "b": x[0]}
        payload = encode_state(state, chain).payload
        back = decode_state(payload, chain, {"a": (x.shape, x.dtype), "b": (x[0].shape, x.dtype)})
        assert np.array_equal(back["a"], chain.decode(encoded.payload))


def test_claims_beyond_the_frame_are_refused_before_memory_is_taken() -> None:
    huge = b"\x01a" + b"\xff\xff\xff\xff\x7f"  # 2**35 times "a"
    with pytest.raises(CodecError, match="rans claims"):
        Rans().decompress(huge, 1000)
    for cut in (b"", b"\x03", b"\x02", b"\x02\x80\x01" + bytes(20), b"\x02\x80\x01" + b"\xff" * 32):
        with pytest.raises(CodecError):
            Rans().decompress(cut, 1000)


def test_corruptions() -> None:
    x = np.random.default_rng(0).standard_normal((6, 7, 8)).astype(np.float32)
    check_corruptions(Chain(stages=(Uniform(bits=4), Rans())), x, rng)
    check_corruptions(TopK(keep=0.05, positions="shortest"), x, rng)
    check_corruptions(Pcodec(), x, rng)
    check_corruptions(Chain(stages=(Uniform(bits=16), BytePlane(width=2), Rans())), x, rng)


def test_pcodec_takes_no_more_memory_than_the_frame_says() -> None:
    """A body that claims more numbers than the shape has, and one that has fewer."""
    many, codec = np.zeros(10**6, np.float32), Pcodec()
    body = codec.pack(many, None, False).parts[0]
    for numel in (10, 2 * 10**6):
        with pytest.raises(CodecError, match="pcodec"):
            codec.unpack([body], (numel,), np.dtype(np.float32))


def slow_positions(indices: list[int], numel: int) -> bytes:
    """Return the shortest of the three forms, bit by bit."""
    each = (numel - 1).bit_length()
    forms = ["00" + "".join(f"{i:0{each}b}" if each else "" for i in indices)]
    forms += ["01" + "".join("01"[i in indices] for i in range(numel))]
    gaps = [b - a - 1 for a, b in zip([-1, *indices], indices, strict=False)]
    rice = []
    for r in range(each + 1):
        codes = ["1" * (gap >> r) + "0" + (f"{gap & (1 << r) - 1:0{r}b}" if r else "") for gap in gaps]
        rice.append("10" + f"{r:05b}" + "".join(codes))
    text = min([*forms, min(rice, key=len)], key=len)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


@given(st.integers(1, 400), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_shortest_positions(numel: int, keep: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    chosen = np.flatnonzero(draw.random(numel) < keep * draw.random())
    data, bits = pack_shortest(chosen, numel)
    assert data == slow_positions(chosen.tolist(), numel) and len(data) == -(-bits // 8)
    found, read = unpack_shortest(data, chosen.size, numel)
    assert np.array_equal(found, chosen) and read == bits
    assert bits <= 2 + min(numel, chosen.size * (numel - 1).bit_length())


def test_gaps_win_where_few_are_kept() -> None:
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    sizes = {p: TopK(keep=0.01, positions=p).encode(x).estimated_bits for p in ("auto", "shortest")}
    assert sizes["shortest"] - 32_000 < 0.52 * (sizes["auto"] - 32_000)
    far = np.zeros(200_000, np.float32)
    far[[0, 199_999]] = 1
    for codec in (TopK(keep=1e-5, positions="shortest"), TopK(keep=1.0, positions="shortest")):
        assert np.array_equal(codec.decode(codec.encode(far).payload), far)
