"""Error feedback: what a lossy codec took away of one message is added to the next."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec.base import Memory
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class ErrorFeedback:
    """Add the residual of the sender's last message before encoding; first in a list of stages.

    Only where consecutive messages describe the same quantity: client-side models and their differences. Of
    smashed data and gradients each message is of other samples.

    Parameters
    ----------
    decay : float
        Factor of the residual, above 0 and at most 1.

    Source
    ------
    F. Seide et al., "1-bit stochastic gradient descent", Interspeech 2014; S. P. Karimireddy et al.,
    arXiv:1901.09847.
    """

    kind: Literal["error-feedback"] = "error-feedback"
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    key: ClassVar[str] = "residual"

    @property
    def name(self) -> str:
        return "ef" if self.decay == 1 else f"ef{self.decay:g}"

    def add(self, x: NDArray[np.float32], memory: Memory | None) -> NDArray[np.float32]:
        """Return the tensor with what the last message left out.

        Raises
        ------
        CodecError
            When the residual has another shape.
        """
        if memory is None:
            return x
        residual = memory[self.key]
        if residual.shape != x.shape:
            raise CodecError(f"found shape {x.shape}, expected {residual.shape} as the sender's last message")
        return np.asarray(x + np.float32(self.decay) * residual, np.float32)
