"""Effects that were configured and never happened: a user should know that they did not count."""

from sfsim.ledger import Ledger


def unused_effects(ledger: Ledger) -> list[str]:
    """Return one line for each link whose loss lost nothing, or whose channel was never asked."""
    lines = []
    for link in ledger.links:
        name = f"link {link.source!r} -> {link.destination!r}"
        if link.loss_configured and not link.lost_packets:
            lines.append(f"{name}: loss is configured, but none of {link.messages} messages lost a packet")
        if link.channel_configured and not link.channel_queries:
            lines.append(f"{name}: a channel is configured, but no message ever asked for its rate")
    return lines
