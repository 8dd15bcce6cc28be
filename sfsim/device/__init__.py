"""How long (s) and how much energy (J) a computation takes on a given machine.

A `Device` is a frozen profile (one TOML file of ``scenarios/devices/``); a `Variation` says how its speed
varies from minibatch to minibatch; `sfsim.device.server.DeviceServer` puts work on it in simulated time; and
`sfsim.device.calibrate.calibrate` measures the machine at hand.
"""

from sfsim.device.profile import Device, Throttling, check_memory, load, parse
from sfsim.device.variation import Variation

__all__ = ["Device", "Throttling", "Variation", "check_memory", "load", "parse"]
