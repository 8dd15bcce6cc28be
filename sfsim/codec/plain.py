"""Plain: the tensor codecs that need no training, as one union."""

from typing import TypeAlias

from sfsim.codec.cast import Cast
from sfsim.codec.channel_adaptive import ChannelAdaptive
from sfsim.codec.feature_wise import FeatureWise
from sfsim.codec.frequency_aware import FrequencyAware
from sfsim.codec.mask_encoded import MaskEncoded
from sfsim.codec.pcodec import Pcodec
from sfsim.codec.product_quantization import ProductQuantization
from sfsim.codec.qsgd import Qsgd
from sfsim.codec.randtopk import RandTopK
from sfsim.codec.topk import TopK
from sfsim.codec.uniform import Uniform
from sfsim.codec.zeros import Zeros

AnyPlain: TypeAlias = (
    Cast
    | Uniform
    | Qsgd
    | TopK
    | RandTopK
    | MaskEncoded
    | Zeros
    | FrequencyAware
    | ChannelAdaptive
    | ProductQuantization
    | FeatureWise
    | Pcodec
)
PLAIN_KINDS = tuple(codec.kind for codec in AnyPlain.__args__)  # type: ignore[attr-defined]
