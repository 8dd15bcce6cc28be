"""The command: exit codes, one line per error, nothing half-written, and what it prints."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_run import run_directory

from sfsim import __version__, simulation
from sfsim.__main__ import main
from sfsim.errors import SimulationError
from sfsim.report import page
from sfsim.results import Progress, Result
from sfsim.scenario import load

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = str(ROOT / "scenarios" / "quickstart.toml")
INT8 = str(ROOT / "codecs" / "int8.toml")


@dataclass
class Said:
    """What one call of the command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def sfsim(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Said]:
    """Calls the command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["sfsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return Said(exit_.value.code or 0, printed.out, printed.err)  # type: ignore[arg-type]

    return call


@pytest.fixture(autouse=True)
def no_pictures_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the pictures of pages, which take seconds and are looked at in test_report.py."""
    monkeypatch.setattr(page, "_image", lambda picture: "")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the simulation by the made-up run; holds what it was called with."""
    calls: list[dict[str, Any]] = []

    def run(scenario: Any, *, out: Path, progress: Callable[[Progress], None], **options: Any) -> Result:
        calls.append({"scenario": scenario, "out": out, **options})
        progress(Progress(0, 4, 0.0))
        progress(Progress(1, 4, 9.44, "accuracy", 0.45))
        gain = 0.1 if scenario.seeds.training == 99 else 0.25
        return run_directory(out or Path("runs/made-up"), gain=gain)

    monkeypatch.setattr(simulation, "run", run)
    return calls


def test_run_prints_tables_verdict_and_paths(sfsim: Callable[..., Said], runs: list[Any]) -> None:
    said = sfsim("run", QUICKSTART, "--out", "here", "--jobs", 3)
    assert said.code == 0
    assert said.err.splitlines()[0] == f"quickstart: {load(QUICKSTART).global_rounds} rounds"
    assert said.err.splitlines()[1].startswith("round 1/4: simulated 9.44 s, wall 0.")
    assert said.err.splitlines()[1].endswith("accuracy 0.45")
    directory = Path("here").absolute()
    assert said.out.splitlines()[-4:] == [
        "note: link pi -> core: a loss rate is configured and no packet was lost",
        "made-up: accuracy 0.8 reached at 28.3 s, round 3 (best 0.97 at 37.8 s)",
        f"run: {directory}",
        f"report: {directory / 'report.html'}",
    ]
    for part in (
        "Bytes by kind and direction",
        "smashed data",
        "38.66 kB",
        "waiting at the barrier",
        "40.3 %",
    ):
        assert part in said.out
    assert (directory / "report.html").exists() and (directory / "figures" / "timelines.png").exists()
    assert runs[0]["jobs"] == 3 and runs[0]["device"] == "cpu" and runs[0]["data_root"] is None


def test_without_a_report_none_is_written(sfsim: Callable[..., Said], runs: list[Any]) -> None:
    said = sfsim("run", QUICKSTART, "--out", "here", "--no-report")
    assert said.code == 0 and "report:" not in said.out
    assert not Path("here/report.html").exists() and not Path("here/figures").exists()


def test_quiet_is_quiet(sfsim: Callable[..., Said], runs: list[Any]) -> None:
    assert sfsim("run", QUICKSTART, "--quiet", "--no-report") == Said(0, "", "")
    assert runs[0]["jobs"] == len(os.sched_getaffinity(0)) and runs[0]["out"] is None


def test_a_missed_target_is_a_result(sfsim: Callable[..., Said], runs: list[Any]) -> None:
    missed = ("run", QUICKSTART, "--out", "here", "--no-report", "--set", "seed=99")
    said = sfsim(*missed)
    assert said.code == 0
    assert "made-up: accuracy 0.8 not reached in 4 rounds (best 0.6 at 37.8 s)" in said.out
    assert sfsim(*missed, "--require-target").code == 3
    reached = sfsim("run", QUICKSTART, "--out", "there", "--no-report", "--require-target")
    assert reached.code == 0


def test_overrides_and_environment_reach_the_run(
    sfsim: Callable[..., Said], runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFSIM_DATA", "/some/where")
    changes = (
        "seed=3",
        "name=mine",
        "clients.*.uplink.latency_s=0.5",
        "codecs.smashed_up=../codecs/int8.toml",
    )
    sfsim("run", QUICKSTART, "--quiet", "--no-report", *(word for c in changes for word in ("--set", c)))
    scenario = runs[0]["scenario"]
    assert scenario.seeds.training == 3 and scenario.name == "mine"
    assert {group.uplink.latency_s for group in scenario.clients} == {0.5}
    assert scenario.codecs.smashed_up.name == "uniform-8bit"
    assert runs[0]["data_root"] == Path("/some/where")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--set", "nonsense"), "--set: found 'nonsense', expected KEY=VALUE"),
        (
            ("--set", "global_round=3"),
            "override of global_round: found an unknown key, expected a key of this table. "
            "Did you mean 'global_rounds'?",
        ),
        (("--set", "seed=true"), "override of seed: found true, expected a whole number of at least 0"),
        (
            ("--set", "clients.pi.uplink.rate_bps=-1"),
            "override of clients.pi.uplink.rate_bps: found -1, expected a number of at least 1",
        ),
        (
            ("--set", "target.value=90"),
            "override of target.value: found 90, expected at most 1, which is a perfect accuracy. "
            "Write 0.9 for 90 %.",
        ),
        (("--set", "seed="), "--set seed: found nothing, expected a value behind the ="),
        (
            ("--set", "seed=abc"),
            "override of seed: found 'abc', expected a whole number of at least 0 or a table, "
            "or the path of a TOML file",
        ),
        (
            ("--set", "seed=.."),
            "override of seed: found '..', which is a directory, expected a whole number of at least 0 "
            "or a table, or the path of a TOML file",
        ),
        (
            ("--set", "clients.*.uplink={rate_bps = 1e6"),
            "--set clients.*.uplink: found '{rate_bps = 1e6', broken TOML (Unclosed inline table "
            "(at end of document)), expected a TOML value",
        ),
        (("--jobs", "0"), "--jobs: found 0, expected a whole number of at least 1"),
        (("--device", "gpu"), "--device: found 'gpu', expected cpu or cuda"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(
    sfsim: Callable[..., Said], arguments: tuple[str, ...], text: str
) -> None:
    assert sfsim("run", QUICKSTART, *arguments) == Said(2, "", f"error: {text}\n")
    assert not list(Path().iterdir())


def test_a_missing_scenario(sfsim: Callable[..., Said]) -> None:
    said = sfsim("run", "quikstart.toml")
    assert said == Said(2, "", "error: quikstart.toml: found no such file, expected a TOML file\n")


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("show", "channel", "lte-pedestrain"), "channels/lte-pedestrian.toml"),
        (("codec", "encode", "x.npy", "--out", "y", "--codec", "int8"), "codecs/int8.toml"),
    ],
)
def test_a_bare_name_is_told_the_file_of_the_catalogue(
    sfsim: Callable[..., Said], arguments: tuple[str, ...], file: str
) -> None:
    said = sfsim(*arguments)
    assert said.code == 2 and "found no such file, expected a TOML file. Did you mean '" in said.err
    assert said.err.endswith(f"{file}'?\n")


def test_require_target_needs_a_target(sfsim: Callable[..., Said], tmp_path: Path) -> None:
    text = Path(QUICKSTART).read_text().replace('"devices/', f'"{ROOT}/scenarios/devices/')
    text = text.replace('"../codecs/', f'"{ROOT}/codecs/')
    head, _, tail = text.partition("[target]")
    (tmp_path / "free.toml").write_text(head + "[codecs]" + tail.partition("[codecs]")[2])
    said = sfsim("run", "free.toml", "--require-target")
    assert said.code == 2
    assert said.err == (
        "error: free.toml, target: found nothing, expected a target, since --require-target is given\n"
    )


def test_an_error_in_the_middle_is_one_line_too(
    sfsim: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        raise SimulationError("at 3 s nothing is left to happen,\nbut the run is not over")

    monkeypatch.setattr(simulation, "run", run)
    said = sfsim("run", QUICKSTART)
    assert said == Said(2, "", "error: at 3 s nothing is left to happen, but the run is not over\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", QUICKSTART, "--jbos", 2), "No such option: --jbos (Possible options: --jobs)"),
        (("run", QUICKSTART, "--jobs", "x"), "Invalid value for '--jobs': Input should be a valid integer"),
        (
            ("calibrate", "--device", "tpu"),
            "Invalid value for '--device': 'tpu' is not one of 'cpu', 'cuda'.\n",
        ),
        (("run",), "Missing argument 'FILE'."),
        (("rnu", QUICKSTART), "No such command 'rnu'."),
        (("codec", "encode", "x.npy"), "Missing option '--codec'."),
    ],
)
def test_typers_own_errors_are_one_line_too(
    sfsim: Callable[..., Said], arguments: tuple[object, ...], text: str
) -> None:
    said = sfsim(*arguments)
    assert said.code == 2 and said.out == "" and said.err.startswith(f"error: {text}")
    assert said.err.count("\n") == 1 and ("'x'" in said.err) == ("x" in arguments)


def test_a_word_too_few_shows_the_help(sfsim: Callable[..., Said]) -> None:
    said = sfsim("codec")
    assert said.code == 2 and "encode" in said.out + said.err and "error" not in said.err


def test_report_and_compare(sfsim: Callable[..., Said]) -> None:
    run_directory(Path("a"))
    run_directory(Path("b"), gain=0.1)
    assert sfsim("report", "a").out == "report: a/report.html\n"
    assert sfsim("report", "a", "b", "--out", "pages/both.html").out == "report: pages/both.html\n"
    assert Path("pages/both.html").exists()
    said = sfsim("compare", "a", "b")
    rows = [line.split("  ")[0].strip() for line in said.out.splitlines()]
    assert said.code == 0 and rows[1:4] == ["run", "a", "b"]
    assert "28.3 s (accuracy 0.8)" in said.out and "not reached in 4 rounds" in said.out
    assert "differs" not in said.out  # their scenarios do not
    error = "error: c: found no run, expected a run directory"
    assert sfsim("compare", "a", "c") == Said(2, "", f"{error} or a folder of them\n")
    assert sfsim("report", "c") == Said(2, "", f"{error} or a folder of them\n")
    run_directory(Path("study/one"))
    run_directory(Path("study/two.partial"))  # one that was interrupted while it was written
    assert sfsim("report", "study").out == "report: study/one/report.html\n"
    assert sfsim("report", "study", "study/one", "a").out == "report: report.html\n"


def test_schema(sfsim: Callable[..., Said]) -> None:
    said = sfsim("schema")
    assert "global_rounds" in json.loads(said.out)["properties"]
    assert sfsim("schema", "--out", "schema.json").code == 0
    assert Path("schema.json").read_text() == said.out


def test_folders_are_made_wherever_a_file_is_asked_for(sfsim: Callable[..., Said]) -> None:
    np.save("x.npy", np.ones(9, np.float32))
    Path("file").write_text("")
    for number, arguments in enumerate(
        (
            ("codec", "encode", "x.npy", "--codec", INT8),
            ("codec", "decode", "new0/payload", "--codec", INT8),
            ("schema",),
            ("show", "channel", ROOT / "channels" / "dsl.toml"),
            ("report", run_directory(Path("a")).directory),
        )
    ):
        name = "picture.png" if "show" in arguments else "payload"
        assert sfsim(*arguments, "--out", f"new{number}/{name}").code == 0
        assert Path(f"new{number}/{name}").is_file()
        said = sfsim(*arguments, "--out", f"file/{name}")
        assert said.code == 2 and said.err.startswith(f"error: file/{name}: cannot be written (")


def test_a_picture_has_an_ending_that_can_be_drawn(sfsim: Callable[..., Said]) -> None:
    text = "x.txt: found a name that ends in '.txt', expected one that ends in .png, .svg or .pdf"
    assert sfsim("check", QUICKSTART, "--graph", "x.txt") == Said(2, "", f"error: {text}\n")
    dsl = ROOT / "channels" / "dsl.toml"
    assert sfsim("show", "channel", dsl, "--out", "x.txt", "--json").err == f"error: {text}\n"
    assert sfsim("show", "channel", dsl, "--out", "x.svg").code == 0
    assert Path("x.svg").read_text().startswith("<?xml")
    assert {path.name for path in Path().iterdir()} == {"x.svg"}


def test_codec_there_and_back(sfsim: Callable[..., Said]) -> None:
    x = np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30)
    np.save("x.npy", x)
    said = sfsim("codec", "encode", "x.npy", "--codec", INT8, "--out", "payload")
    size = Path("payload").stat().st_size
    assert (
        said.code == 0 and f"payload bytes: {size:,}" in said.out and "max error absolute: 0.00" in said.out
    )
    assert sfsim("codec", "decode", "payload", "--codec", INT8, "--out", "y.npy").code == 0
    y = np.load("y.npy")
    assert y.shape == x.shape and y.dtype == x.dtype and np.abs(x - y).max() < 0.005


def test_codec_explain_and_pullback(sfsim: Callable[..., Said]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    np.save("x.npy", x)
    np.save("g.npy", np.ones_like(x))
    np.save("flat.npy", np.ones(120, np.float32))
    top = str(ROOT / "codecs" / "randtopk-10pct.toml")
    assert sfsim("codec", "encode", "x.npy", "--codec", top, "--out", "payload", "--seed", "3").code == 0
    told = json.loads(sfsim("codec", "explain", "payload", "--codec", top).out)
    assert told["kind"] == "randtopk" and told["shape"] == [2, 3, 4, 5] and told["parts"] == [48, 9]
    assert told["estimated_bits"] == 12 * (32 + 6)
    back = ("codec", "pullback", "x.npy", "--codec", top, "--gradient", "g.npy", "--out", "dx.npy")
    assert sfsim(*back, "--code-gradient", "c.npy", "--seed", "3").code == 0
    assert sfsim("codec", "decode", "payload", "--codec", top, "--out", "y.npy").code == 0
    assert np.array_equal(np.load("dx.npy"), np.load("y.npy") != 0)  # where features went
    assert np.load("c.npy").tolist() == [1.0] * 12
    said = sfsim(*back[:5], "--gradient", "flat.npy", "--out", "dx2.npy")
    assert said.code == 2 and "floats of shape (2, 3, 4, 5), which is that of the decoded tensor" in said.err
    assert sfsim(*back, "--code-gradient", "x.npy").code == 2


def test_codec_errors_write_nothing(sfsim: Callable[..., Said]) -> None:
    Path("x.npy").write_text("no array")
    assert sfsim("codec", "encode", "x.npy", "--codec", INT8, "--out", "payload").code == 2
    Path("payload.bin").write_bytes(b"no payload")
    said = sfsim("codec", "decode", "payload.bin", "--codec", INT8, "--out", "y.npy")
    assert said.code == 2 and said.err.startswith("error: payload.bin: ") and said.err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {"x.npy", "payload.bin"}


def test_codecs_do_not_overwrite_what_they_read(sfsim: Callable[..., Said]) -> None:
    np.save("x.npy", np.ones(9, np.float32))
    before = Path("x.npy").read_bytes()
    Path("link").symlink_to("x.npy")
    for verb in ("encode", "decode"):
        for out in ("x.npy", "link", "../" + Path().absolute().name + "/x.npy"):
            said = sfsim("codec", verb, "x.npy", "--codec", INT8, "--out", out)
            text = f"--out {out}: found a file that is read, expected another file: it would be overwritten"
            assert said == Said(2, "", f"error: {text}\n")
    assert Path("x.npy").read_bytes() == before


def test_calibrate_shows_the_profile(sfsim: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    from sfsim import device
    from sfsim.device import calibrate

    def measure(out: Path, name: str, torch_device: str) -> Any:
        assert (out, name, torch_device) == (Path("mine.toml"), "mine", "cpu")
        return device.load(ROOT / "scenarios" / "devices" / "laptop-cpu.toml")

    monkeypatch.setattr(calibrate, "calibrate", measure)
    said = sfsim("calibrate", "--out", "mine.toml", "--name", "mine")
    assert said.code == 0 and "peak flops:" in said.out and said.out.endswith("profile: mine.toml\n")
    assert not re.search(r"None|[()']\n", said.out) and "throttling" not in said.out
    assert "estimated: efficiency, " in said.out and "note:" not in said.out


def test_calibrate_explains_an_efficiency_of_one(
    sfsim: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfsim.device import calibrate, load

    slow = replace(load(ROOT / "scenarios" / "devices" / "laptop-cpu.toml"), efficiency=1.0)
    monkeypatch.setattr(calibrate, "calibrate", lambda *_: slow)
    said = sfsim("calibrate")
    assert "note: efficiency 1: the matrix product, which should be the peak, was slower" in said.out


def test_the_readme_writes_into_runs_only() -> None:
    text = (ROOT / "README.md").read_text()
    written = re.findall(r"--(?:out|graph) (\S+)|np\.save\(\"(\S+?)\"", text)
    assert len(written) >= 7 and all((a or b).startswith("runs/") for a, b in written)
    assert "runs/x.npy --codec" in text


def test_check_shows_the_world_and_draws_the_network(sfsim: Callable[..., Said]) -> None:
    said = sfsim("check", QUICKSTART, "--graph", "graph.png")
    assert said.code == 0 and said.err == ""
    for part in (
        "Clients",
        "raspberry-pi-4",
        "Servers",
        "main server",
        "front end",
        "raw bytes per global round",
    ):
        assert part in said.out
    assert said.out.endswith("graph: graph.png\n")
    assert {path.name for path in Path().iterdir()} == {"graph.png"}
    said = sfsim("check", QUICKSTART, "--set", "target.hold=30")
    assert said.code == 0 and said.out.endswith(
        "note: target: hold = 30 cannot be reached in a run with 25 evaluations\n"
    )
    said = sfsim("check", QUICKSTART, "--set", "clients.pi.device.memory_bytes=1000")
    assert said.code == 2 and said.out == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            "clients.pi.device.memory_bytes=1000",
            '[clients "pi" device] memory_bytes: found the client-side model',
        ),
        (
            "main_server.device.memory_bytes=9",
            "[main_server.device] memory_bytes: found 6 copies of the server-side",
        ),
        (
            'partition={kind="counts",counts=[1000,1000,1,1,1,1]}',
            "[partition] counts: found 2004 examples in all, expected at most the 1222 of the training split",
        ),
        (
            "clients.pi.count=9000",
            "[partition]: found 1222 training examples, expected at least one training",
        ),
        (
            'partition={kind="dirichlet",alpha=0.01,min_examples=200}',
            "[partition] alpha: found 0.01, with which none of 1000 draws gave each of 6 clients 200 examples",
        ),
        (
            "data.test_fraction=0.9999",
            "[data] test_fraction, validation_fraction: found shares that leave none",
        ),
        ('model={kind="cnn",width=1000000}', "[model] width: found 1000000, with which the weights take"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "run"])
def test_what_only_data_and_model_tell_names_file_and_table(
    sfsim: Callable[..., Said], verb: str, change: str, text: str
) -> None:
    said = sfsim(verb, QUICKSTART, "--set", change)
    assert said.code == 2 and said.out == "" and said.err.startswith(f"error: {QUICKSTART}, {text}")
    assert not list(Path().iterdir())


def test_help_answers_at_once_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['sfsim', '--help']\n"
        "from sfsim.__main__ import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'pandas', 'networkx', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    started_s = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - started_s < 5  # 0.2 s on an idle machine
    for verb in ("run", "check", "schema", "report", "compare", "calibrate", "codec"):
        assert verb in said.stdout


@pytest.mark.parametrize(
    ("verb", "defaults"),
    [
        (("run",), ("(runs/NAME-HASH)", "(all cores)", "(as the scenario says)")),
        (("resume",), ("(all cores)",)),
        (("retime",), ("(runs/NAME-HASH)",)),
        (("report",), ("(RUN/report.html, or report.html for several)",)),
        (("show", "channel"), ("(one period of a trace, else a minute)",)),
    ],
)
def test_help_shows_the_defaults_that_are_no_values(
    sfsim: Callable[..., Said], verb: tuple[str, ...], defaults: tuple[str, ...]
) -> None:
    said = " ".join(sfsim(*verb, "--help").out.replace("│", " ").split())
    for default in defaults:
        assert f"[default: {default}]" in said


def test_version(sfsim: Callable[..., Said]) -> None:
    assert sfsim("--version") == Said(0, __version__ + "\n", "")


def test_a_terminal_sees_a_bar() -> None:
    code = (
        "from sfsim import console; from sfsim.results import Progress\n"
        "with console.progress('quickstart', 30, False) as show:\n"
        "    show(Progress(2, 30, 6.84, 'accuracy', 0.9097))"
    )
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], stdout=child, stderr=child, env=environment, check=True)
    os.close(child)
    seen = b""
    try:
        while chunk := os.read(parent, 4096):
            seen += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    for word in (b"quickstart", b"2/30", b"simulated 6.84 s, accuracy 0.9097", b"wall", b"ETA"):
        assert word in seen
