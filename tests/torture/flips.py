"""Flipped bits in what runs leave: refused in one line, or of no consequence.

``python -m tests.torture.flips --count 500 --seed 1`` makes a run with learned codecs, the same one killed after a
round, and a scenario that begins with the weights which the run has kept. Then it flips one random bit in a random
file of these, and gives it to a command, or to `sfsim.Result`. Right is exit code 2 with one line, or the very output
that the unharmed file gives. Anything else is printed, and the exit code is 1.
"""

import argparse
import math
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture.kills import contents
from tests.torture.mutations import become
from tests.torture.subjects import prepare

CODEC = "{ kind = 'ae', channels = 2 }"
SIMPLE = 'smashed_up = "../codecs/int8.toml"'
ATTRIBUTES = (
    "summary", "scenario", "environment", "messages", "computations", "accesses", "evaluations", "links", "link_usage",
    "rounds", "predictions",
)  # fmt: skip

Use = Callable[[], object]  # what comes of a use of some files, to be compared; or Refused, or Fault


class Fault(Exception):
    """A command ended neither well nor in one clear error."""


class Refused(Exception):
    """A command ended in one clear error."""


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Flip one bit of a file for a while."""
    content = path.read_bytes()
    harmed = bytearray(content)
    harmed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(harmed)
    try:
        yield
    finally:
        path.write_bytes(content)


def call(folder: Path, *arguments: object) -> str:
    """Call the command in a process of its own and return its output."""
    said, printed = folder / "said.txt", folder / "printed.txt"
    child = os.fork()
    if child == 0:
        become([*map(str, arguments)], said, folder, printed)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    lines = said.read_text().strip().splitlines()
    if code == 2 and len(lines) == 1 and lines[0].startswith("error: "):
        raise Refused
    if code != 0:
        raise Fault(f"exit code {code}: {lines[-6:]}")
    return printed.read_text()


def loaded(run: Path) -> list[str]:
    """Read everything with `sfsim.Result`."""
    from sfsim.errors import ResultsError
    from sfsim.results import Result

    try:
        result = Result(run)
        values = [getattr(result, name) for name in ATTRIBUTES]
    except ResultsError as error:
        if len(str(error).splitlines()) != 1:
            raise Fault(str(error)) from None
        raise Refused from None
    except Exception as error:
        raise Fault(f"sfsim.Result: {error!r}") from None
    return [value.to_csv() if hasattr(value, "to_csv") else repr(value) for value in values]


def prepared(top: Path) -> list[tuple[list[Path], list[Use]]]:
    """Make what bits are flipped in: files, and what reads them."""
    prepare(top)
    toys, run = top / "toys", top / "run"
    text = (toys / "star.toml").read_text().replace(SIMPLE, f"smashed_up = {CODEC}")
    learned = toys / "learned.toml"
    learned.write_text(text + "\n[evaluation]\nkeep_predictions = 4\n")
    call(top, "run", learned, "--out", run, "--quiet")
    _killed_after_a_round(learned, top / "cut")
    whole = contents(run)
    for path in (run / "report.html", *(run / "figures").iterdir()):
        whole.pop(str(path.relative_to(run)))
    weights = run / "codecs" / "smashed_up.safetensors"
    begins = toys / "begins.toml"
    begins.write_text(text.replace(CODEC, CODEC.replace(" }", f", weights = '{weights}' }}")))

    def fresh(name: str) -> Path:
        shutil.rmtree(top / name, ignore_errors=True)
        return top / name

    def report() -> bytes:
        call(top, "report", run, "--out", top / "page.html")
        return (top / "page.html").read_bytes()

    def retime() -> dict[str, bytes]:
        call(top, "retime", run, learned, "--out", fresh("retimed"), "--no-report", "--quiet")
        return contents(top / "retimed")

    def resume() -> dict[str, bytes]:
        fresh("copy")
        shutil.copytree(top / "cut.partial", fresh("copy.partial"))
        call(top, "resume", top / "copy", "--no-report", "--quiet")
        found = contents(top / "copy")
        if found != whole:
            raise Fault("the resumed run is another one")
        return found

    finished = [path for path in sorted(run.rglob("*")) if path.is_file()]
    checkpoint = [path for path in sorted((top / "cut.partial").rglob("*")) if path.is_file()]
    uses = [
        report,
        retime,
        lambda: loaded(run),
        lambda: call(top, "compare", run),
        lambda: call(top, "resume", run),
    ]
    return [(finished, uses), (checkpoint, [resume]), ([weights], [lambda: call(top, "check", begins)])]


def _killed_after_a_round(scenario: Path, out: Path) -> None:
    child = os.fork()
    if child == 0:
        import sfsim

        def end(now: sfsim.results.Progress) -> None:
            if now.round == 2:
                os._exit(0)

        sfsim.run(sfsim.load(scenario), out=out, progress=end, checkpoint_share=math.inf)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0 and (out.with_name("cut.partial") / "checkpoint").is_dir()


def main() -> None:
    """Read the arguments, flip bits and say what came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    import torch  # all of these once, before the processes divide

    import sfsim.report.page
    import sfsim.retiming
    import sfsim.simulation
    import sfsim.workload.learned.updates  # noqa: F401

    torch.set_num_threads(1)
    luck, counts = random.Random(asked.seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="flips-") as name:
        subjects = prepared(Path(name))
        right = {use: use() for _, uses in subjects for use in uses}
        for number in range(asked.count):
            files, uses = luck.choices(subjects, (6, 3, 1))[0]
            use, file = luck.choice(uses), luck.choice(files)
            bit = luck.randrange(8 * file.stat().st_size)
            try:
                with flipped(file, bit):
                    came = "harmless" if use() == right[use] else "another result"
            except Refused:
                came = "refused"
            except Fault as error:
                came = f"fault: {error}"
            counts[came.partition(":")[0]] += 1
            if came not in ("harmless", "refused"):
                print(f"flip {number}, bit {bit} of {file.relative_to(name)}: {came}", flush=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    sys.exit(0 if counts.keys() <= {"harmless", "refused"} else 1)


if __name__ == "__main__":
    main()
