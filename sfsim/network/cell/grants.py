"""How long a message waits before the cell serves it: wake-up, scheduling request, grant.

A terminal that has nothing to send holds no grant. Its next uplink message waits for the next opportunity to
ask (anywhere in the period), then for the grant. After a long silence it is idle and wakes up first; a
downlink message waits for that too. While a terminal is still sending, further messages are announced with
the data and wait for nothing.

Source: 3GPP TS 36.213 10.1.5 (request), TR 36.881 5.2.1 (grant), TR 36.913 (idle to connected).
"""

from math import inf

from sfsim.network.cell.declarations import Cellular, WifiCell
from sfsim.seeds import integer


class Grants:
    """The waits of one cell's clients; the wait of a client's k-th request depends on its name and k only.

    Parameters
    ----------
    cell : Cellular or WifiCell
        The cell; 802.11 has no grants and no waits.
    seed : int
        The seed of the network.
    name : str
        What the cell is called.
    """

    def __init__(self, cell: Cellular | WifiCell, seed: int, name: str) -> None:
        self._cell, self._seed, self._name = cell, seed, name
        self._requests: dict[str, int] = {}
        self._silent_since_s: dict[str, float] = {}
        self._sending: dict[str, int] = {}

    def wait_s(self, client: str, now_s: float, down: bool) -> float:
        """Return how long a message that is handed over at `now_s` waits; call `begin` when it starts."""
        cell = self._cell
        if isinstance(cell, WifiCell):
            return 0.0
        since_s = now_s if self._sending.get(client) else self._silent_since_s.get(client, -inf)
        wait_s = cell.wake_up_s if now_s - since_s > cell.idle_after_s else 0.0
        if down or self._sending.get(client):
            return wait_s
        index = self._requests[client] = self._requests.get(client, -1) + 1
        part = 0.5
        if cell.sr_wait == "uniform" and cell.sr_period_s:
            # The hash of the names is itself a uniform draw; a generator for one number takes ten times as long.
            part = integer(self._seed, "scheduling request", self._name, client, index) / 2**63
        return wait_s + part * cell.sr_period_s + cell.grant_delay_s

    def begin(self, client: str, down: bool) -> None:
        """Note that a message of `client` is on the air."""
        if not down:
            self._sending[client] = self._sending.get(client, 0) + 1

    def end(self, client: str, now_s: float, down: bool) -> None:
        """Note that a message of `client` has left the air at `now_s`."""
        if not down:
            self._sending[client] -= 1
        self._silent_since_s[client] = now_s
