"""Find a data set below the data root, or say how to get it."""

from pathlib import Path

from sfsim.errors import DataError


def locate(title: str, folder: str, root: Path | None, marker: str, download: str) -> Path:
    """Return the folder of a data set.

    Parameters
    ----------
    title : str
        Name of the data set, for the error.
    folder : str
        Where it should be, relative to `root` (or absolute).
    root : Path or None
        The data root, or the data set's own folder.
    marker : str
        A glob pattern that something in the right folder matches.
    download : str
        What to download and what to do with it, for the error.

    Raises
    ------
    DataError
        It is not there.
    """
    base = Path() if root is None else root
    for candidate in (base / folder, base):
        if candidate.is_dir() and any(candidate.glob(marker)):
            return candidate
    where = f"no {marker} in {base / folder}" + (" (no data root is set)" if root is None else "")
    raise DataError(
        f"{title} not found, {where}: {download} (see docs/data.md); "
        "or run scenarios/quickstart.toml, which needs no download"
    )
