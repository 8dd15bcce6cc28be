"""What the declarations say about themselves: the tables of a scenario, their keys, and the text of both."""

import inspect
import re
from dataclasses import is_dataclass

from sfsim.declaration.fields import allowed, classes, element, keys, named
from sfsim.scenario.scenario import Scenario

Path = tuple[str, ...]

# Keys that mean the same wherever they occur, for declarations that do not explain them.
_COMMON = {
    "title": "One line for tables and reports.",
    "source": "Where the numbers come from.",
    "layout": "How the folder is laid out.",
    "path": "The folder below the data root.",
    "image_size": "Pixels along each side; other images are resized.",
    "max_pairs": "How many pairs to keep, drawn by seed; default: all.",
    "test_fraction": "Share of the examples that is tested on.",
    "task": "What is learnt.",
    "num_train": "Training examples, validation included.",
    "num_test": "Test examples.",
    "in_channels": "Channels of an image or a series.",
    "length": "Samples of a series.",
    "num_classes": "Classes.",
    "noise": "Standard deviation of the noise; the larger, the harder.",
    "alpha": "Concentration: 0.1 is very uneven, 100 nearly even.",
    "counts": "How many examples for each client, in order.",
    "fractions": "The share of each client, in order.",
    "norm": "What follows each convolution.",
    "learning_rate": "Step size.",
    "momentum": "Share of the last step that is kept; 0.9 is usual.",
    "betas": "Decay of the mean and of the mean square of gradients.",
    "epsilon": "Keeps the division finite.",
    "weight_decay": "L2 penalty.",
    "probability": "Of the loss of a packet.",
}


def all_tables() -> dict[Path, list[type]]:
    """Return every place of a scenario that holds a table, depth first, and what may stand there.

    A declaration is listed where it occurs first.

    >>> list(all_tables())[:3]
    [(), ('seed',), ('data',)]
    """
    found: dict[Path, list[type]] = {}
    seen: set[type] = set()

    def visit(path: Path, tables: list[type]) -> None:
        new = [cls for cls in tables if cls not in seen]
        if not new:
            return
        seen.update(new)
        found[path] = new
        for cls in new:
            for key, info in keys(cls).items():
                kind = allowed(info)
                inner = classes(kind) or (classes(element(kind)) if element(kind) is not None else [])
                visit((*path, key), inner)
                if named(kind) is not None:
                    visit((*path, key, "NAME"), classes(named(kind)))

    visit((), [Scenario])
    return found


def first_place(cls: type) -> str:
    """Return the place at which a table is described, in TOML's words.

    >>> first_place(Scenario)
    'scenario'
    """
    return next(".".join(path) or "scenario" for path, tables in all_tables().items() if cls in tables)


def about(cls: type) -> str:
    """Return the prose of a declaration's docstring, without its sections.

    >>> about(Scenario)
    'Everything that decides a run.'
    """
    text = inspect.cleandoc(cls.__doc__ or "")
    return re.split(r"\n\n(?=(?:\w+\n-{3,})|(?:Source|Left out):)|\n(?=Left out:)", text)[0].strip()


def about_keys(cls: type) -> dict[str, str]:
    """Return what the docstrings of a declaration and its bases say about each key.

    >>> about_keys(Scenario)["global_rounds"]
    'How many.'
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if is_dataclass(base):
            texts |= _parameters(inspect.cleandoc(base.__doc__ or ""))
    sentences = re.split(r"(?<=[.;]) ", " ".join(about(cls).split()))
    for key in keys(cls):
        said = [sentence for sentence in sentences if re.search(rf"`{key}\b", sentence)]
        texts[key] = texts.get(key) or " ".join(said) or _COMMON.get(key, "")
    return texts


def _parameters(text: str) -> dict[str, str]:
    section = re.search(r"Parameters\n-+\n(.*?)(?=\n\n|\Z)", text, re.DOTALL)
    if section is None:
        return {}
    entries = re.split(r"\n(?=\S)", section.group(1))
    found = {}
    for entry in entries:
        head, _, body = entry.partition("\n")
        for name in head.partition(" : ")[0].split(","):
            found[name.strip()] = " ".join(body.split())
    return found
