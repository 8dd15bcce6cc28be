"""What training costs: operations, memory traffic and operators of a part, counted on shapes and never timed.

A part is run once, forward and backward, while every operator that torch starts is written down. It is run on
tensors without data (torch's meta device), or on zeros where the part is small and both count alike: torch's
formulas for shapes import its symbolic mathematics and its compiler, three seconds in all.

* ``flops``: torch's own formulas (`torch.utils.flop_counter`) for convolutions, transposed convolutions and
  matrix products and their backwards; a multiply-add counts as two. Element-wise operators, BatchNorm,
  pooling and losses count 0 here: what they cost is their memory traffic.
* ``bytes_touched``: every operand of every operator read once, every result written once; views and
  allocations are free.
* ``launches``: operators started; views and allocations are free.

What no operator shows (the optimiser, averaging) has a formula of its own here.

Left out: second reads inside one operator (BatchNorm in training reads its input twice), caches, and fused
operators.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from sfsim.cost import Cost
from sfsim.learning.chain import Part, run_backward
from sfsim.learning.declarations import AdamW, AnyOptimiser, LossName, Sgd
from sfsim.learning.losses import loss_function

Shape = tuple[int, ...]

_SMALL_INPUT, _SMALL_WEIGHTS = 2**16, 2**20  # numbers; a part below both runs in milliseconds


@dataclass(frozen=True)
class PartCost:
    """What one minibatch costs on a part.

    Attributes
    ----------
    forward, backward : Cost
        One pass each; `backward` is nothing when not in training.
    activation_bytes : int
        What the forward keeps for the backward, the input and the output included, parameters not.
    output_shape : tuple of int
        Shape of the output.
    skips_out_shapes : dict of str to tuple of int
        Shapes of the skips left to a later part.
    """

    forward: Cost
    backward: Cost
    activation_bytes: int
    output_shape: Shape
    skips_out_shapes: dict[str, Shape] = field(default_factory=dict)


def count(
    part: nn.Module,
    input_shape: Shape,
    dtype: torch.dtype = torch.float32,
    skips_shapes: Mapping[str, Shape] | None = None,
    training: bool = True,
    input_gradient: bool = True,
) -> PartCost:
    """Count one minibatch's forward and backward through `part`.

    The part, its mode and the random state stay as they are; the counting is independent of other threads.

    Parameters
    ----------
    part : nn.Module
        A `Part`, or any module that maps one tensor to one tensor.
    input_shape : tuple of int
        Shape of the input, minibatch included.
    dtype : torch.dtype
        Element type of the input and of the skips.
    skips_shapes : mapping of str to tuple of int
        Shapes of the skips that come in.
    training : bool
        Count forward and backward in training mode; otherwise the forward alone, in evaluation mode.
    input_gradient : bool
        Whether the backward gives the gradient at the input; False for a front end, whose input is data.
    """
    shapes = skips_shapes or {}
    small = training and _is_small(part, [input_shape, *shapes.values()])
    shadow = (copy.deepcopy(part) if small else _shadow(part)).train(training)
    weights = {_storage(tensor) for tensor in (*shadow.parameters(), *shadow.buffers())}
    x = _zeros(input_shape, dtype, training and input_gradient, small)
    skips = {name: _zeros(shape, dtype, training, small) for name, shape in shapes.items()}
    kept = {_storage(x): x.nbytes}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    forward, backward = _Counter(), _Counter()
    with (
        torch.set_grad_enabled(training),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        with forward:
            result = shadow(x, skips) if isinstance(shadow, Part) else shadow(x)
        y, skips_out = result if isinstance(shadow, Part) else (result, {})
        outputs = [y, *skips_out.values()]
        for output in outputs:
            keep(output)
        if training:
            gradients = [torch.zeros_like(output) for output in outputs]
            with backward:
                run_backward(outputs, gradients)
    return PartCost(
        forward=forward.cost(),
        backward=backward.cost(),
        activation_bytes=sum(kept.values()),
        output_shape=tuple(y.shape),
        skips_out_shapes={name: tuple(skip.shape) for name, skip in skips_out.items()},
    )


@cache
def loss_cost(loss: LossName, output_shape: Shape, dtype: torch.dtype = torch.float32) -> Cost:
    """Count the loss of logits (N, C, ...) with their int64 targets, forward and backward."""
    small = loss != "dice" and prod(output_shape) <= _SMALL_INPUT
    logits = _zeros(output_shape, dtype, True, small)
    of_targets = output_shape if loss == "binary-cross-entropy" else (output_shape[0], *output_shape[2:])
    targets = _zeros(of_targets, torch.int64, False, small)
    counter = _Counter()
    with counter, torch.enable_grad():
        loss_function(loss)(logits, targets).backward()
    return counter.cost()


def optimiser_cost(spec: AnyOptimiser, num_parameters: int, num_tensors: int = 1) -> Cost:
    """Return what one optimiser step costs.

    Parameters
    ----------
    spec : AnyOptimiser
        SGD (with or without momentum), Adam or AdamW, with or without weight decay. A schedule costs nothing here.
    num_parameters : int
        Scalars that are trained, float32.
    num_tensors : int
        Tensors that hold them: torch starts its operators once for each.

    Notes
    -----
    Operators per parameter tensor, as torch runs them one tensor after another (p weights, g gradient), with
    operations, floats moved (read + written) per scalar:

    ====================  ==========================================  ==========  ============
    step                  operators                                   operations  floats moved
    ====================  ==========================================  ==========  ============
    weight decay          g = g + w p                                 2           3
    weight decay, AdamW   p *= 1 - r w                                1           2
    SGD                   p -= r g                                    2           3
    momentum, in front    b = m b; b += g                             2           2 + 3
    Adam                  m = lerp(m, g); v = b v; v += c g g;        3 + 1 + 3   3 + 2 + 4
                          d = sqrt(v); d = d / s; d += e; p += m/d    + 3 + 3     + 2 + 2 + 2 + 4
    ====================  ==========================================  ==========  ============
    """
    if isinstance(spec, Sgd):
        operations, floats, operators = (4, 8, 3) if spec.momentum else (2, 3, 1)
    else:
        operations, floats, operators = 13, 19, 7
    if spec.weight_decay:
        more_operations, more_floats = (1, 2) if isinstance(spec, AdamW) else (2, 3)
        operations, floats, operators = operations + more_operations, floats + more_floats, operators + 1
    return Cost(
        flops=operations * num_parameters,
        bytes_touched=4 * floats * num_parameters,
        launches=operators * num_tensors,
    )


def averaging_cost(num_parameters: int, num_models: int, num_tensors: int = 1) -> Cost:
    """Return what averaging float32 models costs: each read once and scaled, their sum written once."""
    return Cost(
        flops=2 * num_models * num_parameters,
        bytes_touched=4 * (num_models + 1) * num_parameters,
        launches=num_models * num_tensors,
    )


def memory_bytes(
    part: nn.Module,
    input_shape: Shape,
    optimiser: AnyOptimiser | None,
    dtype: torch.dtype = torch.float32,
    skips_shapes: Mapping[str, Shape] | None = None,
) -> int:
    """Return the bytes that training a part needs at the same time.

    Weights and buffers, gradients, the optimiser's state (none, one or two floats per weight) and the
    activations kept for the backward; without an optimiser, weights, buffers, input and output alone.

    Left out: scratch memory of single operators, the framework itself.
    """
    weights = sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))
    cost = count(part, input_shape, dtype, skips_shapes, training=optimiser is not None)
    if optimiser is None:
        return weights + cost.activation_bytes
    states = 2 if not isinstance(optimiser, Sgd) else 1 if optimiser.momentum else 0
    trained = sum(tensor.nbytes for tensor in part.parameters() if tensor.requires_grad)
    return weights + (1 + states) * trained + cost.activation_bytes


_ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


class _Counter(TorchDispatchMode):
    """Sums up every operator that starts while it is active, in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self._flops = self._bytes = self._launches = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer torch, which would import its compiler (two seconds) to keep it away from this class."""
        return False

    def cost(self) -> Cost:
        return Cost(flops=self._flops, bytes_touched=self._bytes, launches=self._launches)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _is_free(func):
            formula: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
            if formula is not None:
                self._flops += formula(*args, **(kwargs or {}), out_val=result)
            self._bytes += _num_bytes(args) + _num_bytes(kwargs) + _num_bytes(result)
            self._launches += 1
        return result


def _is_free(func: Any) -> bool:
    """Say whether an operator neither reads nor writes elements: a view, or memory that is not filled."""
    name = func.overloadpacket.__name__
    returns_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
    return returns_view or name in _ALLOCATIONS or name == "_unsafe_view"


def _num_bytes(values: Any) -> int:
    # A broadcast tensor is no larger than its storage.
    tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
    return sum(min(tensor.nbytes, tensor.untyped_storage().nbytes()) for tensor in tensors)


def _shadow(part: nn.Module) -> nn.Module:
    """Return a copy of a module whose tensors have shapes and no data."""
    memo: dict[int, Any] = {}
    for parameter in part.parameters():
        empty = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for buffer in part.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(part, memo)


def _is_small(part: nn.Module, shapes: Sequence[Shape]) -> bool:
    """Say whether a part is one of the models' own, on the CPU, and run in less time than torch's shapes take."""
    weights = list(part.parameters())
    return (
        isinstance(part, Part)
        and all(weight.device.type == "cpu" for weight in weights)
        and sum(weight.numel() for weight in weights) <= _SMALL_WEIGHTS
        and sum(map(prod, shapes)) <= _SMALL_INPUT
    )


def _zeros(shape: Shape, dtype: torch.dtype, requires_grad: bool, real: bool) -> Tensor:
    """Return zeros, or a tensor that has a shape only."""
    device = "cpu" if real else "meta"
    return torch.zeros(shape, dtype=dtype, device=device, requires_grad=requires_grad)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
