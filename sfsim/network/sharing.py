"""Max-min fair rates: nobody can get more without taking from somebody who has no more."""

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from sfsim.network.flow import Flow, FluidLink


def share(flows: Iterable[Flow], links: Iterable[FluidLink]) -> None:
    """Set ``rate_bps`` of all flows, and ``used_bps`` of all links, by progressive filling.

    All flows grow alike until a link is full; its flows stop there, the others grow on. Taken link by link:
    the link with the smallest equal share of what is left is the next one to be full.

    Parameters
    ----------
    flows : iterable of Flow
        All flows.
    links : iterable of FluidLink
        All links that they use.

    Source: Bertsekas and Gallager, *Data Networks*, section 6.5.2.
    """
    waiting = dict.fromkeys(flows)
    left = {link: (link.capacity_bps, len(link.flows)) for link in links}
    # Levels only rise during the filling, so an old level is a lower bound, renewed when it is met.
    heap = [(bps / count, order, link) for order, (link, (bps, count)) in enumerate(left.items())]
    heapify(heap)
    while heap:
        level_bps, order, link = heap[0]
        bps, count = left[link]
        if not count:
            heappop(heap)
            continue
        if bps / count > level_bps:
            heapreplace(heap, (bps / count, order, link))
            continue
        rate_bps = max(0.0, bps / count)
        for flow in link.flows:
            if flow in waiting:
                del waiting[flow]
                flow.rate_bps = rate_bps
                for crossed in flow.route:
                    bps, count = left[crossed]
                    left[crossed] = (max(0.0, bps - rate_bps), count - 1)
        heappop(heap)
    for link in left:
        link.used_bps = sum(flow.rate_bps for flow in link.flows)
