"""Scenarios of papers: they load, and say what the paper says."""

import contextlib
import pickle
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_class_data import cifar100, diagnoses, mnist

import sfsim
from sfsim.codec import Ae
from sfsim.commands.options import overrides
from sfsim.learning.cut import split
from sfsim.learning.data import load_dataset
from sfsim.learning.models import build
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


def cifar10(folder: Path) -> Path:
    """CIFAR-10 with 20 rows to train on and 6 to test on."""
    rng = np.random.default_rng(5)
    (folder / "cifar-10-batches-py").mkdir()
    for name, rows in (("data_batch_1", 20), ("test_batch", 6)):
        batch = {
            "data": rng.integers(0, 256, (rows, 3072), dtype=np.uint8),
            "labels": [k % 10 for k in range(rows)],
        }
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def ptb_xl(folder: Path) -> Path:
    """Fifty records in PTB-XL's own form, which are turned into two files as the README says.

    The first sample of each lead is the number of the record; every tenth has no superclass.
    """
    (folder / "records100").mkdir()
    statements = [",description,diagnostic,form,diagnostic_class", "AFIB,rhythm,,,"]
    statements += [f"{name}1,some,1.0,,{name}" for name in SUPERCLASSES]
    (folder / "scp_statements.csv").write_text("\n".join(statements) + "\n")
    lines = ["ecg_id,scp_codes,strat_fold,filename_lr"]
    rng = np.random.default_rng(5)
    for number in range(50):
        codes = {"AFIB": 0.0} if number % 10 == 9 else {f"{SUPERCLASSES[number % 5]}1": 100.0, "HYP1": 15.0}
        lines.append(f'{number},"{codes}",{10 - number % 5}.0,records100/{number:05d}_lr')
        signal = rng.integers(-3000, 3000, (1000, 12))
        signal[0] = number
        (folder / "records100" / f"{number:05d}_lr.dat").write_bytes(signal.astype("<i2").tobytes())
    (folder / "ptbxl_database.csv").write_text("\n".join(lines) + "\n")
    script = re.search("```python\n(.*?)```", (FOLDER / "ayad" / "README.md").read_text(), re.DOTALL)
    assert script
    with contextlib.chdir(folder):
        exec(script[1], {})
    return folder


SUPERCLASSES = ("CD", "HYP", "MI", "NORM", "STTC")
SEVEN = ("mask-encoded-sparsification", "sl-fac", "sl-acc", "splitfc", "fedlite", "randtopk", "ayad")
MAKERS = {
    "mnist": mnist,
    "cifar100": cifar100,
    "ham10000-diagnoses": diagnoses,
    "cifar10": cifar10,
    "series-npz": ptb_xl,
    "synthetic-series": lambda folder: folder,
}


@pytest.mark.parametrize(
    "path",
    [path for name in SEVEN for path in sorted((FOLDER / name).glob("*.toml"))],
    ids=lambda path: path.stem,
)
def test_it_trains_at_toy_size(path: Path, tmp_path: Path) -> None:
    """On a few invented images in the data set's own form, two clients, narrow networks, one round; else as it is."""
    kind = load(path).data.kind
    changes = {"global_rounds": 1, "batch_size": 9, "partition": {"kind": "iid"}, "clients.*.count": 2}
    changes["validation_fraction"] = 0.25
    if kind == "synthetic-series":
        changes |= {"data.num_train": 20, "data.num_test": 6}
    if kind == "mnist":
        changes["data.path"] = "MNIST/raw"
    if path.parent.name != "fedlite":  # whose pieces are parts of so many numbers
        changes["model.width"] = 2
    scenario = load(path, changes)
    result = sfsim.run(scenario, out=tmp_path / "run", data_root=MAKERS[kind](tmp_path), checkpoint_share=0)
    assert np.isfinite(result.rounds["train_loss"]).all()
    sent = result.messages.query("kind == 'smashed data'")
    assert set(sent["codec"]) == {scenario.codecs.smashed_up.name}


def test_the_settings_of_mask_encoded_sparsification() -> None:
    for name, model, shape in (
        ("cifar10-vgg19", "vgg19", (64, 16, 16)),
        ("cifar100-resnet18", "resnet18", (64, 32, 32)),
    ):
        scenario = load(FOLDER / "mask-encoded-sparsification" / f"{name}.toml")
        optimiser = scenario.optimiser
        assert (scenario.batch_size, scenario.global_rounds, scenario.seeds.training) == (256, 200, 42)
        assert (optimiser.learning_rate, optimiser.momentum, optimiser.weight_decay) == (0.1, 0.9, 5e-4)
        assert scenario.model.kind == model and len(scenario.client_names) == 10
        codec = scenario.codecs.smashed_up
        assert (codec.kind, codec.sparsity, codec.mask_bits) == ("mask-encoded", 0.99, 2)
        chain = build(scenario.model, 3, scenario.data.num_classes, 1)
        y, _ = split(chain, scenario.cut_layers).front_end(torch.zeros(2, 3, 32, 32), {})
        assert tuple(y.shape[1:]) == shape


@pytest.mark.parametrize("name", ["sl-fac", "sl-acc"])
def test_the_settings_of_sl_fac_and_sl_acc(name: str) -> None:
    for path in sorted((FOLDER / name).glob("*.toml")):
        scenario = load(path)
        assert "our reference design" in path.read_text()  # no formula of theirs is public
        assert scenario.model.kind == "resnet18" and scenario.cut_layers == ("layer1a",)
        assert (
            len(scenario.client_names) == 5
            and scenario.codecs.gradient_down.kind == scenario.codecs.smashed_up.kind
        )
        if "small" not in path.stem:
            assert (scenario.batch_size, scenario.global_rounds) == (128, 200)


def test_ptb_xl_becomes_two_files(tmp_path: Path) -> None:
    data = load_dataset(load(FOLDER / "ayad" / "ptb-xl.toml").data, ptb_xl(tmp_path), 7, 0.11)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [31, 4, 10]
    numbers = (data.test.inputs[:, :, 0] * 1000).round().long()
    assert torch.equal(numbers, torch.arange(0, 50, 5)[:, None].expand(-1, 12))  # fold 10, all leads
    expected = torch.zeros(10, 5, dtype=torch.int64)
    expected[:, 0] = expected[:, 1] = 1  # CD and HYP
    assert torch.equal(data.test.targets, expected)
    assert not set((data.train.inputs[:, 0, 0] * 1000).round().long().tolist()) & set(range(9, 50, 10))


def test_the_settings_of_ayad() -> None:
    """The authors' code for PTB-XL: settings.json, client/parameter_client.json, client/Models.py."""
    scenario = load(FOLDER / "ayad" / "ptb-xl.toml")
    assert (scenario.protocol, scenario.batch_size, scenario.global_rounds) == ("sl", 64, 30)
    assert (scenario.optimiser.kind, scenario.optimiser.learning_rate) == ("adamw", 5e-4)
    assert scenario.loss == "binary-cross-entropy" and scenario.gradient_gate.law == "sigmoid"
    assert scenario.codecs.smashed_up.widths(192, 4) == [192, 144, 96, 48, 24]
    assert scenario.codecs.gradient_down.name == "fp32" and scenario.codec_training.model_loss == "bypass"
    chain = build(scenario.model, 12, 5, 1)
    y, _ = split(chain, scenario.cut_layers).front_end(torch.zeros(2, 12, 1000), {})
    assert tuple(y.shape[1:]) == (192, 62)
    small = load(FOLDER / "ayad" / "series-small.toml").to_table()
    changed = {key for key, value in scenario.to_table().items() if small.get(key) != value}
    assert changed == {"name", "global_rounds", "batch_size", "data", "validation_fraction", "model"} | {
        "optimiser", "codecs", "codec_training"
    }  # fmt: skip
