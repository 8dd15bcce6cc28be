"""LoRa: the time of a frame on the air, and the framing of LoRaWAN that follows from it."""

from math import ceil

BANDWIDTH_HZ = 125_000
PREAMBLE_SYMBOLS = 8
HEADER_BYTES = 13  # LoRaWAN 1.0.4: MHDR 1, FHDR 7, FPort 1, MIC 4
# Largest application payload without options, EU868, by spreading factor (RP002-1.0.4, with a repeater in mind).
MAX_PAYLOAD_BYTES = {7: 222, 8: 222, 9: 115, 10: 51, 11: 51, 12: 51}


def symbol_s(spreading_factor: int) -> float:
    """Return how long a symbol lasts, s."""
    return float(2**spreading_factor) / BANDWIDTH_HZ


def low_data_rate(spreading_factor: int) -> bool:
    """Return whether symbols last more than 16 ms, which asks for the optimisation: two bits less in each."""
    return symbol_s(spreading_factor) > 0.016


def rate_bps(spreading_factor: int) -> float:
    """Return the bit rate of symbols at code rate 4/5, bit/s.

    Source: Semtech AN1200.22, and SX1276 data sheet, 4.1.1.6, for the optimisation.

    >>> [round(rate_bps(factor)) for factor in (7, 10, 11, 12)]
    [5469, 977, 439, 244]
    """
    bits = spreading_factor - 2 * low_data_rate(spreading_factor)
    return bits / symbol_s(spreading_factor) * 4 / 5


def air_s(payload_bytes: int, spreading_factor: int) -> float:
    """Return the time on the air of a frame with explicit header and CRC at code rate 4/5, s.

    Parameters
    ----------
    payload_bytes : int
        Physical payload, the header of LoRaWAN included.
    spreading_factor : int
        7 to 12.

    Source: Semtech SX1276 data sheet, 4.1.1.7; AN1200.13.

    >>> round(air_s(64, 12), 4), round(air_s(235, 7), 5)
    (2.7935, 0.3689)
    """
    optimised = low_data_rate(spreading_factor)
    bits = 8 * payload_bytes - 4 * spreading_factor + 28 + 16
    symbols = 8 + max(ceil(bits / (4 * (spreading_factor - 2 * optimised))) * 5, 0)
    return (PREAMBLE_SYMBOLS + 4.25 + symbols) * symbol_s(spreading_factor)


def overhead_bytes(spreading_factor: int) -> int:
    """Return what a full frame of LoRaWAN takes beside its payload, in bytes at `rate_bps`: to the nearest byte.

    Header of LoRaWAN, preamble, header and CRC of LoRa, and the rest of the last block of symbols.
    """
    payload = MAX_PAYLOAD_BYTES[spreading_factor]
    return round(air_s(payload + HEADER_BYTES, spreading_factor) * rate_bps(spreading_factor) / 8) - payload
