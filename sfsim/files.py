"""Files that a user asked for by name: their folders are made, and what the system refuses is one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfsim.errors import ResultsError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folders above `path`, and turn what goes wrong while it is written into a ResultsError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written ({error.strerror or error})") from None
