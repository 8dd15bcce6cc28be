"""Where a moving client is: along a path, or from one random waypoint to the next."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.growing import Growing
from sfsim.declaration import declaration, misfit
from sfsim.seeds import stream

Point = tuple[float, float]
Speed = Annotated[float, Field(gt=0)]


class Way:
    """One drawn movement, a function of simulated time."""

    def __init__(self, station: Point) -> None:
        self._station = station

    def position(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y in m."""
        raise NotImplementedError

    def travelled_m(self, time_s: np.ndarray) -> np.ndarray:
        """Return the metres gone since time 0."""
        raise NotImplementedError

    def distance_m(self, time_s: np.ndarray) -> np.ndarray:
        """Return the horizontal distance from the station in m."""
        x, y = self.position(time_s)
        return np.asarray(np.hypot(x - self._station[0], y - self._station[1]))


@declaration
class Mobility:
    """Base of the movements.

    Parameters
    ----------
    station : list of two numbers
        Where the base station stands: x and y in m.
    """

    station: Point = (0.0, 0.0)

    def realise(self, seed: int, place: str) -> Way:
        """Draw the movement of the client at `place`."""
        raise NotImplementedError


@declaration
class PathMobility(Mobility):
    """A client that moves along straight lines at constant speed.

    Parameters
    ----------
    points : list of points
        Corners of the path, each x and y in m; the client is at the first one at time 0.
    speed_m_per_s : float
        Metres per second.
    end : "stop", "loop" or "back"
        At the last corner: stay there, go straight to the first one and begin again, or return the same way.

    Examples
    --------
    >>> path = PathMobility(points=((0, 0), (300, 400)), speed_m_per_s=10)
    >>> path.realise(7, "phone").distance_m(np.array([0.0, 10.0, 99.0]))
    array([  0., 100., 500.])
    """

    kind: Literal["path"] = "path"
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    speed_m_per_s: Speed
    end: Literal["stop", "loop", "back"] = "stop"

    def realise(self, seed: int, place: str) -> Way:
        return _Path(self)


class _Path(Way):
    def __init__(self, path: PathMobility) -> None:
        super().__init__(path.station)
        points = list(path.points)
        if path.end == "loop":
            points.append(points[0])
        self._end, self._speed = path.end, path.speed_m_per_s
        self._x, self._y = np.array(points, dtype=float).T
        self._marks_m = np.append(0.0, np.cumsum(np.hypot(np.diff(self._x), np.diff(self._y))))

    def travelled_m(self, time_s: np.ndarray) -> np.ndarray:
        gone = self._speed * np.asarray(time_s, dtype=float)
        length = self._marks_m[-1]
        return np.minimum(gone, length) if self._end == "stop" or length == 0 else gone

    def position(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        along, length = self.travelled_m(time_s), self._marks_m[-1]
        if length > 0 and self._end == "loop":
            along = along % length
        elif length > 0 and self._end == "back":
            along = length - np.abs(along % (2 * length) - length)
        return np.interp(along, self._marks_m, self._x), np.interp(along, self._marks_m, self._y)


@declaration
class RandomWaypoint(Mobility):
    """A client that walks to a random place of a rectangle, waits, and walks to the next one.

    Parameters
    ----------
    low : list of two numbers
        Lower left corner of the rectangle: x and y in m.
    high : list of two numbers
        Upper right corner.
    slowest_m_per_s : float
        Least speed; each way has its own, uniformly drawn between the two.
    fastest_m_per_s : float
        Greatest speed.
    pause_s : float
        How long the client waits at each place.

    Source: Johnson and Maltz, "Dynamic source routing in ad hoc wireless networks", 1996; a slowest speed
    above 0, because otherwise the mean speed decays to 0 (Yoon et al., INFOCOM 2003).
    Left out: a start in the stationary law; the first place is uniform in the rectangle.
    """

    kind: Literal["random-waypoint"] = "random-waypoint"
    low: Point
    high: Point
    slowest_m_per_s: Speed
    fastest_m_per_s: Speed
    pause_s: Annotated[float, Field(ge=0)] = 0.0

    def __post_init__(self) -> None:
        if not (self.low[0] < self.high[0] and self.low[1] < self.high[1]):
            raise misfit("high", f"{list(self.high)}", f"a corner right of and above low = {list(self.low)}")
        if self.fastest_m_per_s < self.slowest_m_per_s:
            found = f"{self.fastest_m_per_s:g}"
            raise misfit("fastest_m_per_s", found, f"at least slowest_m_per_s = {self.slowest_m_per_s:g}")

    def realise(self, seed: int, place: str) -> Way:
        return _Waypoints(self, seed, place)


class _Waypoints(Way):
    """Walks and pauses alternate: mark 2k begins the walk from corner k to k + 1, mark 2k + 1 its pause."""

    def __init__(self, law: RandomWaypoint, seed: int, place: str) -> None:
        super().__init__(law.station)
        self._law, self._seed, self._place = law, seed, place
        first = stream(seed, "first waypoint", place).uniform(law.low, law.high)
        self._corners, self._gone_m = first[None, :], np.zeros(1)
        self._marks = Growing(self._legs)

    def _legs(self, chunk: int, count: int) -> np.ndarray:
        law, half = self._law, count // 2
        draws = stream(self._seed, "waypoints", self._place, chunk).random((half, 3))
        goals = np.array(law.low) + draws[:, :2] * (np.array(law.high) - np.array(law.low))
        speeds = law.slowest_m_per_s + draws[:, 2] * (law.fastest_m_per_s - law.slowest_m_per_s)
        lengths = np.hypot(*np.diff(np.vstack([self._corners[-1], goals]), axis=0).T)
        self._corners = np.vstack([self._corners, goals])
        self._gone_m = np.append(self._gone_m, self._gone_m[-1] + np.cumsum(lengths))
        return np.column_stack([lengths / speeds, np.full(half, law.pause_s)]).ravel()

    def _where(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the corner left last, and the share of the walk from there that is done."""
        time_s = np.asarray(time_s, dtype=float)
        marks = self._marks.reach(float(time_s.max(initial=0.0)))
        begun = np.searchsorted(marks, time_s, side="right") - 1
        leg = begun // 2
        start, end = marks[2 * leg], marks[2 * leg + 1]
        return leg, np.clip((time_s - start) / np.maximum(end - start, 1e-300), 0.0, 1.0)

    def position(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        leg, share = self._where(time_s)
        here, there = self._corners[leg], self._corners[leg + 1]
        at = here + share[..., None] * (there - here)
        return at[..., 0], at[..., 1]

    def travelled_m(self, time_s: np.ndarray) -> np.ndarray:
        leg, share = self._where(time_s)
        return np.asarray(self._gone_m[leg] + share * (self._gone_m[leg + 1] - self._gone_m[leg]))


class Standing(Way):
    """A client that never moves."""

    def __init__(self, distance_m: float) -> None:
        super().__init__((0.0, 0.0))
        self._distance_m = distance_m

    def position(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zero = np.zeros(np.shape(time_s))
        return zero + self._distance_m, zero

    def travelled_m(self, time_s: np.ndarray) -> np.ndarray:
        return np.zeros(np.shape(time_s))


AnyMobility = Annotated[PathMobility | RandomWaypoint, Field(discriminator="kind")]
