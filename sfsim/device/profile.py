"""A device profile: what a machine can do, and the seconds and joules that a counted cost takes on it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sfsim.cost import Cost
from sfsim.declaration import declaration, read_toml, validate
from sfsim.errors import ConfigError

Positive = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[float, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


@declaration
class Throttling:
    """A machine that slows down when it has been busy for long.

    Parameters
    ----------
    after_busy_s : float
        Busy seconds at full speed.
    speed : float
        What is left of the speed after them, in (0, 1].
    recovery_idle_s : float, optional
        An idle stretch at least this long restores full speed; without it the machine stays slow.
    """

    after_busy_s: NotNegative
    speed: Annotated[float, Field(gt=0, le=1)]
    recovery_idle_s: Positive | None = None


@declaration
class Device:
    """A machine, as numbers from its data sheet, from a measurement or from a named estimate.

    Parameters
    ----------
    name : str
        Short name, for tables.
    title : str
        The machine in words.
    peak_flops : float
        Peak single-precision FLOP/s (a multiply-add is two).
    efficiency : float
        Fraction of the peak that training a convolutional network reaches, from 1e-6 to 1.
    memory_bandwidth_bytes_per_s : float
        Main-memory traffic that training sustains, read plus written.
    launch_overhead_s : float
        Seconds from one operator's start to the next one's when neither has anything to compute.
    symbols_per_s : float
        Symbols that the host processor handles one after another (entropy coding, sorting, packing), its
        memory traffic included.
    memory_bytes : int
        Memory that weights, optimiser state and activations must fit into.
    idle_power_w : float
        Power of the whole machine while it waits.
    active_power_w : float
        Power of the whole machine while it computes in one slot; what joules are charged by.
    slots : int
        Pieces of work that run at full speed at the same time.
    policy : {"fifo", "shared", "unlimited"}
        What happens to more work than slots: it waits in order; all of it shares the slots equally; or every
        piece gets a slot of its own (as published SplitFedV1 assumes of its main server).
    throttling : Throttling, optional
        Slowing down after being busy for long.
    source : str
        Where the numbers come from.
    estimated : tuple of str
        The keys whose numbers are estimates, not published or measured.

    Examples
    --------
    >>> device = Device(name="d", peak_flops=1e9, efficiency=0.5, memory_bandwidth_bytes_per_s=1e9,
    ...                 launch_overhead_s=0.01, symbols_per_s=100, memory_bytes=1, idle_power_w=1,
    ...                 active_power_w=4)
    >>> device.seconds(Cost(flops=1e9, bytes_touched=1e9, serial_symbols=50, launches=10))
    2.6
    >>> device.joules(Cost(flops=1e9))
    8.0
    """

    name: str
    title: str = ""
    peak_flops: AtLeastOne
    efficiency: Annotated[float, Field(ge=1e-6, le=1)]
    memory_bandwidth_bytes_per_s: AtLeastOne
    launch_overhead_s: Annotated[float, Field(ge=0, le=1e5)]
    symbols_per_s: AtLeastOne
    memory_bytes: Annotated[int, Field(gt=0)]
    idle_power_w: NotNegative
    active_power_w: NotNegative
    slots: Annotated[int, Field(ge=1)] = 1
    policy: Literal["fifo", "shared", "unlimited"] = "fifo"
    throttling: Throttling | None = None
    source: str = ""
    estimated: tuple[str, ...] = ()

    def seconds(self, cost: Cost) -> float:
        """Return the seconds `cost` takes at full speed with nothing else running.

        The roofline (arithmetic and memory traffic overlap, the slower one decides), then what cannot
        overlap: the start of each operator, and symbols that are handled one after another.

        Source: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
        multicore architectures", CACM 52(4), 2009; the two serial terms are ours.

        Left out: caches (all traffic is charged as main-memory traffic), and the roofline of each operator
        by itself: the sums of a phase are compared, which gives at most what operator by operator would.
        """
        arithmetic_s = cost.flops / (self.peak_flops * self.efficiency)
        memory_s = cost.bytes_touched / self.memory_bandwidth_bytes_per_s
        serial_s = cost.launches * self.launch_overhead_s + cost.serial_symbols / self.symbols_per_s
        return max(arithmetic_s, memory_s) + serial_s

    def joules(self, cost: Cost) -> float:
        """Return the energy of `cost`: active power times seconds (idle seconds are not charged here)."""
        return self.active_power_w * self.seconds(cost)


def load(path: Path) -> Device:
    """Read a device profile from its TOML file."""
    return parse(read_toml(path), str(path), path.parent)


def parse(table: Any, place: str, base: Path | None = None) -> Device:
    """Build a device from a TOML table.

    Parameters
    ----------
    table : dict
        The keys of `Device`; or ``profile`` (a path relative to `base`) and the keys that differ from it, for
        example ``{ profile = "devices/rtx-3090.toml", policy = "unlimited" }``.
    place : str
        Where the table stands, for errors.
    base : Path, optional
        Folder of the file that the table stands in.
    """
    if isinstance(table, dict) and "profile" in table:
        profile = table["profile"]
        if not isinstance(profile, str):
            raise ConfigError(f"{place}, profile", repr(profile), "the path of a device profile")
        changes = {key: value for key, value in table.items() if key != "profile"}
        table = read_toml((base or Path()) / profile) | changes
    device: Device = validate(Device, table, place)
    return device


def check_memory(device: Device, needed_bytes: int, what: str, place: str) -> None:
    """Refuse what does not fit into the device's memory.

    Parameters
    ----------
    device : Device
        The machine.
    needed_bytes : int
        Bytes needed at the same time (weights, gradients, optimiser state, activations).
    what : str
        What needs them, for example ``"the client-side model with 8 samples"``.
    place : str
        The table that put it there.

    Raises
    ------
    ConfigError
        With both numbers.
    """
    if needed_bytes > device.memory_bytes:
        raise ConfigError(
            place,
            f"{what}, which needs {needed_bytes:,} bytes",
            f"at most the {device.memory_bytes:,} bytes of memory of {device.name}",
            "Take a smaller model, batch or input, cut earlier, or name a larger device.",
        )
