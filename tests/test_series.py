"""Series: what is read, refused and measured; a split 1-D CNN trains as an unsplit one, and every codec takes it."""

import random
import tracemalloc
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupted import counted, files
from sklearn.metrics import f1_score, roc_auc_score
from test_equivalence import assert_equal, batches_of, whole
from torch import nn
from worlds import IMAGES, clients, coded, finished, scenario

import sfsim
from sfsim.codec import Learned, ProductQuantization, load
from sfsim.errors import ConfigError, DataError, SfsimError
from sfsim.learning.augmentations import HorizontalFlip
from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import AdamW, Cnn, Cnn1d, Dirichlet
from sfsim.learning.metrics import several_labels
from sfsim.learning.models import build
from sfsim.learning.normalising import statistics
from sfsim.learning.series_declarations import SeriesCsv, SeriesNpz, SyntheticSeries
from sfsim.scenario import Evaluation, Target
from sfsim.seeds import integer

CATALOGUE = Path(__file__).resolve().parents[1] / "codecs"
RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


WAVES = SyntheticSeries(num_train=48, num_test=16, length=64, in_channels=2, num_classes=3)
HEART = replace(WAVES, task="multi-label", num_classes=5, length=1000, in_channels=12)
ECG = SeriesNpz(path="ecg.npz", length=20, in_channels=3, num_classes=4)
MANY = replace(ECG, task="multi-label")
TABLE = SeriesCsv(path="beats.csv", length=9, num_classes=5)


def ecg(folder: Path, name: str = "ecg.npz", **changes: np.ndarray) -> Path:
    """Thirty series of 3 x 20, the first number of each its own row, and its class the row modulo 4."""
    x = RNG.standard_normal((30, 3, 20)).astype(np.float32)
    x[:, 0, 0] = np.arange(30)
    np.savez_compressed(folder / name, **({"x": x, "y": np.arange(30) % 4} | changes))
    return folder


def many(folder: Path) -> Path:
    return ecg(folder, y=(np.arange(30)[:, None] >> np.arange(4)) & 1)


def beats(folder: Path, name: str = "beats.csv", header: bool = True, at: int = 4) -> Path:
    """Thirty rows of nine samples, row n all n / 2, the label n modulo 5 in column `at`."""
    names = [f"t{k}" for k in range(9)]
    rows = [[*names[:at], "label", *names[at:]]] if header else []
    for n in range(30):
        rows.append([f"{n / 2:.18e}"] * at + [f"{n % 5}.0"] + [f"{n / 2}"] * (9 - at))
    (folder / name).write_text("".join(",".join(row) + "\n" for row in rows))
    return folder


def everything(data) -> tuple[torch.Tensor, torch.Tensor]:
    splits = (data.train, data.validation, data.test)
    return torch.cat([split.inputs for split in splits]), torch.cat([split.targets for split in splits])


KINDS = {"npz": (ecg, ECG), "several": (many, MANY), "csv": (beats, TABLE)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_series_is_read_once_with_its_own_label(tmp_path: Path, kind: str) -> None:
    make, spec = KINDS[kind]
    data = load_dataset(spec, make(tmp_path), 3, validation_fraction=0.25)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [18, 6, 6]
    inputs, targets = everything(data)
    assert inputs.dtype == torch.float32 and inputs.shape == (30, spec.in_channels, spec.length)
    rows = inputs[:, 0, 0] * (2 if kind == "csv" else 1)
    assert sorted(rows.tolist()) == list(range(30))
    expected = (rows.long()[:, None] >> torch.arange(4)) & 1 if kind == "several" else rows % spec.num_classes
    assert torch.equal(targets, expected.long())
    again = load_dataset(spec, tmp_path, 3, validation_fraction=0.25)
    assert again.fingerprint == data.fingerprint != load_dataset(spec, tmp_path, 4).fingerprint
    fewer = load_dataset(replace(spec, max_series=8), tmp_path, 3, validation_fraction=0.25)
    assert len(fewer.train) + len(fewer.validation) == 8
    assert torch.equal(fewer.test.inputs, data.test.inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_file_is_the_test_split(tmp_path: Path, kind: str) -> None:
    make, spec = KINDS[kind]
    second = "second" + Path(spec.path).suffix
    make(tmp_path)
    (tmp_path / spec.path).rename(tmp_path / second)
    make(tmp_path)
    data = load_dataset(replace(spec, test_path=second), tmp_path, 3, validation_fraction=0.2)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [24, 6, 30]
    first = data.test.inputs[:, 0, 0]
    assert torch.equal(first, first.sort().values)  # all of it, in its order


@pytest.mark.parametrize("at", [0, 9])
def test_rows_without_a_header_and_the_label_anywhere(tmp_path: Path, at: int) -> None:
    named = load_dataset(TABLE, beats(tmp_path), 1)
    spec = replace(TABLE, header=False, label_column=str(at))
    assert load_dataset(spec, beats(tmp_path, header=False, at=at), 1).fingerprint == named.fingerprint


def test_one_channel_needs_no_axis_of_its_own(tmp_path: Path) -> None:
    flat = RNG.standard_normal((30, 20))
    one = replace(ECG, in_channels=1)
    found = load_dataset(one, ecg(tmp_path, x=flat), 1)
    assert found.fingerprint == load_dataset(one, ecg(tmp_path, x=flat[:, None]), 1).fingerprint


def test_waves_are_where_the_description_says() -> None:
    data = load_dataset(replace(WAVES, noise=0.0), None, 5)
    inputs, targets = everything(data)
    spectrum = torch.fft.rfft(inputs).abs()
    assert torch.equal(spectrum.argmax(2), (2 * (targets + 1))[:, None].expand(-1, 2))
    inputs, targets = everything(load_dataset(replace(HEART, noise=0.0), None, 5))
    present = (
        torch.fft.rfft(inputs).abs()[:, :, 2:12:2] > 100
    )  # at least 0.5 * 1000 / 2 where there is a wave
    assert torch.equal(present, targets.bool()[:, None].expand(-1, 12, -1))


X, Y = np.zeros((30, 3, 20), np.float32), np.zeros(30, np.int64)
NAN = X.copy()
NAN[7, 1, 3] = np.nan


@pytest.mark.parametrize(
    ("spec", "changes", "said"),
    [
        (ECG, {"x": X[:, :2]}, r"ecg\.npz, x: found float32 of shape \(30, 2, 20\), expected numbers of \(N, 3, 20\)"),
        (ECG, {"x": X[:, 0]}, r"x: found float32 of shape \(30, 20\)"),
        (ECG, {"x": X.astype(complex)}, "x: found complex128"),
        (ECG, {"x": NAN}, "x, row 7: found a number that is not finite"),
        (ECG, {"x": X.astype(np.float64) + 1e300}, "x, row 0: found a number that is not finite, expected float32"),
        (ECG, {"x": X[:0], "y": Y[:0]}, "found 0 series in x and 0 labels in y"),
        (ECG, {"y": Y[:29]}, "found 30 series in x and 29 labels in y"),
        (ECG, {"y": Y + 0.0}, r"y: found float64 of shape \(30,\), expected whole numbers of \(N,\)"),
        (ECG, {"y": Y + 4}, "y, row 0: found 4, expected 0 to 3 .*num_classes"),
        (ECG, {"y": np.zeros((30, 4), np.int64)}, r"expected whole numbers of \(N,\) \(\[data\] task"),
        (MANY, {"y": Y}, r"y: found int64 of shape \(30,\), expected 0 or 1 of \(N, 4\)"),
        (MANY, {"y": np.eye(30, 4, 1, np.int8) * 2}, "y, row 0, column 1: found 2, expected 0 to 1"),
        (ECG, {"x": np.array([[None]] * 30)}, "x: found objects, expected plain numbers"),
    ],
)  # fmt: skip
def test_arrays_of_another_form_are_refused(tmp_path: Path, spec: SeriesNpz, changes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_dataset(spec, ecg(tmp_path, **changes), 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,1", r"beats\.csv, row 32: found 2 columns, expected 10: the label and 9 samples"),
        ("", "row 32: found 0 columns"),
        ("0,0,0,0,5,0,0,0,0,0", "row 32, column 4: found the label '5', expected a whole number from 0 to 4"),
        ("0,0,0,0,1.5,0,0,0,0,0", "column 4: found the label '1.5'"),
        ("0,0,0,0,1,0,0,x,0,0", "row 32, column 7: found 'x', expected a finite float32 number"),
        ("0,0,0,0,1,0,0,0,0,nan", "column 9: found 'nan'"),
        ("0,1e39,0,0,1,0,0,0,0,0", "column 1: found '1e39'"),
    ],
)
def test_rows_of_another_form_are_refused(tmp_path: Path, row: str, said: str) -> None:
    with (beats(tmp_path) / "beats.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(DataError, match=said):
        load_dataset(TABLE, tmp_path, 1)


def test_files_and_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"found 0 columns 'lable' among 10, expected one .*Did you mean 'label'"
    ):
        load_dataset(replace(TABLE, label_column="lable"), beats(tmp_path), 1)
    with pytest.raises(DataError, match=r"no .*beat\.csv: put the series.*Did you mean 'beats\.csv'"):
        load_dataset(replace(TABLE, path="beat.csv"), tmp_path, 1)
    with pytest.raises(DataError, match="found no row of samples"):
        (tmp_path / "beats.csv").write_text("label" + ",t" * 9)
        load_dataset(TABLE, tmp_path, 1)
    with pytest.raises(DataError, match=r"found the arrays x, expected 'y'"):
        np.savez(tmp_path / "ecg.npz", x=X)
        load_dataset(ECG, tmp_path, 1)
    for changes, said in (
        ({"label_column": "label", "header": False}, "a column's number"),
        ({"label_column": "10", "header": False}, 'at most "9"'),
    ):
        with pytest.raises(ConfigError, match=said):
            replace(TABLE, **changes)
    with pytest.raises(ConfigError, match=r"length: found 8, .*at least 12 for 3 classes"):
        replace(WAVES, length=8)
    with pytest.raises(ConfigError, match=r"num_train: found .* GiB, expected at most 4 GiB"):
        replace(WAVES, num_train=10**9)


def test_sizes_that_a_head_claims_take_no_memory(tmp_path: Path) -> None:
    head = BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (2**30, 3, 20)}
    )
    with zipfile.ZipFile(tmp_path / "ecg.npz", "w") as file:
        file.writestr("x.npy", head.getvalue())
    with (tmp_path / "beats.csv").open("w") as table:
        table.truncate(5 << 30)  # a hole: takes no space on the disk
    tracemalloc.start()
    for spec in (ECG, TABLE):
        with pytest.raises(DataError, match="expected at most"):
            load_dataset(spec, tmp_path, 1)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_in_a_line_or_load(tmp_path: Path, kind: str) -> None:
    make, spec = KINDS[kind]
    file = make(tmp_path) / spec.path
    content, rng, refused = file.read_bytes(), random.Random(3), 0
    for _ in range(60):
        broken = bytearray(content)
        for _ in range(rng.choice((1, 4))):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        file.write_bytes(broken[: rng.randrange(len(broken))] if rng.random() < 0.3 else broken)
        try:
            load_dataset(spec, tmp_path, 1)
        except SfsimError as error:
            refused += 1
            assert "\n" not in str(error) and file.name in str(error)
    assert refused > 20


@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_f1_and_auroc_are_scikit_learns(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 4, (count, classes)) / 2  # many of them equal
    targets = rng.integers(0, 2, (count, classes))
    found = several_labels(torch.from_numpy(logits), torch.from_numpy(targets))
    expected = f1_score(targets, logits > 0, average="micro", zero_division=1)
    if classes == 1:
        expected = f1_score(targets[:, 0], logits[:, 0] > 0, zero_division=1)
    assert found["f1"] == pytest.approx(expected)
    mixed = [k for k in range(classes) if 0 < targets[:, k].sum() < count]
    areas = [roc_auc_score(targets[:, k], logits[:, k]) for k in mixed]
    assert found["auroc"] == pytest.approx(np.mean(areas) if areas else np.nan, nan_ok=True)


def published(in_channels: int, classes: int, width: int) -> nn.Sequential:
    """Ayad's network as torch's layers, written after seed-systems.md 6.1; without dropout."""
    layers: list[nn.Module] = []
    for number in range(6):
        layers += [nn.Conv1d(width if number else in_channels, width, 3, stride=2, padding=1), nn.ReLU()]
        layers += [nn.MaxPool1d(3, 2)] if number in (0, 1, 5) else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, classes))


def test_the_network_is_the_published_one() -> None:
    chain, oracle = build(Cnn1d(), 12, 5, 1), published(12, 5, 192)
    state = dict(zip(oracle.state_dict(), chain.state_dict().values(), strict=True))
    oracle.load_state_dict(state)
    x = torch.randn(3, 12, 1000)
    assert torch.equal(chain(x)[0], oracle(x))
    y = x
    for name in ("conv1", "conv2"):
        y = chain.stages[name](y)
    assert y.shape == (3, 192, 62)
    std = next(chain.parameters()).std().item()
    assert std == pytest.approx((2 / (192 * 3)) ** 0.5, rel=0.05)  # He's law by outputs
    assert build(Cnn1d(width=2), 1, 3, 1)(torch.zeros(2, 1, 8))[0].shape == (2, 3)  # the shortest series


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
@pytest.mark.parametrize("cuts", [("conv2",), ("conv2", "conv6")], ids=["label-sharing", "u-shaped"])
def test_split_training_is_unsplit_training(protocol: str, cuts: tuple[str, ...]) -> None:
    """The published network in plain torch, several labels, AdamW and inputs normalised by hand: the same bits."""
    declared = scenario(
        protocol=protocol,
        data=HEART,
        model=Cnn1d(width=6),
        cut_layers=cuts,
        loss="binary-cross-entropy",
        optimiser=AdamW(learning_rate=1e-2),
        normalisation="from-training-data",
        clients=clients(1),
    )
    run = finished(declared)
    data = load_dataset(declared.data, None, declared.seeds.data, 0.0)
    start = build(declared.model, 12, 5, integer(7, "initial weights"))
    oracle = published(12, 5, 6)
    oracle.load_state_dict(dict(zip(oracle.state_dict(), start.state_dict().values(), strict=True)))
    optimiser = torch.optim.AdamW(oracle.parameters(), lr=1e-2, weight_decay=0.01, foreach=False)
    numbers = data.train.inputs.double()
    mean, std = (torch.tensor(values) for values in statistics(data.train))
    assert mean.numpy() == pytest.approx(numbers.mean((0, 2)).numpy(), abs=1e-7)
    assert std.numpy() == pytest.approx(numbers.std((0, 2), correction=0).numpy())
    for rows in batches_of(run, "c", 2):
        optimiser.zero_grad()
        logits = oracle((data.train.inputs[rows] - mean[:, None]) / std[:, None])
        nn.functional.binary_cross_entropy_with_logits(logits, data.train.targets[rows].float()).backward()
        optimiser.step()
    found = whole(run, "c", "c")
    state = dict(zip(start.state_dict(), oracle.state_dict().values(), strict=True))
    assert_equal(found, state)


def test_metrics_and_bytes_of_several_labels(tmp_path: Path) -> None:
    declared = scenario(
        data=HEART,
        model=Cnn1d(width=6),
        cut_layers=("conv2",),
        loss="binary-cross-entropy",
        validation_fraction=0.25,
        partition=Dirichlet(alpha=1.0, min_examples=4),
        evaluation=Evaluation(keep_predictions=3),
        target=Target(metric="f1", value=0.01),
    )
    result = sfsim.run(declared, out=tmp_path / "run", checkpoint_share=0)
    rounds = result.rounds
    assert result.metric == "f1" and result.time_to().round is not None
    assert rounds["validation_f1"].between(0, 1).all() and rounds["test_auroc"].between(0, 1).all()
    sent = result.messages.query("kind == 'smashed data'")
    assert (sent["elements"] % (6 * 62) == 0).all()
    batch = sent["elements"] // (6 * 62)
    assert (sent["label_bytes"] >= 5 * batch).all() and (sent["label_bytes"] < 5 * batch + 20).all()
    kept = result.predictions
    assert kept["predictions"].shape == kept["targets"].shape == (3, 5) and kept["predictions"].max() <= 1


@pytest.mark.parametrize("data", [WAVES, HEART], ids=["one", "several"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path, data: SyntheticSeries) -> None:
    declared = scenario(
        data=data,
        model=Cnn1d(width=4),
        cut_layers=("conv2",),
        loss="cross-entropy" if data is WAVES else "binary-cross-entropy",
        validation_fraction=0.2,
        global_rounds=3,
    )
    total = counted(declared, tmp_path / "whole")
    counted(declared, tmp_path / "run", last=total * 2 // 3)
    counted(declared, tmp_path / "run", go_on=True)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


PLAIN = [
    path.stem
    for path in sorted(CATALOGUE.glob("*.toml"))
    if not isinstance(load(path), Learned)
    and "feedback" not in path.stem  # that one is for client-side models
]


@pytest.mark.parametrize("name", PLAIN)
def test_every_codec_takes_series(name: str) -> None:
    codec = load(CATALOGUE / f"{name}.toml")
    if isinstance(codec, ProductQuantization):
        codec = replace(codec, subvectors=48, centroids=2)  # of samples of 48 x 15 numbers, and 48 x 3
    codec.check_shape((8, 48, 15), True)
    x = np.maximum(np.random.default_rng(1).standard_normal((8, 48, 15)), 0).astype(np.float32)
    back = codec.decode(codec.encode(x, np.random.default_rng(2)).payload)
    assert back.shape == x.shape and back.dtype == np.float32 and np.isfinite(back).all()
    declared = scenario(
        data=WAVES,
        model=Cnn1d(width=48),
        cut_layers=("conv2",),
        codecs=coded(codec, "smashed_up"),
        global_rounds=1,
        local_steps=2,
    )
    rows = finished(declared).workload.setting.losses
    assert all(np.isfinite(loss) for pairs in rows.values() for loss, _ in pairs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"augmentation": (HorizontalFlip(),)},
            r"\[augmentation\[0\]\] kind: found 'horizontal-flip', expected no augmentation, because the data set "
            "'synthetic-series' is for classification of series: it is for images",
        ),
        ({"model": Cnn(width=4), "cut_layers": ("conv1",)}, "expected 'cnn-1d', because .* classification of series"),
        ({"data": IMAGES}, "kind: found 'cnn-1d', expected 'cnn', 'resnet18', 'resnet34' or 'vgg19', because"),
        ({"loss": "binary-cross-entropy"}, "loss: found 'binary-cross-entropy', expected 'cross-entropy', because"),
        ({"data": HEART}, "loss: found 'cross-entropy', expected 'binary-cross-entropy', because .* multi-label of"),
        ({"target": Target(metric="f1", value=0.5)}, "metric: found 'f1', expected 'accuracy'"),
        ({"cut_layers": ("conv9",)}, "cut_layers: found 'conv9'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scenario(**({"data": WAVES, "model": Cnn1d(width=4), "cut_layers": ("conv2",)} | changes))
