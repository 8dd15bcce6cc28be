"""Scenarios of papers: they load, and say what the paper says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfsim.codec import Ae
from sfsim.commands.options import overrides
from sfsim.learning.data import load_dataset
from sfsim.scenario import load

FOLDER = Path(__file__).resolve().parents[1] / "scenarios" / "papers"
SPLITFEDZIP = FOLDER / "splitfedzip"
LEVELS = {0: 0, 64: 1, 105: 1, 128: 2, 192: 3, 226: 3, 255: 4}


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.toml")), ids=lambda path: path.stem)
def test_it_loads_and_nothing_is_odd_about_it(path: Path) -> None:
    # A first stage is there for its weights: nobody asks what their exchange cost.
    free = ["codec_training: update = 'ideal': weights of codecs are shared at once and free of charge"]
    assert load(path).remarks() == (free if path.stem.startswith("stage-one") else [])


@pytest.mark.parametrize("name", ["ham10k", "blastocyst"])
def test_splitfedzips_settings(name: str) -> None:
    """SplitFedZip, arXiv 2412.17150, section 4 and its code: see each value's comment in the file."""
    scenario = load(SPLITFEDZIP / f"{name}.toml")
    assert (scenario.batch_size, scenario.local_epochs, scenario.global_rounds) == (1, 12, 10)
    assert (scenario.data.image_size, scenario.model.width, scenario.loss) == (256, 32, "dice")
    assert (scenario.optimiser.kind, scenario.optimiser.learning_rate) == ("adam", 1e-4)
    assert scenario.cut_layers == ("enc2a", "dec2a") and scenario.protocol == "splitfed-v1"
    assert scenario.aggregate == "best-validation" and scenario.optimiser_state == "reset"
    assert len(scenario.client_names) == 5 and scenario.client_fraction == 1


def test_the_recipes_of_the_readme_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand: what is trained first is written where the second stage looks for it."""
    monkeypatch.chdir(FOLDER.parents[1])
    readme = (SPLITFEDZIP / "README.md").read_text()
    slots = ("smashed_up", "smashed_down", "gradient_up", "gradient_down")
    block = re.search("```\n(.*?)```", readme, re.DOTALL)
    assert block and block[1].startswith("CODECS=$PWD/")
    first, second = (
        shlex.split(command.replace("$CODECS", str(tmp_path)))
        for command in block[1].replace("\\\n", "").splitlines()[1:]
    )
    assert first[:3] == ["sfsim", "codec", "train"] and first[first.index("--out") + 1] == str(tmp_path)
    assert second[:2] == ["sfsim", "run"]

    def scenario_of(words: list[str], file: str):
        return load(Path(file), overrides([words[i + 1] for i, word in enumerate(words) if word == "--set"]))

    trained = scenario_of(first, first[3]).codecs
    (tmp_path / "codecs").mkdir()
    for slot in slots:
        assert isinstance(getattr(trained, slot), Ae)
        (tmp_path / "codecs" / f"{slot}.safetensors").touch()
    sent = scenario_of(second, second[2])
    assert sent.codec_training.update == "frozen"
    for slot in slots:
        assert getattr(sent.codecs, slot).weights == tmp_path / "codecs" / f"{slot}.safetensors"

    with_ae = {"codecs.scheme": "FG", "codecs.codec": "../../../codecs/ae.toml"}
    variants = [re.findall(r"`(\w+\.\w+=[^`]+)`", row) for row in readme.splitlines() if row.startswith("| ")]
    assert sum(map(len, variants)) == 8
    for pairs in variants:
        load(SPLITFEDZIP / "ham10000-small.toml", with_ae | overrides(pairs))


def test_the_small_ones_are_alike_but_for_data_and_network() -> None:
    ham, cells, blastocyst = (
        load(SPLITFEDZIP / f"{name}.toml").to_table()
        for name in ("ham10000-small", "ham10000-small-cell", "blastocyst-small")
    )
    network, data = {"name", "clients", "cell"}, {"name", "data", "partition"}
    assert {key for key in ham | cells if ham.get(key) != cells.get(key)} == network
    assert {key for key in ham | blastocyst if ham.get(key) != blastocyst.get(key)} == data


def test_the_blastocysts_levels_and_counts(tmp_path: Path) -> None:
    """781 invented pairs with the masks' published levels, some pixels off by one as after a lossy copy."""
    rng = np.random.default_rng(7)
    for folder in ("imgs", "masks"):
        (tmp_path / "blastocyst" / folder).mkdir(parents=True)
    levels = np.array([*LEVELS])
    for number in range(781):
        mask = levels[rng.integers(0, len(levels), (32, 32))]
        noisy = np.clip(mask + rng.integers(-1, 2, mask.shape), 0, 255).astype(np.uint8)
        image = np.repeat(noisy[..., None], 3, axis=2)
        Image.fromarray(image).save(tmp_path / "blastocyst" / "imgs" / f"{number}.bmp")
        Image.fromarray(noisy).save(tmp_path / "blastocyst" / "masks" / f"{number}_mask.bmp")
    scenario = load(SPLITFEDZIP / "blastocyst.toml", {"data.image_size": 32})
    dataset = load_dataset(scenario.data, tmp_path, 7, scenario.validation_fraction)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (604, 107, 70)
    assert sum(scenario.partition.counts) == 604
    # 85 % of 240, 120, 85, 179 and 87.
    assert scenario.partition.counts == tuple(round(0.85 * n) for n in (240, 120, 85, 179, 87))
    assert dataset.num_classes == 5
    seen = dataset.test.stored_inputs[:, 0].numpy().astype(int)  # the images are their own masks
    expected = np.array([LEVELS[int(levels[np.abs(levels - grey).argmin()])] for grey in seen.ravel()])
    assert np.array_equal(dataset.test.stored_targets.numpy().ravel(), expected)
    assert set(np.unique(expected)) == {0, 1, 2, 3, 4}
