"""Names reach terminal, figures, page and paths harmlessly, whatever they are."""

import io
from pathlib import Path

import pytest
from scenario_files import SCENARIO, write
from synthetic_run import CLIENTS, run_directory

from sfsim import console
from sfsim.errors import ConfigError
from sfsim.names import fault, folder, shown
from sfsim.report import page as page_of
from sfsim.report.figures import accuracy_over_time, delays
from sfsim.report.style import save
from sfsim.report.tables import Table
from sfsim.report.timeline import client_timelines
from sfsim.results import claim
from sfsim.scenario import load

ODD = ["[red]a[/red]", "$x_1$ $", "a/b", "../../up", "..", "_hidden", "<b>&amp;", "c:\\d", "名前", "שם"]
REFUSED = {"a\nb": "", "a\0b": "", "\x1b[2Jx": "", "a\u202eb": "", "": "", "x" * 5000: "", "\u2066": ""}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_taken_and_stays_below_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path())
    assert load("a.toml", {"name": name, "clients.phone.name": name}).name == name
    out = claim(None, name, "0123456789abcdef")
    assert out.resolve().parent == (tmp_path / "runs").resolve() and out.name.endswith("-01234567")
    assert not out.name.startswith(".") and len(out.name.encode()) < 200


@pytest.mark.parametrize("name", [*REFUSED])
@pytest.mark.parametrize("key", ["name", "clients.phone.name", "main_server.node"])
def test_a_name_that_would_do_harm_is_refused_in_one_line(
    name: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path())
    with pytest.raises(ConfigError, match=rf"^override of {key}: found .*, expected a text ") as error:
        load("a.toml", {key: name})
    text = str(error.value)
    assert len(text) < 300 and text.isprintable()


def test_a_wrong_key_beside_a_name_that_would_do_harm_shows_it_harmlessly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(), SCENARIO.replace('name = "phone"', f'name = "\\u001b{"y" * 5000}"\nzzz = 1', 1))
    with pytest.raises(ConfigError) as error:
        load("a.toml")
    assert len(str(error.value)) < 400 and str(error.value).isprintable()


def test_folders_of_names() -> None:
    assert {folder(name) for name in ("", "..", ".", "///")} <= {"run", "---"}
    assert len(folder("名" * 5000).encode()) <= 120
    assert fault(shown("\x1b[2J\0\u202e")) is None


def test_the_terminal_shows_a_name_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(Table("[bold]", ("[red]x", "y"), [("[link=x]a[/link]", "\x1b[2Jb"), ("z" * 5000, "c")]))
    console.line("note: \x1b]0;c\x07 [red]")
    out = capsys.readouterr().out
    assert "[bold]" in out and "[red]x" in out and "[link=x]a[/link]" in out and "\\x1b[2Jb" in out
    assert "\x1b" not in out and "\x07" not in out and max(map(len, out.splitlines())) < 300


def test_figures_and_page_show_a_name_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of a run directory that somebody else wrote, which no scenario has checked."""
    for name in CLIENTS.copy():
        monkeypatch.delitem(CLIENTS, name)
    for name in (*ODD, "\x1b[2J\0", "y" * 5000):
        monkeypatch.setitem(CLIENTS, name, 1.0)
    one = run_directory(tmp_path / "a", name="_<i>$a$ $\0", rounds=2)
    other = run_directory(tmp_path / "b", name="[b]" + "名" * 4000, rounds=2)
    drawing = accuracy_over_time([one, other])
    (legend,) = drawing.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert len(said) == 5 and said[0].strip() == "_<i>$a$ $\\x00, codec on" and max(map(len, said)) < 50
    names = [label.get_text().strip() for label in delays([one]).axes[0].get_yticklabels()]
    assert {"$x_1$ $", "_hidden", "\\x1b[2J\\x00"} <= set(names) and max(map(len, names)) <= 33
    for figure in (drawing, delays([one]), client_timelines(one)):
        save(figure, io.BytesIO(), "svg")
    monkeypatch.setattr(page_of, "_image", lambda picture: "")  # they have just been drawn
    page = page_of.html([one])
    assert "<i>" not in page and "\0" not in page and "\x1b" not in page and "&lt;b&gt;&amp;amp;" in page
