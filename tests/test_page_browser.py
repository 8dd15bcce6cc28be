"""The report page in a real headless browser: no error on the console, readable on a telephone, and in the dark."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic_run import CLIENTS, run_directory

from sfsim.report import report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
# The page in a frame as wide as a telephone, or as a desk; what cannot be seen whole is named.
_LOOK = """<!doctype html><body><iframe style="border:0;height:3000px"></iframe><script>
const page = new TextDecoder().decode(Uint8Array.from(atob("PAGE"), c => c.charCodeAt(0)));
const frame = document.querySelector("iframe"), found = {};
const look = async width => {
  frame.style.width = width + "px"; frame.srcdoc = page;
  await new Promise(done => frame.onload = done);
  const inside = frame.contentDocument, all = [...inside.querySelectorAll("body *")];
  const pictures = [...inside.images];
  await Promise.all(pictures.map(picture => picture.decode()));
  const out = all.filter(e => !e.closest(".scroll, pre, details") && e.getBoundingClientRect().right > width + 1);
  found[width] = {
    wide: inside.documentElement.scrollWidth, out: out.map(e => e.tagName + " " + e.textContent.slice(0, 40)),
    scales: pictures.map(picture => picture.getBoundingClientRect().width / picture.naturalWidth),
    headings: [...inside.querySelectorAll("h1, h2, h3")].map(e => e.textContent),
    injected: inside.querySelectorAll("i, script, link, iframe").length,
  };
};
look(390).then(() => look(1280)).then(() => document.body.textContent = "FOUND" + JSON.stringify(found) + "END");
</script>"""


def browse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call the browser."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    assert BROWSER
    command = [BROWSER, *options, f"--user-data-dir={folder / 'profile'}", *arguments]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with fifteen clients, some of them oddly named."""
    folder = tmp_path_factory.mktemp("page")
    names = [
        "$a$ [red]",
        "<i>b</i>",
        "_c",
        "a name that is rather long for an axis",
        *(f"pi-{n}" for n in range(11)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name in list(CLIENTS):
            patch.delitem(CLIENTS, name)
        for number, name in enumerate(names):
            patch.setitem(CLIENTS, name, 1.0 + number / 4)
        run = run_directory(folder / "run", name="<i>$x$</i> " + "y" * 80, rounds=3)
        return report([run], folder / "report.html")


def test_the_console_is_quiet_and_everything_can_be_read(page: Path, tmp_path: Path) -> None:
    wrapper = tmp_path / "look.html"
    wrapper.write_text(_LOOK.replace("PAGE", base64.b64encode(page.read_bytes()).decode()))
    said = browse(tmp_path, "--virtual-time-budget=20000", "--dump-dom", f"file://{wrapper}")
    assert "CONSOLE" not in said.stderr
    marked = re.search("FOUND(.*)END", said.stdout)
    assert marked, said.stdout[-500:]
    found: dict[str, Any] = json.loads(
        marked[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    for width, smallest in (("390", 0.8), ("1280", 0.9)):  # of letters of 10 points
        seen = found[width]
        assert seen["wide"] == int(width) and not seen["out"] and not seen["injected"]
        assert len(seen["scales"]) == 7 and min(seen["scales"]) >= smallest
        expected = {"Results", "Accuracy over bytes", "Loss over simulated time", "Energy", "Provenance"}
        assert expected <= set(seen["headings"])
        assert seen["headings"][0].startswith("<i>$x$</i>")


@pytest.mark.parametrize("dark", [False, True])
def test_a_telephone_shows_it_light_and_dark(page: Path, tmp_path: Path, dark: bool) -> None:
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    shot = tmp_path / "shot.png"
    said = browse(tmp_path, *scheme, "--window-size=390,3000", f"--screenshot={shot}", f"file://{page}")
    assert "CONSOLE" not in said.stderr
    grey = np.asarray(Image.open(io.BytesIO(shot.read_bytes())).convert("L"))
    assert grey.shape[1] == 390
    paper = float(np.median(grey))
    assert paper < 40 if dark else paper > 215
    # Every picture is on the page's own ground: nothing in it shines, or is a black hole.
    ground = (grey > 128) != (paper > 128)
    assert 0.002 < ground.mean() < 0.3
