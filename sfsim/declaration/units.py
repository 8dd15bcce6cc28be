"""Ranges of physical quantities that many declarations hold: wide for the world, narrow for arithmetic."""

from typing import Annotated

from pydantic import Field

Decibel = Annotated[float, Field(ge=-300, le=300)]
"""A ratio or a level in dB or dBm: 30 powers of ten either way, beyond which a power is no float any more."""

Loss = Annotated[float, Field(ge=0, le=300)]
"""A loss, a margin or a spread in dB."""
