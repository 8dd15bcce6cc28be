"""LoRa by Semtech's formulas: rates, times on the air, and what 100 kB take under a duty cycle of 1 %."""

from math import ceil
from pathlib import Path

import pytest

from sfsim.channel import load
from sfsim.network import framing, lora

CATALOGUE = Path(__file__).resolve().parents[1] / "channels"

# (spreading factor, physical payload in bytes, ms on the air): SX1276 data sheet 4.1.1.7, computed by hand.
AIR_MS = [
    (7, 13, 46.336),  # 12.25 + 8 + 5 * ceil(120 / 28) = 45.25 symbols of 1.024 ms
    (7, 235, 368.896),
    (9, 128, 676.864),  # 12.25 + 8 + 5 * ceil(1032 / 36) = 165.25 symbols of 4.096 ms
    (10, 64, 698.368),  # 12.25 + 8 + 5 * ceil(516 / 40) = 85.25 of 8.192 ms
    (11, 64, 1560.576),  # 12.25 + 8 + 5 * ceil(512 / 36) = 95.25 of 16.384 ms, optimised
    (12, 64, 2793.472),  # 12.25 + 8 + 5 * ceil(508 / 40) = 85.25 of 32.768 ms, optimised
]


@pytest.mark.parametrize(("factor", "payload", "air_ms"), AIR_MS)
def test_time_on_the_air(factor: int, payload: int, air_ms: float) -> None:
    assert 1e3 * lora.air_s(payload, factor) == pytest.approx(air_ms, abs=1e-9)


@pytest.mark.parametrize(
    ("factor", "bps"),
    [(7, 5468.75), (8, 3125), (9, 1757.8125), (10, 976.5625), (11, 439.453125), (12, 244.140625)],
)
def test_rates_with_the_low_data_rate_optimisation(factor: int, bps: float) -> None:
    entry = load(CATALOGUE / f"lora-sf{factor}.toml")
    assert entry.rate_bps == bps == lora.rate_bps(factor) and entry.duty_cycle == 0.01


@pytest.mark.parametrize(("factor", "seconds"), [(12, 547_800), (7, 16_637)])
def test_a_hundred_kilobytes_under_the_duty_cycle(factor: int, seconds: float) -> None:
    frames = framing(f"lorawan-sf{factor}")
    by_formula = ceil(100_000 / frames.payload_bytes) * lora.air_s(frames.payload_bytes + 13, factor) / 0.01
    assert by_formula == pytest.approx(seconds, rel=1e-4)
    offered_bps, _ = load(CATALOGUE / f"lora-sf{factor}.toml").realise(1, "a->b").segment(0.0)
    here = frames.wire_bytes(100_000) * 8 / offered_bps
    assert here == pytest.approx(by_formula, rel=0.004)  # whole bytes of overhead a frame


def test_a_mahimahi_opportunity_carries_a_packet_of_1500_bytes() -> None:
    for name in ("ip", "tcp-ip"):
        assert framing(name).payload_bytes + framing(name).overhead_bytes == 1500
