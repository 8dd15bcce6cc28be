"""What a finished run is checked for, from its tables: a list that ends with a tick or a cross each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfsim.report.style import engineering

if TYPE_CHECKING:
    from sfsim.results import Result

_TOLERANCE = 1e-9  # relative; the engine's integral of rate over time is a sum of floats


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: its name, what was found, and whether that is right."""

    name: str
    found: str
    right: bool

    def __str__(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.name}: {self.found}"


def checks(result: "Result") -> list[Check]:
    """Return the checks of a run; each was also made while the run went on, and would have ended it.

    * Conservation: for each link the integral of its rate over time is the bytes of the messages that crossed it,
      but for what was still crossing at the end; and nobody received what nobody had sent.
    * Checksums: each payload carries a CRC-32, which was noted when it left.
    * Receivers: how many payloads their receivers decoded, which a wrong CRC-32 would have stopped.
    """
    messages, links = result.messages, result.links
    arrived = messages["delivered"]
    under_way = float(messages.loc[~arrived, "wire_bytes"].sum())
    apart = (links["carried_bytes"] - links["wire_bytes"]).astype(float)
    slack = _TOLERANCE * links["wire_bytes"].clip(lower=1.0)
    conserved = bool(((apart >= -slack) & (apart <= slack + under_way)).all())
    in_order = bool((messages.loc[arrived, "delivered_s"] >= messages.loc[arrived, "queued_s"]).all())
    carried = engineering(float(links["wire_bytes"].sum()), "B")
    coded = messages[(messages["payload_bytes"] > 0) & arrived]
    sums = int((coded["payload_crc32"] != 0).sum())
    decoded = int((result.computations["phase"] == "decode").sum())
    where = (
        "in the run that this one retimes, " if any(n.startswith("retimed: ") for n in result.notes) else ""
    )
    return [
        Check(
            "conservation",
            f"{carried} over {len(links)} links, none lost or made unsaid",
            conserved and in_order,
        ),
        Check(
            "checksums", f"{sums:,} of {len(coded):,} payloads noted with their CRC-32", sums == len(coded)
        ),
        Check(
            "receivers", f"{where}{decoded:,} payloads decoded and verified", decoded > 0 or not len(coded)
        ),
    ]
