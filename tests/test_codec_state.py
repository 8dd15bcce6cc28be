"""Model states as one payload: order is the contract, floats go through the codec, the rest as they are."""

import numpy as np
import pytest
from codec_contract import ENTRIES, rng

from sfsim.codec import Cast, Codec, Uniform
from sfsim.codec.state import decode_state, encode_state
from sfsim.errors import CodecError

STATE = {
    "conv.weight": rng().standard_normal((4, 3, 3, 3)).astype(np.float32),
    "conv.bias": np.zeros(4, np.float32),
    "norm.running_var": np.full(4, 1e-3, np.float32),
    "norm.num_batches_tracked": np.array(7, np.int64),
    "scale": np.array(0.5, np.float32),
    "empty": np.zeros((0, 2), np.float32),
    "double": np.linspace(0, 1, 5),
}
LIKE = {name: (array.shape, array.dtype) for name, array in STATE.items()}
RAW = ("norm.running_var",)
every_codec = pytest.mark.parametrize("codec", ENTRIES.values(), ids=ENTRIES)


@every_codec
@pytest.mark.parametrize("training", [False, True])
def test_round_trip(codec: Codec, training: bool) -> None:
    encoded = encode_state(STATE, codec, rng() if training else None, RAW)
    back = decode_state(encoded.payload, codec, LIKE, RAW)
    assert list(back) == list(STATE)
    for name, array in STATE.items():
        assert back[name].shape == array.shape and back[name].dtype == array.dtype
        assert back[name].flags.writeable
    assert np.array_equal(back["norm.running_var"], STATE["norm.running_var"])
    assert back["norm.num_batches_tracked"] == 7
    if not training:
        alone = codec.decode(codec.encode(STATE["conv.weight"]).payload)
        assert np.array_equal(back["conv.weight"], alone)
    for at in range(0, len(encoded.payload), 7):
        with pytest.raises(CodecError):
            decode_state(encoded.payload[:at], codec, LIKE, RAW)


def test_one_frame_around_everything() -> None:
    codec = Cast(dtype="float32")
    encoded = encode_state(STATE, codec)
    raw = sum(array.nbytes for array in STATE.values()) - STATE["double"].nbytes // 2
    assert encoded.estimated_bits == 8 * raw
    # Ten bytes of frame, one of shape, and one or two for the length of each float array.
    assert len(encoded.payload) == raw + 11 + 7


def test_errors_name_the_array() -> None:
    codec = Uniform(bits=8)
    with pytest.raises(CodecError, match=r"tensor 'b': found nan at index \(1,\)"):
        encode_state({"a": np.ones(2), "b": np.array([1, np.nan])}, codec)
    with pytest.raises(CodecError, match=r"raw names \['c'\], which are not in the model state"):
        encode_state({"a": np.ones(2)}, codec, raw=["c"])
    payload = encode_state(STATE, codec).payload
    with pytest.raises(CodecError, match=r"model state holds \(7,\) arrays, expected 1"):
        decode_state(payload, codec, {"a": ((2,), "f4")})
    with pytest.raises(CodecError, match=r"array 'conv.weight' of the model state: codes: found 108 bytes"):
        decode_state(payload, codec, LIKE | {"conv.weight": ((4, 3, 3, 2), "f4")})
    with pytest.raises(CodecError, match="checksum fails"):
        decode_state(payload, Uniform(bits=4), LIKE)
    with pytest.raises(CodecError, match="payload was made by codec 'uniform', expected 'state'"):
        decode_state(codec.encode(STATE["scale"]).payload, codec, LIKE)
    with pytest.raises(CodecError, match="8 bytes too many for these arrays"):
        decode_state(encode_state({"a": np.arange(3)}, codec).payload, codec, {"a": ((2,), np.int64)})
