"""What a user says about a radio cell that clients share: ``[cell.NAME]`` in a scenario.

V behind a source: its text was read; M: from memory, check before citing.
"""

from typing import Annotated, Literal

from pydantic import Field

from sfsim.channel import AnyPathLoss, Cqi, InterceptSlope, Shannon
from sfsim.channel.snr import SnrToRate
from sfsim.declaration import declaration, misfit
from sfsim.declaration.units import Decibel, Loss

Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Above0 = Annotated[float, Field(gt=0)]
Symbols = Annotated[int, Field(ge=0, le=14)]


@declaration
class Cellular:
    """An LTE or NR cell: a base station deals airtime to its terminals.

    Parameters
    ----------
    access : str
        Who gets the air. ``"round-robin"`` and ``"tdma"``: equal airtime. ``"proportional-fair"``: equal
        airtime at good moments (`pf_gain`). ``"max-rate"``: the best channel first. ``"equal-rate"``: the
        same rate for all. ``"ofdma"``: sub-bands side by side, with a terminal's power in its own.
        ``"lte-grid"``: equal airtime in whole resource blocks. ``"private"``: nothing is shared, as other
        simulators assume.
    duplex : {"fdd", "tdd", "half"}
        Directions on bands of their own, in turns by a pattern, or sharing the air with one another.
    tdd_pattern : str
        Slots of a TDD period: D down, U up, S special. Default: DDDSU, 2.5 ms at 30 kHz (TS 38.521-4 A.1.2,
        V).
    tdd_special : list of int
        Symbols of a special slot that go down, are silent, and go up. Default 10, 2, 2 (same source).
    resource_blocks : int
        Width of the carrier (of each, with fdd). Default 50: LTE at 10 MHz (TS 36.101 table 5.6-1, V).
    block_hz : float
        Width of a resource block. Default 180 kHz: 12 subcarriers of 15 kHz (TS 36.211 6.2.3, V).
    path_loss : PathLoss
        Loss between a client that says its `distance_m` and the base station: ``"intercept-slope"`` (default),
        ``"log-distance"`` or ``"tr38901"``. Shadowing and line of sight are drawn once for each client, by its
        name, and are the same in both directions.
    carrier_hz : float
        For the laws of path loss that depend on it. Default 2 GHz, as ns-3's urban macro cell.
    uplink_power_dbm : float
        Most that a terminal sends. Default 23 dBm (TS 36.101 6.2.2, V).
    p0_dbm, alpha : float
        Fractional power control per resource block (TS 36.213 5.1.1.1): ``min(uplink_power_dbm, p0 + alpha *
        loss + 10 log10(blocks))``. Default -80 dBm and 1, as in ns-3 3.44 (V); 0.8 is common in networks (M).
    downlink_power_dbm : float
        What the base station sends, over the whole carrier. Default 30 dBm as in ns-3 (V); 46 dBm is usual
        for urban macro cells (M).
    antenna_gain_db : float
        Of both antennas together.
    uplink_noise_figure_db, downlink_noise_figure_db : float
        Of the receiver. Default 5 and 9 dB, as in ns-3 (V).
    interference_margin_db : float
        By how much neighbouring cells raise the noise. Default 0: an isolated cell; 3 dB is usual (M).
    uplink_snr_to_rate, downlink_snr_to_rate : Shannon or Cqi
        The modem. Default up: Shannon with a gap of 7.4 dB (ns-3's ``-ln(5 BER) / 1.5`` with BER 5e-5, V);
        down: the CQI table at 10 % block errors.
    max_bits_per_hz : float
        What the best modulation carries. Default 5.55: 64-QAM at rate 948/1024 (TS 36.213 table 7.2.3-1, V).
    uplink_overhead, downlink_overhead : float
        Share of the rate that pilots and control take. Default 0.25 and 0.28: what brings clients of ns-3's
        LTE at 100 to 800 m closest to their measured rates. NR says 0.08 and 0.14 below 6 GHz, 0.10 and 0.18
        above (TS 38.306 4.1.2, V).
    fading : {"none", "rayleigh", "rician"}
        Block fading of clients that say their `distance_m`.
    coherence_time_s : float
        How long a block lasts. Default 50 ms: 0.423 / Doppler at 5 km/h and 2 GHz (Rappaport).
    csi_delay_s : float
        Age of the channel state that the scheduler uses. Default 0.
    csi_error_db : float
        Standard deviation of its error. Default 0. Delay and error cost an SNR margin for 10 % block errors.
    pf_gain : {"measured", "rayleigh", "none"}
        Law of the multi-user gain of proportional fair (`sfsim.network.cell.gain`). Without fading there is
        none.
    grid_scheduler : {"pf", "rr"}
        Downlink of ``"lte-grid"``; round robin as in ns-3 leaves blocks unused.
    sub_bands : int, optional
        ``"ofdma"``: a fixed number of sub-bands. Default: one for each member that sends.
    latency_s : float
        One way through the radio hop, besides sending and waiting for a grant. Default 4 ms (TR 36.912 B.2,
        M).
    sr_period_s : float
        An uplink message out of silence waits for the next scheduling request opportunity. Default 10 ms
        (TS 36.213 table 10.1.5-1: 1, 2, 5, 10, 20, 40, 80; V, copy).
    sr_wait : {"uniform", "mean"}
        Whether that wait is drawn from 0 to the period, or half of it.
    grant_delay_s : float
        From the request to the first data. Default 8 ms: 4 to the grant and 4 to the data (TR 36.881 5.2.1,
        M).
    wake_up_s : float
        From idle to connected. Default 50 ms (target of TR 36.913; V, copy); 50 to 300 ms in the field (M).
    idle_after_s : float
        Silence after which a terminal falls idle. Default 10 s (usual inactivity timer, M).
    model_delivery : {"unicast", "multicast"}
        How the global model reaches the clients of the cell: to each, or once for all at the slowest one's
        rate.
    """

    kind: Literal["cellular"] = "cellular"
    access: Literal[
        "round-robin", "tdma", "proportional-fair", "max-rate", "equal-rate", "ofdma", "lte-grid", "private"
    ] = "round-robin"
    duplex: Literal["fdd", "tdd", "half"] = "fdd"
    tdd_pattern: Annotated[str, Field(min_length=1)] = "DDDSU"
    tdd_special: tuple[Symbols, Symbols, Symbols] = (10, 2, 2)
    resource_blocks: Annotated[int, Field(ge=6)] = 50
    block_hz: Above0 = 180e3
    path_loss: AnyPathLoss = InterceptSlope()
    carrier_hz: Above0 = 2e9
    uplink_power_dbm: Decibel = 23.0
    p0_dbm: Decibel = -80.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    downlink_power_dbm: Decibel = 30.0
    antenna_gain_db: Decibel = 0.0
    uplink_noise_figure_db: Loss = 5.0
    downlink_noise_figure_db: Loss = 9.0
    interference_margin_db: Loss = 0.0
    uplink_snr_to_rate: SnrToRate = Shannon(gap_db=7.4)
    downlink_snr_to_rate: SnrToRate = Cqi()
    max_bits_per_hz: Above0 = 5.55
    uplink_overhead: Share = 0.25
    downlink_overhead: Share = 0.28
    fading: Literal["none", "rayleigh", "rician"] = "none"
    coherence_time_s: Above0 = 0.05
    csi_delay_s: Seconds = 0.0
    csi_error_db: Loss = 0.0
    pf_gain: Literal["measured", "rayleigh", "none"] = "measured"
    grid_scheduler: Literal["pf", "rr"] = "pf"
    sub_bands: Annotated[int, Field(ge=1)] | None = None
    latency_s: Seconds = 0.004
    sr_period_s: Seconds = 0.010
    sr_wait: Literal["uniform", "mean"] = "uniform"
    grant_delay_s: Seconds = 0.008
    wake_up_s: Seconds = 0.050
    idle_after_s: Seconds = 10.0
    model_delivery: Literal["unicast", "multicast"] = "unicast"

    def __post_init__(self) -> None:
        wrong = set(self.tdd_pattern) - set("DSU")
        if wrong:
            raise misfit("tdd_pattern", repr(self.tdd_pattern), "letters D, S and U only")
        if sum(self.tdd_special) != 14:
            raise misfit("tdd_special", f"{sum(self.tdd_special)} symbols", "three numbers that add up to 14")
        if self.duplex == "tdd" and not all(self.airtime(down) for down in (False, True)):
            raise misfit("tdd_pattern", repr(self.tdd_pattern), "slots in both directions")
        if self.duplex == "half" and self.access == "lte-grid":
            raise misfit("duplex", "'half'", "'fdd' or 'tdd', because access = 'lte-grid'")

    @property
    def bandwidth_hz(self) -> float:
        """Width of the carrier."""
        return self.resource_blocks * self.block_hz

    def airtime(self, down: bool) -> float:
        """Return the share of the time that belongs to a direction.

        >>> round(Cellular(duplex="tdd").airtime(down=False), 4)
        0.2286
        """
        if self.duplex != "tdd":
            return 1.0
        whole, special = ("D", self.tdd_special[0]) if down else ("U", self.tdd_special[2])
        slots = self.tdd_pattern.count(whole) + self.tdd_pattern.count("S") * special / 14
        return slots / len(self.tdd_pattern)


@declaration
class WifiCell:
    """An 802.11 cell: stations and one access point contend for one channel of 20 MHz, half duplex.

    Parameters
    ----------
    access : {"csma", "round-robin", "equal-rate", "private"}
        ``"csma"``: 802.11 DCF, with collisions and the performance anomaly. ``"round-robin"``: airtime
        fairness (as Linux's, arXiv 1703.00064, V), without collisions. ``"equal-rate"``: the anomaly without
        collisions. ``"private"``: nothing is shared.
    standard : {"802.11n", "802.11a"}
        With bursts (A-MPDU) or without.
    path_loss : PathLoss
        Default: free space to 1 m at 5.2 GHz, then 30 dB per decade (Rappaport, indoors, M). Others as in a
        cellular cell.
    carrier_hz : float
        For the laws of path loss that depend on it. Default 5.2 GHz.
    uplink_power_dbm, downlink_power_dbm : float
        What a station and the access point send. Default 20 dBm (EN 301 893, M).
    noise_figure_db : float
        Default 10 dB, as IEEE 802.11-2020 17.3.10.2 assumes for its sensitivities (M).
    interference_margin_db : float
        By how much others raise the noise. Default 0.
    latency_s : float
        One way, besides sending and waiting for the medium. Default 1 ms.
    model_delivery : {"unicast", "multicast"}
        How the global model reaches the clients of the cell: to each, or once for all at the slowest one's
        rate.
    """

    kind: Literal["wifi"] = "wifi"
    access: Literal["csma", "round-robin", "equal-rate", "private"] = "csma"
    standard: Literal["802.11n", "802.11a"] = "802.11n"
    path_loss: AnyPathLoss = InterceptSlope(intercept_db=46.8, slope_db=30.0)
    carrier_hz: Above0 = 5.2e9
    uplink_power_dbm: Decibel = 20.0
    downlink_power_dbm: Decibel = 20.0
    noise_figure_db: Loss = 10.0
    interference_margin_db: Loss = 0.0
    latency_s: Seconds = 0.001
    model_delivery: Literal["unicast", "multicast"] = "unicast"


AnyCell = Annotated[Cellular | WifiCell, Field(discriminator="kind")]
