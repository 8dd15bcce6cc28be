"""Declarations of the data sets that hold series: samples in time, one or more channels (no torch here).

In place of `image_size` they say `length`: how many samples a channel has.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from sfsim.declaration import declaration, misfit

SeriesTask = Literal["classification", "multi-label"]

_Positive = Annotated[int, Field(ge=1)]
_Fraction = Annotated[float, Field(gt=0, lt=1)]
_Length = Annotated[int, Field(ge=8, le=1_000_000)]
_Classes = Annotated[int, Field(ge=2, le=1000)]


def _named(text: str) -> str:
    if not text or text != text.strip():
        raise ValueError("a name without spaces around it")
    return text


_Name = Annotated[str, AfterValidator(_named)]


@declaration
class SeriesNpz:
    """Series in an ``.npz`` file: ``x``, numbers (N, C, L), or (N, L) for one channel, and ``y``, their classes.

    Values are kept as they are, as float32; numbers that are not finite are refused.

    Parameters
    ----------
    path : str
        The file below the data root.
    test_path : str, optional
        Another such file to test on; by default `test_fraction` of `path` is drawn by seed.
    length : int
        Samples of each channel, L.
    in_channels : int
        Channels of a series, C.
    num_classes : int
        How many classes the labels tell apart, K.
    task : {"classification", "multi-label"}
        ``y`` is one whole number for each series, (N,); or 0 or 1 for each of the K classes, (N, K), any number of
        which may hold at a time.
    max_series : int, optional
        Keeps that many series that are not tested on, drawn by seed.
    test_fraction : float
        Share that is tested on where there is no `test_path`.
    """

    kind: Literal["series-npz"] = "series-npz"
    path: str
    test_path: str | None = None
    length: _Length
    in_channels: Annotated[int, Field(ge=1, le=4096)] = 1
    num_classes: _Classes
    task: SeriesTask = "classification"
    max_series: _Positive | None = None
    test_fraction: _Fraction = 0.2


@declaration
class SeriesCsv:
    """Series in a CSV file: one in each row, the label in one column, all other columns its samples in order.

    Fields are separated by commas; labels are whole numbers (``3`` or ``3.0``).

    Parameters
    ----------
    path : str
        The file below the data root.
    test_path : str, optional
        Another such file to test on; by default `test_fraction` of `path` is drawn by seed.
    header : bool
        Whether the first row names the columns.
    label_column : str
        The column of the class: its name, or without a header its number, counted from 0, such as ``"187"``.
    length : int
        Samples of a series: all columns but one.
    num_classes : int
        How many classes the labels tell apart.
    max_series : int, optional
        Keeps that many series that are not tested on, drawn by seed.
    test_fraction : float
        Share that is tested on where there is no `test_path`.
    """

    kind: Literal["series-csv"] = "series-csv"
    path: str
    test_path: str | None = None
    header: bool = True
    label_column: _Name = "label"
    length: _Length
    num_classes: _Classes
    max_series: _Positive | None = None
    test_fraction: _Fraction = 0.2

    task: ClassVar[SeriesTask] = "classification"
    in_channels: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.header:
            if not (self.label_column.isascii() and self.label_column.isdecimal()):
                raise misfit(
                    "label_column", repr(self.label_column), 'a column\'s number, from "0", without a header'
                )
            if int(self.label_column) > self.length:
                raise misfit(
                    "label_column", repr(self.label_column), f'at most "{self.length}", the last column'
                )


MAX_SYNTHETIC_BYTES = 4 << 30


@declaration
class SyntheticSeries:
    """Invented series, drawn by seed: class k is a wave of 2 (k + 1) periods, its phase at random, in noise.

    How strong a class is in a channel is drawn once, between 0.5 and 1. In ``"multi-label"`` each class is there
    with a chance of 0.5, and the waves of those that are add up.
    """

    kind: Literal["synthetic-series"] = "synthetic-series"
    task: SeriesTask = "classification"
    num_train: _Positive = 512
    num_test: _Positive = 128
    length: _Length = 128
    in_channels: Annotated[int, Field(ge=1, le=4096)] = 1
    num_classes: _Classes = 4
    noise: Annotated[float, Field(ge=0)] = 0.3

    def __post_init__(self) -> None:
        # While they are drawn, numbers are float64.
        num_bytes = 8 * (self.num_train + self.num_test) * self.in_channels * self.length
        if num_bytes > MAX_SYNTHETIC_BYTES:
            found = f"{self.num_train + self.num_test:,} series that take {num_bytes / 2**30:,.1f} GiB"
            raise misfit(
                "num_train", found, f"at most {MAX_SYNTHETIC_BYTES >> 30} GiB (fewer or shorter ones)"
            )
        if 4 * self.num_classes > self.length:
            found = f"{self.length}, with which class {self.num_classes - 1} has no wave of its own"
            raise misfit("length", found, f"at least {4 * self.num_classes} for {self.num_classes} classes")


AnySeries = SeriesNpz | SeriesCsv | SyntheticSeries
