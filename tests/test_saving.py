"""What a snapshot may hold comes back from a file bit for bit, and nothing else is run on the way."""

import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from sfsim.workload.saving import read_state, write_state


def through(state: Any, path: Path) -> Any:
    """Write and read."""
    write_state(path, state)
    return read_state(path.read_bytes())


def test_values_come_back(tmp_path: Path) -> None:
    state = {"a": [1, 2.5, None, "text", True], ("tuple", 3): (b"", b"\x00\xff" * 3), 7: {}}
    assert through(state, tmp_path / "state.pt") == state


def test_every_bit_of_a_number_comes_back(tmp_path: Path) -> None:
    minus_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0]
    loss, tensor = through((minus_nan, torch.tensor([-0.0, math.nan, 1e-45])), tmp_path / "state.pt")
    assert struct.pack("<d", loss) == struct.pack("<d", minus_nan)
    assert (
        tensor.view(torch.int32).tolist() == torch.tensor([-0.0, math.nan, 1e-45]).view(torch.int32).tolist()
    )


def test_a_piece_of_a_tensor_is_written_without_the_rest(tmp_path: Path) -> None:
    large = torch.arange(1_000_000.0)
    piece = through(large[5:8], tmp_path / "state.pt")
    assert piece.tolist() == [5, 6, 7] and (tmp_path / "state.pt").stat().st_size < 10_000


def test_layout_and_shared_memory_stay(tmp_path: Path) -> None:
    image = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    image = image.contiguous(memory_format=torch.channels_last)
    left, right = through([image, image], tmp_path / "state.pt")
    assert left.stride() == image.stride() and left.data_ptr() == right.data_ptr()


def test_generators_and_optimisers_go_on(tmp_path: Path) -> None:
    generator, weight = torch.Generator().manual_seed(3), torch.nn.Parameter(torch.ones(4))
    optimiser = torch.optim.Adam([weight], lr=0.1)
    weight.grad = torch.randn(4, generator=generator)
    optimiser.step()
    saved = through(
        (generator.get_state(), OrderedDict(weight=weight.detach()), optimiser.state_dict()),
        tmp_path / "state.pt",
    )
    weight.grad = torch.randn(4, generator=generator)
    optimiser.step()
    other, again = torch.Generator(), torch.nn.Parameter(saved[1]["weight"])
    other.set_state(saved[0])
    resumed = torch.optim.Adam([again], lr=0.1)
    resumed.load_state_dict(saved[2])
    again.grad = torch.randn(4, generator=other)
    resumed.step()
    assert torch.equal(weight, again)


def test_objects_are_refused(tmp_path: Path) -> None:
    write_state(tmp_path / "state.pt", {"path": Path("x")})
    with pytest.raises(pickle.UnpicklingError):
        read_state((tmp_path / "state.pt").read_bytes())
