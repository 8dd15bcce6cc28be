"""The import rules of the house, read from the source text (docs/architecture.md)."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sfsim"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES
}

# What a package may know of the house; the ground floor lies below all.
GROUND = {
    "payload",
    "errors",
    "files",
    "text",
    "seeds",
    "cost",
    "declaration",
    "ledger",
    "clock",
    "collector",
    "compiling",
    "intervals",
    "names",
    "checksums",
    "interruption",
}
MAY_IMPORT = {
    "codec": set(),
    "channel": set(),
    "device": set(),
    "learning": set(),
    "network": {"channel"},
    "workload": {"learning", "codec", "scenario", "network"},
    "splitfed": {"network", "workload", "device", "scenario"},
    "scenario": {"learning", "codec", "channel", "network", "device"},
    "preview": {"world", "scenario", "workload", "codec", "network"},
    "world": {"scenario", "splitfed", "network", "workload", "device", "learning", "codec"},
    "results": {"scenario"},
    "report": {"results"},
    "study": {"results", "scenario", "simulation"},
    "warming": {"scenario", "simulation"},
    "machine": set(),
    "start": {"__main__"},
    "retiming": {"results", "report", "scenario", "workload", "world", "simulation"},
    "resuming": {"results", "scenario", "workload"},
    "simulation": {"world", "results", "resuming", "scenario", "learning", "workload", "machine"},
}
NEVER = {
    "codec": {"simpy", "torch", "networkx"},
    "channel": {"simpy", "torch"},
    "network": {"torch", "compressai"},
    "learning": {"simpy", "networkx"},
    "splitfed": {"torch", "numpy", "networkx"},
    "results": {"torch", "simpy"},
    "report": {"torch", "simpy"},
}
# The one place of `device` that measures a real machine.
EXEMPT = {("device/calibrate.py", "torch")}


def part_of(path: Path) -> str:
    """The package or module of the house that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Every dotted name that a file imports, outside type-checking blocks."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module
                for alias in node.names
            }
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_keeps_the_import_rules(path: Path) -> None:
    part = part_of(path)
    names = imports(path)
    roots = {name.split(".")[0] for name in names}
    broken = roots & NEVER.get(part, set())
    broken -= {name for file, name in EXEMPT if file == path.relative_to(PACKAGE).as_posix()}
    assert not broken, f"{path.name} of {part} imports {sorted(broken)}"
    house = {name.split(".")[1] for name in names if name.startswith("sfsim.")}
    if part in MAY_IMPORT:
        assert house <= MAY_IMPORT[part] | GROUND | {part, "__version__"}, f"{path.name}: {sorted(house)}"


def test_every_part_of_the_house_has_a_rule() -> None:
    free = GROUND | {"__init__", "__main__", "commands", "console", "tables"}
    assert {part_of(path) for path in FILES} <= set(MAY_IMPORT) | free


def test_no_import_circles() -> None:
    graph = {
        name: {other for other in imports(path, top_level_only=True) if other in MODULES and other != name}
        for name, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


def test_root_folders_are_not_packages() -> None:
    assert not [name for name in ("codecs", "channels", "analysis") if (ROOT / name / "__init__.py").exists()]


def test_every_file_says_what_it_is() -> None:
    assert not [str(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]


def test_no_global_randomness() -> None:
    text = {path: path.read_text() for path in FILES}
    assert not [
        str(path) for path, code in text.items() if "np.random.seed" in code or "np.random.rand" in code
    ]


def test_importing_sfsim_is_light() -> None:
    """0.3 s is too noisy a bound to time here; what costs the time is checked instead."""
    code = (
        "import sys, sfsim; heavy = {'torch', 'pandas', 'networkx', 'matplotlib', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
