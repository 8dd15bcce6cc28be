"""An oracle for `sfsim bench flows`: plain progressive filling over all flows at every event, and nothing else.

Written from the definition of weighted max-min fairness alone, with none of the engine's ideas: no classes,
no virtual time, no heaps. O(flows x links) per event: slow, and easy to check by eye.
"""

from math import inf


def rates(flows, capacity):
    """Weighted max-min rates: raise all levels together, and freeze whoever meets a full link.

    Parameters
    ----------
    flows : dict
        flow -> (weight, links it crosses, each as often as it does).
    capacity : dict
        link -> bit/s.
    """
    found = {}
    left = dict(capacity)
    growing = dict(flows)
    while growing:
        weight = dict.fromkeys(left, 0.0)
        for w, links in growing.values():
            for link in links:
                weight[link] += w
        fills = {link: max(0.0, left[link]) / weight[link] for link in left if weight[link] > 0}
        level = min(fills.values())
        full = {link for link, at in fills.items() if at <= level * (1 + 1e-12)}
        stopped = [flow for flow, (_, links) in growing.items() if not full.isdisjoint(links)]
        for flow in stopped:
            w, links = growing.pop(flow)
            found[flow] = w * level
            for link in links:
                left[link] -= w * level
    return found


def run(world, latency="first", weights="equal"):
    """Return ``{(client, message): (start_s, end_s)}`` of a scenario of `sfsim bench flows`."""
    capacity = {name: link["bw"] * 8.0 for name, link in world["links"].items()}
    clients = world["clients"]
    delay = [sum(world["links"][name]["lat"] for name in client["route"]) for client in clients]
    weight = [1.0 if weights == "equal" else 1 / delay_s for delay_s in delay]
    # What comes next for each client without a flow: when its next message starts, or its bits may leave.
    waiting = {number: (client.get("start", 0.0), 0, "start") for number, client in enumerate(clients)}
    flows, left, message, began, found, now = {}, {}, {}, {}, {}, 0.0

    def arrived(number, at_s):
        found[number, message[number]] = (began[number], at_s)
        if message[number] + 1 < len(clients[number]["sizes"]):
            waiting[number] = (at_s + clients[number].get("gap", 0.0), message[number] + 1, "start")

    while waiting or flows:
        speed = rates(flows, capacity) if flows else {}
        ends = {number: now + left[number] / speed[number] for number in flows}
        due_s = min([at_s for at_s, *_ in waiting.values()] + list(ends.values()), default=inf)
        for number in flows:
            left[number] -= speed[number] * (due_s - now)
        now = due_s
        for number in [number for number, end_s in ends.items() if end_s <= now + 1e-9]:
            del flows[number]
            if latency == "first":
                arrived(number, now)
            else:
                waiting[number] = (now + delay[number], message[number], "arrive")
        for number, (at_s, index, what) in list(waiting.items()):
            if at_s > now + 1e-12 * now:
                continue
            del waiting[number]
            size = clients[number]["sizes"][index] if index < len(clients[number]["sizes"]) else None
            if size is None:
                continue
            if what == "start":
                message[number], began[number] = index, at_s
                if latency == "first":
                    waiting[number] = (at_s + delay[number], index, "leave")
                    continue
            if what == "arrive":
                arrived(number, at_s)
                continue
            flows[number] = (weight[number], tuple(clients[number]["route"]))
            left[number] = size * 8.0
    return found
