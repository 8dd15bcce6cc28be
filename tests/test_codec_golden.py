"""Golden bytes: today's format, which tomorrow's decoder must still read; and published vectors."""

import numpy as np
import pytest
from codec_contract import ENTRIES, rng

from sfsim.codec import Codec, MaskEncoded, Qsgd, RandTopK, TopK, Uniform
from sfsim.codec.frame import Frame

# The example of the mask-encoded sparsification paper's figure 1 (4 x 4, row by row).
FIGURE = np.array(
    [[2.2, 0.8, 1.2, 0.4], [1.8, 0.2, 3.1, 2.0], [2.1, 0.2, 1.1, 1.7], [0.3, 2.8, 1.4, 0.9]], np.float32
)
SIGNED = FIGURE.copy().ravel()
SIGNED[[8, 11]] *= -1

# Never edit a line: a format that changes gets a new format number, and these must still decode.
FROZEN = {
    "bf16": ("534601010024020202020d404d3f9a3fcd3ee63f4d3e4640004006c04d3e8d3fdabf9a3e3340b33f663f4a854b2d"),
    "fp16": ("534601010024020202026640663acd3c6636333f66323342004033c06632663ccdbecd349a419a3d333b98913669"),
    "fp32-zstd": (
        "5346010800240202020228b52ffd204109020040cdcc0c40cdcc4c3f9a99993fcdcccc3e6666e63fcdcc4c3e66664640"
        "00000040666606c0cdcc4c3ecdcc8c3f9a99d9bf9a99993e333333403333b33f6666663f52dcd4c6"
    ),
    "fp32": (
        "53460101002402020202cdcc0c40cdcc4c3f9a99993fcdcccc3e6666e63fcdcc4c3e6666464000000040666606c0cdcc"
        "4c3ecdcc8c3f9a99d9bf9a99993e333333403333b33f6666663f7fba68c2"
    ),
    "int2": "5346010200240202020208666606c066664640a99e187a7c30460f",
    "int3": "5346010200240202020208666606c066664640d23afe0e17ec9f1939bc",
    "int4-channel": "5346010200240202020210666606c0cdcc4c3ecdcc0c4066664640fac980f908b11d64f172ba27",
    "int4": "5346010200240202020208666606c066664640c8a7b7fc07917ea99cbc98cf",
    "int8-channel": (
        "5346010200240202020210666606c0cdcc4c3ecdcc0c4066664640ffacc4948d00ff9e0088be1809e56a3eb8a2f05e"
    ),
    "int8-zstd": (
        "5346010800240202020228b52ffd201ad1000008666606c06666464010d38ea27bbf71ffc900719d1476f0ac93ee9a0541"
    ),
    "int8": "5346010200240202020208666606c066664640d38ea27bbf71ffc900719d1476f0ac934d423026",
    "ms-4bit": "534601060024020202020466664640b46291faa1581e740120288fc050",
    "ms-floor": "534601060024020202020466664640844d85240a0095daf7e5",
    "ms-zstd": "5346010800240202020228b52ffd200c610000046666464006948e86250500704be8dc",
    "ms": "534601060024020202020466664640948e8625050087336dd9",
    "qsgd4": "534601030024020202020466664640c9a8b7ec27a38da97e002325",
    "qsgd8": "534601030024020202020466664640d9a0b08fc987fed12987ad3a8cf2b8a4a19e857e",
    "randtopk-10pct-zstd": "5346010800240202020228b52ffd200b59000008666646409a99993e01d08b80871c",
    "randtopk-10pct": "5346010500240202020208666646409a99993ed0cf2e6dbe",
    "randtopk-1pct": "5346010500240202020208666646409a99993ed03e32a353",
    "sl-fac": (
        "534601100024020202020530593e673390cdcc8c3f333313409a99993e3333333f6666c6bf333363400100803e0100803e"
        "333323c00300803e0000c0bfcdcc2c40fe038ff910076ffad00ff1e73000c2a7e445"
    ),
    "sl-fac-gradient": (
        "534601100024020202020530593e673390cdcc8c3f333313409a99993e3333333f6666c6bf333363400100803e0100803e"
        "333323c00300803e0000c0bfcdcc2c40fe038ff910076ffad00ff1e7300010879a9c"
    ),
    "sl-fac-light": (
        "53460110002402020202031c7cce40333363404f322f39692d692dfdb6003c822c822cc0b9822cc3b6163aff4000ff9100"
        "76ffad00ff1e7300b77dc425"
    ),
    "sl-acc": "53460111002402020202010808666606c066664640d468f03a62bbbf8776b26d2de12a",
    "fedlite": (
        "5346011300240202020260666606c0cdcc4c3ecdcc8c3f9a99d9bf9a99993e333333403333b33f6666663fcdcc0c40cd"
        "cc4c3f9a99993fcdcccc3e6666e63fcdcc4c3e6666464000000040cdcc0c40cdcc4c3f9a99993fcdcccc3e6666e63fcd"
        "cc4c3e666646400000004040d2db6b19"
    ),
    "fwq": (
        "534601120024020202020214100000ff666606c0666646400000000000000000ffff7f7f006c2abeae6a116a778deac4"
        "7f9e7150ff4f0000ffc80037db9117a1fef600f9fcbe03ac000dfec4ffff03a8ff6c04cfe468999b"
    ),
    "splitfc-fwq": (
        "53460112002402020202031404000114c0697a60c14f6649410000000000000000ffff7f7f00884c2eff27000001c9ff"
        "ff9d721aa1"
    ),
    "splitfc": ("5346011200240202020202011408465340c82b663f697a60c14f6649415f2bbdbc"),
    "bf16-planes-zstd": (
        "5346010800240202020228b52ffd2021090100200d4d9acde64d4600064d8dda9a33b366403f3f3e3f3e4040c03e3fbf"
        "3e403f3f83f04649"
    ),
    "int8-rans": ("534601080024020202020900666606c0666646401100d38ea27bbf71ffc900719d1476f0ac93cca0a0c0"),
    "int3-rans": "534601080024020202020900666606c0666646400700d23afe0e17eccf8a3cc5",
    "topk-10pct-feedback": ("53460108002402020202046666464060ef462370"),
    "pcodec": (
        "5346011400240202020270636f21030004040401050f0000d2ccccdc0b100050ffffff332000f0ffffff2700ac276a28"
        "56ab001612994c7e55445615004b2eedf4"
    ),
    "topk-1pct-shortest": ("534601040024020202020466664640180e49bb98"),
    "topk-10pct": "534601040024020202020466664640605f9a05a2",
    "topk-1pct-index": "53460104002402020202046666464060b32b3c15",
    "topk-1pct": "53460104002402020202046666464060cdc1ce5a",
    "topk-4pct": "5346010400240202020204666646400200c1f03fc2",
    "zeros": "53460107002402020202b0f41f26",
}


def parts_of(codec: Codec, payload: bytes) -> list[bytes]:
    frame = Frame.unpack(payload, codec.kind, codec.wire_parts, codec.signature)
    return [bytes(part) for part in frame.parts]


def error_of(codec: Codec, x: np.ndarray) -> float:
    return float(np.linalg.norm(codec.decode(codec.encode(x).payload).astype(np.float64) - x))


def code_rows(codec: Codec, x: np.ndarray) -> str:
    """Return the mask codes of an MS payload, written row by row."""
    mask = parts_of(codec, codec.encode(x).payload)[1]
    bits = "".join(f"{byte:08b}" for byte in mask)[: x.size * codec.mask_bits]
    codes = [str(int(bits[at : at + codec.mask_bits], 2)) for at in range(0, len(bits), codec.mask_bits)]
    return " ".join("".join(codes[at : at + 4]) for at in range(0, len(codes), 4))


@pytest.mark.parametrize("name", ENTRIES)
def test_frozen_bytes(name: str) -> None:
    codec, x = ENTRIES[name], SIGNED.reshape(2, 2, 2, 2)
    payload = bytes.fromhex(FROZEN[name])
    encoded = codec.encode(x, rng(), True)
    assert np.array_equal(codec.decode(payload), codec.decode(encoded.payload))
    if codec.kind not in (
        "chain",
        "pcodec",
    ):  # another release of a compressor may find other bytes for the same content
        assert encoded.payload == payload


@pytest.mark.parametrize(
    ("rounding", "mask", "rows", "error"),
    [
        ("nearest", "d98eca39", "3121 2032 3022 0321", 1.0247),
        ("floor", "d48ec639", "3110 2032 3012 0321", 1.1832),
    ],
)
def test_ms_figure_1(rounding: str, mask: str, rows: str, error: float) -> None:
    codec = MaskEncoded(sparsity=0.75, mask_bits=2, rounding=rounding)
    encoded = codec.encode(FIGURE)
    values, packed = parts_of(codec, encoded.payload)
    assert np.array_equal(np.frombuffer(values, "<f4"), np.array([2.2, 3.1, 2.1, 2.8], np.float32))
    assert packed.hex() == mask
    assert len(values) + len(packed) == 20
    assert encoded.estimated_bits == 160
    assert code_rows(codec, FIGURE) == rows
    assert error_of(codec, FIGURE) == pytest.approx(error, abs=5e-5)
    # float64 must not fall into the trap 1.4 * 3 / 2.1 = 1.9999999999999996
    assert code_rows(codec, np.round(FIGURE.astype(np.float64), 1)) == rows


@pytest.mark.parametrize(("rounding", "last", "error"), [("nearest", 1, 0.5099), ("floor", 0, 1.0296)])
def test_ms_signed_example(rounding: str, last: float, error: float) -> None:
    x = np.array([-4, 1, 0, -1, 3, 2, -0.5, 0.9], np.float32)
    codec = MaskEncoded(sparsity=0.75, mask_bits=2, rounding=rounding)
    encoded = codec.encode(x)
    assert codec.decode(encoded.payload).tolist() == [-4, 1, 0, -1, 3, 2, 0, last]
    assert error_of(codec, x) == pytest.approx(error, abs=5e-5)
    # The spec's own size, 88 bits, pays a sign for every entry; here only codes that are neither 0 nor 3 do.
    assert encoded.estimated_bits == 8 * 2 + 64 + (4 if last else 3)
    signs = parts_of(codec, encoded.payload)[1][2:]
    assert signs == bytes([0b01000000])


def test_ms_edge_cases() -> None:
    ms = MaskEncoded(sparsity=0.5, mask_bits=2)

    def back(x: list[float], codec: MaskEncoded = ms) -> list[float]:
        return codec.decode(codec.encode(np.array(x, np.float32)).payload).tolist()  # type: ignore[no-any-return]

    # Ties at the threshold: the lowest indices are kept, the others are clamped one code below.
    assert back([1, 1, 1, 1]) == pytest.approx([1, 1, 2 / 3, 2 / 3])
    # Threshold 0, and zeros everywhere.
    assert back([0, 5, 0, 0]) == [0, 5, 0, 0]
    assert back([0, 0, 0, 0]) == [0, 0, 0, 0]
    # k = 0 becomes 1.
    assert back([1, 3, 0.9], MaskEncoded(sparsity=0.99, mask_bits=2)) == [1, 3, 1]
    # One mask bit is top-k with a bitmask.
    x = np.linspace(-1, 2, 40, dtype=np.float32)
    one = MaskEncoded(sparsity=0.75, mask_bits=1)
    top = TopK(keep=0.25, positions="bitmask")
    assert np.array_equal(one.decode(one.encode(x).payload), top.decode(top.encode(x).payload))
    assert one.encode(x).estimated_bits == top.encode(x).estimated_bits
    # A negative value among the kept ones alone needs no sign bit.
    assert ms.encode(np.array([-4, 3, 1, 1], np.float32)).estimated_bits == 4 * 2 + 64
    # k follows the last partial batch.
    assert ms.encode(np.ones((3, 4), np.float32)).estimated_bits == 12 * 2 + 6 * 32


def test_sp_of_figure_1() -> None:
    assert error_of(TopK(keep=0.25), FIGURE) == pytest.approx(4.0645, abs=5e-5)
    assert TopK(keep=0.25, positions="bitmask").encode(FIGURE).estimated_bits == 16 + 4 * 32
    assert TopK(keep=0.25, positions="index").encode(FIGURE).estimated_bits == 4 * (32 + 4)


def test_qu_of_figure_1() -> None:
    for bits, error in ((2, 0.8531), (3, 0.4830), (4, 0.2083), (8, 0.0118)):
        codec = Uniform(bits=bits)
        assert error_of(codec, FIGURE) == pytest.approx(error, abs=5e-5)
        assert sum(map(len, parts_of(codec, codec.encode(FIGURE).payload))) == 2 * bits + 8
    codes = parts_of(Uniform(bits=3), Uniform(bits=3).encode(FIGURE).payload)[1]
    bits_text = "".join(f"{byte:08b}" for byte in codes)
    levels = [int(bits_text[at : at + 3], 2) for at in range(0, 48, 3)]
    assert levels == [5, 1, 2, 0, 4, 0, 7, 4, 5, 0, 2, 4, 0, 6, 3, 2]


@pytest.mark.parametrize(
    ("d", "k", "percent"),
    [(128, 3, 2.8564), (128, 6, 5.7129), (128, 13, 12.3779), (300, 2, 0.8542), (1280, 2, 0.2100)],
)
def test_randtopk_sizes(d: int, k: int, percent: float) -> None:
    codec = RandTopK(keep=k / d, alpha=0.1)
    x = rng().standard_normal((5, d)).astype(np.float32)
    encoded = codec.encode(x, rng(), True)
    assert 100 * encoded.estimated_bits / (32 * x.size) == pytest.approx(percent, abs=5e-5)


def test_author_statistics_of_ms() -> None:
    """The published l2 errors on 2**24 values of rectified noise, from a sixteenth of them."""
    x = np.maximum(rng().standard_normal((16, 64, 32, 32), dtype=np.float32), 0)
    scale = (2**24 / x.size) ** 0.5
    errors = {
        codec.name: scale * error_of(codec, x)
        for codec in (
            Uniform(bits=3),
            TopK(keep=7 / 32),
            MaskEncoded(sparsity=31 / 32, mask_bits=2),
            MaskEncoded(sparsity=31 / 32, mask_bits=2, rounding="floor"),
        )
    }
    qu, sp, rounded, floored = errors.values()
    assert qu == pytest.approx(635.6, rel=0.08)  # its end point, the maximum, grows with the sample
    assert sp == pytest.approx(934.5, rel=0.005)
    assert rounded == pytest.approx(582.34, rel=0.005)
    assert floored == pytest.approx(948.1, rel=0.005)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_qsgd_is_unbiased(bits: int) -> None:
    codec = Qsgd(bits=bits)
    x = np.array([1.0, -0.97, 0.5, 0.333, -0.1, 0.01, 0.0, -0.003], np.float32)
    draws = 20_000
    levels = 2 ** (bits - 1) - 1
    generator = rng()
    # One tensor with many copies is many draws: the norm is the same in each.
    copies = np.tile(x, (draws, 1))
    y = codec.decode(codec.encode(copies, generator, True).payload).astype(np.float64)
    fraction = np.abs(x) * levels % 1
    deviation = np.sqrt(fraction * (1 - fraction) / draws) / levels
    assert (np.abs(y.mean(axis=0) - x) <= 4.5 * deviation + 1e-6).all()
    assert (np.abs(y - copies) < 1 / levels + 1e-6).all()
    assert y.mean(axis=0)[0] == 1.0
