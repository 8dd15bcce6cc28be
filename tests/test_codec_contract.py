"""Every codec of the catalogue keeps the contract on every edge tensor, and refuses every damaged payload."""

import numpy as np
import pytest
from codec_contract import (
    CATALOGUE,
    EDGES,
    ENTRIES,
    EVERY_ENTRY,
    check_costs,
    check_refuses,
    check_repeats,
    check_round_trip,
    check_size,
    check_values,
    rng,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sfsim.codec import Cast, Chain, Codec
from sfsim.codec.chain import OTHER_STAGES
from sfsim.codec.frame import CODEC_IDS
from sfsim.codec.loading import _KINDS
from sfsim.errors import CodecError

every_codec = pytest.mark.parametrize("codec", ENTRIES.values(), ids=ENTRIES)
every_edge = pytest.mark.parametrize("x", EDGES.values(), ids=EDGES)


@every_codec
@every_edge
def test_round_trip(codec: Codec, x: np.ndarray) -> None:
    check_round_trip(codec, x, training=False)
    check_round_trip(codec, x, training=True)
    check_size(codec, x)
    check_repeats(codec, x)


@every_codec
def test_is_a_value_with_costs(codec: Codec) -> None:
    check_values(codec)
    check_costs(codec)


def test_the_catalogue_is_complete() -> None:
    kinds = {
        stage.kind
        for codec in EVERY_ENTRY.values()
        for stage in (codec.stages if isinstance(codec, Chain) else (codec,))
    }
    assert kinds == {*_KINDS, *OTHER_STAGES}
    assert len({codec.name for codec in EVERY_ENTRY.values()}) == len(EVERY_ENTRY)
    readme = (CATALOGUE / "README.md").read_text()
    assert [stem for stem in EVERY_ENTRY if f"`{stem}.toml`" not in readme] == []
    assert len(set(CODEC_IDS.values())) == len(CODEC_IDS)


@every_codec
@pytest.mark.parametrize("x", [EDGES["scalar"], EDGES["ties"], EDGES["empty batch"]])
def test_truncations_and_bit_flips(codec: Codec, x: np.ndarray) -> None:
    payload = codec.encode(x, rng(), True).payload
    for length in range(len(payload)):
        check_refuses(codec, payload[:length])
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        check_refuses(codec, bytes(damaged))
    check_refuses(codec, payload + b"\0")


@every_codec
@given(data=st.binary(max_size=60))
@settings(max_examples=30, deadline=None)
def test_foreign_bytes(codec: Codec, data: bytes) -> None:
    check_refuses(codec, data)
    check_refuses(codec, b"SF\x01" + data)


def test_payloads_of_other_codecs() -> None:
    x = EDGES["ties"]
    for name, codec in ENTRIES.items():
        payload = codec.encode(x, rng(), True).payload
        for other_name, other in ENTRIES.items():
            if name != other_name:
                check_refuses(other, payload)
    with pytest.raises(CodecError, match="payload was made by codec 'uniform', expected 'topk'"):
        ENTRIES["topk-1pct"].decode(ENTRIES["int8"].encode(x).payload)
    with pytest.raises(CodecError, match=r'encoded otherwise than by \{"kind": "uniform", "bits": 4\}'):
        ENTRIES["int4"].decode(ENTRIES["int8"].encode(x).payload)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@every_codec
def test_only_casts_carry_nan_and_infinities(codec: Codec, dtype: type, bad: float) -> None:
    x = np.ones((2, 3, 4), dtype)
    x[1, 2, 0] = bad
    if isinstance(getattr(codec, "stages", (codec,))[0], Cast):
        assert np.array_equal(codec.decode(codec.encode(x).payload), x, equal_nan=True)
        return
    with pytest.raises(CodecError) as caught:
        codec.encode(x, rng(), True, name="smashed_up")
    text = str(caught.value)
    assert text.startswith(
        f"tensor 'smashed_up': found {bad} at index (1, 2, 0) (1 of 24 values are not finite)"
    )
    assert text.endswith("cannot carry it, only casts can")


@pytest.mark.parametrize("x", [np.arange(3), np.array([None]), np.ones(2, complex), [1.0], np.ones(2, bool)])
def test_only_floats(x: object) -> None:
    for codec in ENTRIES.values():
        with pytest.raises(CodecError, match="expected an array of float16, float32 or float64"):
            codec.encode(x)  # type: ignore[arg-type]


@every_codec
def test_stochastic_codecs_need_a_generator_in_training_only(codec: Codec) -> None:
    x = EDGES["normal"]
    if not codec.stochastic:
        assert codec.encode(x, rng(), True).payload == codec.encode(x).payload
        return
    with pytest.raises(CodecError, match="draws in training and needs a random generator"):
        codec.encode(x, None, True)
    assert codec.encode(x, rng(), False).payload == codec.encode(x).payload
    if codec.name != "randtopk-1%":  # one entry of 72 in each sample: luck may well choose the largest
        assert codec.encode(x, rng(), True).payload != codec.encode(x).payload


@given(
    x=arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6),
        elements=st.floats(-1e4, 1e4, width=16),
    ),
    name=st.sampled_from(sorted(ENTRIES)),
    training=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_tensor(x: np.ndarray, name: str, training: bool) -> None:
    check_round_trip(ENTRIES[name], x, training)
    check_size(ENTRIES[name], x)
