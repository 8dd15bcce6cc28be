"""The codec package: a tensor becomes bytes, and bytes a tensor; it knows no network and no time.

`load` reads a codec from a TOML file, `parse` from a table; `AnyCodec` is the union of all declarations. What
every codec promises is told in `sfsim.codec.base`, what is paid for in docs/bytes.md.

>>> import numpy as np
>>> codec = parse({"kind": "uniform", "bits": 8}, "example")
>>> encoded = codec.encode(np.array([[0.0, 0.5, 1.0]], np.float32))
>>> len(encoded.payload), codec.decode(encoded.payload).round(2)
(24, array([[0. , 0.5, 1. ]], dtype=float32))
"""

from sfsim.codec.base import Codec, Encoded
from sfsim.codec.byte_stages import BytePlane, Rans
from sfsim.codec.cast import Cast
from sfsim.codec.chain import Chain
from sfsim.codec.channel_adaptive import ChannelAdaptive
from sfsim.codec.error_feedback import ErrorFeedback
from sfsim.codec.feature_wise import FeatureWise
from sfsim.codec.frequency_aware import FrequencyAware
from sfsim.codec.labels import AnyLabelCodec
from sfsim.codec.learned import Ae, ChengAt, Hyperprior, Learned, MeanScale, SeriesAe
from sfsim.codec.loading import AnyCodec, load, parse
from sfsim.codec.mask_encoded import MaskEncoded
from sfsim.codec.pcodec import Pcodec
from sfsim.codec.product_quantization import ProductQuantization
from sfsim.codec.qsgd import Qsgd
from sfsim.codec.randtopk import RandTopK
from sfsim.codec.topk import TopK
from sfsim.codec.uniform import Uniform
from sfsim.codec.zeros import Zeros
from sfsim.codec.zstd import Zstd

__all__ = [
    "Ae",
    "AnyCodec",
    "AnyLabelCodec",
    "BytePlane",
    "Cast",
    "Chain",
    "ChannelAdaptive",
    "ChengAt",
    "Codec",
    "Encoded",
    "ErrorFeedback",
    "FeatureWise",
    "FrequencyAware",
    "Hyperprior",
    "Learned",
    "MaskEncoded",
    "MeanScale",
    "Pcodec",
    "ProductQuantization",
    "Qsgd",
    "RandTopK",
    "Rans",
    "SeriesAe",
    "TopK",
    "Uniform",
    "Zeros",
    "Zstd",
    "load",
    "parse",
]
