"""Federated averaging: published vectors, exactness, BatchNorm rules, integer buffers."""

import pytest
import torch

from sfsim.learning.averaging import fedavg, is_batch_norm_statistic
from sfsim.learning.declarations import Cnn
from sfsim.learning.models import build


def test_weights_are_the_numbers_of_examples() -> None:
    """Spec 2.8: n = (1, 3), w = (0, 4) gives 3, not the unweighted 2."""
    states = [{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}]
    assert fedavg(states, [1, 3])["w"].item() == 3
    assert fedavg(states, [1, 1])["w"].item() == 2


@pytest.mark.parametrize("weights", [[7.0], [1, 2], [1, 3, 9], [240, 120, 85, 179, 87]])
def test_the_mean_of_equal_states_is_that_state_bit_for_bit(weights: list[float]) -> None:
    state = build(Cnn(), 1, 10, seed=4).state_dict()
    mean = fedavg([state] * len(weights), weights)
    assert list(mean) == list(state)
    for name, value in state.items():
        assert torch.equal(mean[name], value) and mean[name].dtype == value.dtype
        assert mean[name].data_ptr() != value.data_ptr()


def test_integer_buffers_take_the_rounded_weighted_mean() -> None:
    states = [{"num_batches_tracked": torch.tensor(n)} for n in (10, 21)]
    mean = fedavg(states, [1, 3])["num_batches_tracked"]
    assert mean.dtype == torch.int64 and mean.item() == 18  # 18.25


def test_batch_norm_statistics_are_averaged_or_left_local() -> None:
    states = [dict(build(Cnn(), 1, 10, seed=seed).state_dict()) for seed in (1, 2)]
    for number, state in enumerate(states):
        state["stages.conv1.body.1.running_mean"] = torch.full((16,), float(number))
    averaged, local = fedavg(states, [1, 1]), fedavg(states, [1, 1], batch_norm="local")
    assert averaged["stages.conv1.body.1.running_mean"].tolist() == [0.5] * 16
    left_out = averaged.keys() - local.keys()
    assert left_out == {name for name in states[0] if is_batch_norm_statistic(name)}
    assert len(left_out) == 3 * 3
    assert "stages.conv1.body.1.weight" in local  # affine weights are shared in both
    client = build(Cnn(), 1, 10, seed=3)
    client(torch.rand(4, 1, 8, 8))  # move its statistics
    own = {name: value.clone() for name, value in client.state_dict().items()}
    client.load_state_dict(local, strict=False)
    for name, value in client.state_dict().items():
        assert torch.equal(value, own[name] if name in left_out else local[name])


@pytest.mark.parametrize(
    ("states", "weights", "text"),
    [
        ([], [], "0 states and 0 weights"),
        ([{"w": torch.zeros(1)}], [1, 2], "1 states and 2 weights"),
        ([{"w": torch.zeros(1)}, {"v": torch.zeros(1)}], [1, 2], "different keys"),
        ([{"w": torch.zeros(1)}], [0], "sum to zero"),
        ([{"w": torch.zeros(1)}] * 2, [2, -1], "negative"),
    ],
)
def test_nothing_sensible_to_average(
    states: list[dict[str, torch.Tensor]], weights: list[float], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        fedavg(states, weights)
