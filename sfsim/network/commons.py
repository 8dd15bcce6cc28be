"""Which links are shared at present: a link becomes a resource of the solver with its second flow.

While a link has one flow it is a part of that flow's cap, and costs nothing. A link that became a resource
stays one until there are too many of them; then those that at most one flow uses are parts of caps again.
"""

from math import inf
from typing import TYPE_CHECKING

from sfsim.errors import NetworkError
from sfsim.network.flow import NONE, Course, Flow, FluidLink, Standing

if TYPE_CHECKING:
    from sfsim.network.fluid import FluidEngine

_SPARE = 64  # resources that may be used by a single flow before they are made parts of caps again


class Commons:
    """The shared links of an engine, and the classes of flows that they define."""

    def __init__(self, engine: "FluidEngine") -> None:
        self.engine = engine
        self._classes: dict[tuple[int, ...], int] = {}
        self._standings: dict[Standing, Standing] = {}
        self._shared: dict[FluidLink, None] = {}
        self._spare_classes: list[int] = []
        self._spare_resources: list[int] = []
        self._num_classes = self._num_resources = 0
        self._most_shared = _SPARE
        self.num_unsettled = 0

    def refresh(self, course: Course, now: float) -> None:
        """Find out anew what of a course is shared, and what the rest lets through."""
        engine = self.engine
        for link in course.links:
            if link.changes_at_s <= now and link.cell is None:
                link.ask(now)
                if link.at >= 0:
                    engine.steps.set_budget(engine.tables, link.at, link.capacity_bps, now)
        links = course.links
        if len(set(links)) < len(links):  # a flow takes of such a link for each crossing: no part of a cap
            for link in links:
                if link.at < 0 and link.cell is None and links.count(link) > 1:
                    self.share(link, now)
        inside = tuple(link for link in course.links if link.cell is not None)
        private = [link for link in course.links if link.at < 0 and link.cell is None]
        varying = tuple(link for link in private if link.changes_at_s < inf)
        cap_bps = min((link.capacity_bps for link in private if link.changes_at_s == inf), default=inf)
        followed = tuple(link for link in course.links if link.at >= 0 and link.changes_at_s < inf)
        shared = tuple(sorted(link.at for link in course.links if link.at >= 0))
        media = tuple(dict.fromkeys(link.cell for link in inside if link.cell is not None))
        cell = next((one for one in media if one.as_resource), None)
        number = self._class_of(shared if cell is None else (cell.at, *shared), cell is not None)
        special = bool(followed or varying or inside) or cap_bps == 0
        course.standing = self._one(
            Standing(False, special, number, cap_bps, varying, followed, inside, media)
        )
        engine.file_course(course, private)

    def tidy(self, now: float) -> None:
        """Look for links that are resources and need not be; not while flows are being let in."""
        if len(self._shared) > self._most_shared:
            self._unshare(now)

    def look_at(self, course: Course, flow: Flow, now: float) -> None:
        """See to what there is to see to when a flow starts on a course."""
        if course.standing.stale:
            self.refresh(course, now)
        for link in course.standing.followed:
            self.keep_up(link, now)
        if course.standing.cap_bps == 0 and not course.standing.varying:
            refuse(flow, now)

    def share(self, link: FluidLink, now: float) -> None:
        """Make a link a resource: a second flow has come."""
        if link.at >= 0:
            return
        engine = self.engine
        link.at = self.new_resource()
        self._shared[link] = None
        row = engine.tables.resources[link.at]
        row["carried"] = row["busy"] = row["sharing"] = row["used"] = row["peaks"] = 0.0
        row["last"], row["budget"], row["level"] = now, link.capacity_bps, inf
        self.unsettle(link)
        flow = link.flow
        if flow is not None and engine.entered(flow):
            engine.steps.free_lane(engine.tables, link.lane, flow.remaining_bits, flow.idle_s, now)
            self._reroute(flow, now)
        else:  # what came at this very instant is not in the solver yet
            engine.tables.lanes["flow"][link.lane] = NONE
        if link.changes_at_s < inf:
            self.keep_up(link, now)

    def unsettle(self, link: FluidLink) -> None:
        """Note that all courses over a link have to be looked at again."""
        self.num_unsettled += 1
        courses = link.courses
        for course in courses if isinstance(courses, list) else () if courses is None else (courses,):
            course.standing = self._one(course.standing._replace(stale=True, special=True))

    def _one(self, standing: Standing) -> Standing:
        """Return the same object for the same value, where nothing in it belongs to one course alone."""
        if standing.varying or standing.followed or standing.cells:
            return standing
        return self._standings.setdefault(standing, standing)

    def new_resource(self) -> int:
        """Return a row of the table of resources that nobody uses."""
        if self._spare_resources:
            return self._spare_resources.pop()
        if self._num_resources == len(self.engine.tables.resources):
            self.engine.grow("more_resources")
        self._num_resources += 1
        return self._num_resources - 1

    def keep_up(self, link: FluidLink, now: float) -> None:
        """Make sure that a shared link has the capacity of this instant, and is asked again in time."""
        engine = self.engine
        if link.changes_at_s <= now:
            link.ask(now)
            engine.steps.set_budget(engine.tables, link.at, link.capacity_bps, now)
        if link.capacity_bps == 0 and link.changes_at_s == inf:
            for flow in engine.flows:
                refuse(flow, now)
        if not link.joint.queued and link.changes_at_s < inf:
            link.remember().queued = True
            engine.put(link.changes_at_s, link)

    def change(self, link: FluidLink, now: float) -> None:
        """A link that is queued is due."""
        engine = self.engine
        link.remember().queued = False
        if link.at >= 0 and engine.tables.resources["num"][link.at] > 0:
            # Ask at the boundary: now may be a rounding error before it.
            link.ask(max(now, link.changes_at_s))
            engine.steps.set_budget(engine.tables, link.at, link.capacity_bps, now)
            self.keep_up(link, now)

    def _class_of(self, resources: tuple[int, ...], first_is_cell: bool) -> int:
        engine = self.engine
        number = self._classes.get(resources)
        if number is not None:
            return number
        if len(resources) > engine.tables.crossings.shape[2]:
            engine.grow("wider", len(resources))
        if self._spare_classes:
            number = self._spare_classes.pop()
        else:
            if self._num_classes == len(engine.tables.classes):
                engine.grow("more_classes")
            number, self._num_classes = self._num_classes, self._num_classes + 1
        self._classes[resources] = number
        row = engine.tables.classes[number]
        row["length"], row["cell"], row["level"] = len(resources), 0 if first_is_cell else NONE, inf
        engine.tables.crossings[0, number, : len(resources)] = resources
        return number

    def _unshare(self, now: float) -> None:
        """Make resources that at most one flow uses parts of caps again."""
        engine = self.engine
        engine.settle()
        tables = engine.tables
        lonely = {link.at: link for link in self._shared if tables.resources["num"][link.at] <= 1}
        moved: dict[Flow, None] = {}
        for flow in engine.flows:
            for link in flow.course.links:
                if link.at in lonely and engine.entered(flow):
                    lane = tables.lanes[link.lane]
                    lane["flow"], lane["base_bits"] = flow.slot, flow.remaining_bits
                    lane["base_s"], lane["base_idle"] = now, flow.idle_s
                    moved[flow] = None
        for at, link in lonely.items():
            row = tables.resources[at]
            joint = link.remember()
            joint.past_bits += float(row["carried"])
            joint.past_busy_s += float(row["busy"])
            joint.past_sharing_s += float(row["sharing"])
            del self._shared[link]
            link.at = NONE
            self.unsettle(link)
        for flow in moved:
            self._reroute(flow, now)
        for key in [key for key in self._classes if not lonely.keys().isdisjoint(key)]:
            self._spare_classes.append(self._classes.pop(key))
        # The solver must not find the old resources through classes that are only now empty.
        engine.solve(now)
        self._spare_resources += lonely
        self._most_shared = _SPARE + 2 * len(self._shared)

    def _reroute(self, flow: Flow, now: float) -> None:
        """Put a flow into the class that its links belong to now."""
        engine, course = self.engine, flow.course
        if course.standing.stale:
            self.refresh(course, now)
        engine.renew(flow, now)


def refuse(flow: Flow, now: float) -> None:
    """Raise NetworkError when a link of a flow is down for ever."""
    for link in flow.course.links:
        if link.capacity_bps == 0 and link.changes_at_s == inf:
            raise NetworkError(
                f"link {link.name!r} is down for ever from {now:g} s on; {flow.owner} waits for it"
            )
