"""The 1-D CNN that Ayad et al. cut for electrocardiograms, as a chain of stages."""

from torch import Tensor, nn
from torch.nn import functional

from sfsim.learning.chain import Chain, Stage


class _Pool(nn.Module):
    """The largest of three neighbours, at every second place; what is shorter than three passes as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool1d(x, 3, 2) if x.shape[-1] >= 3 else x


def cnn1d(in_channels: int, num_classes: int, width: int = 192) -> Chain:
    """Return six convolutions of kernel 3 and stride 2, pooled after the first, second and last, and a linear layer.

    Of 1,000 samples ``conv2`` leaves `width` x 62 and ``conv6`` `width` x 1; of longer series the mean is taken.
    Convolutions begin as the authors' do (He's normal law by outputs).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of a series and number of logits.
    width : int
        Channels of every convolution.
    """

    def conv(channels: int, pooled: bool) -> Stage:
        first = nn.Conv1d(channels, width, 3, stride=2, padding=1)
        if not first.weight.is_meta:
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        return Stage(nn.Sequential(first, nn.ReLU(inplace=True), *([_Pool()] if pooled else [])))

    stages = {
        f"conv{number}": conv(in_channels if number == 1 else width, number in (1, 2, 6))
        for number in range(1, 7)
    }
    head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, num_classes))
    return Chain(stages | {"head": Stage(head)})
