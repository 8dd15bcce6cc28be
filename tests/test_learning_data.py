"""Data sets: embedded, invented, made on the spot in every layout, and (where present) the real ones."""

import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfsim.declaration import validate
from sfsim.errors import ConfigError, DataError
from sfsim.learning.data import load_dataset
from sfsim.learning.dataset import TEST, TRAIN, VALIDATION, Dataset, draw_roles
from sfsim.learning.declarations import AnyDataset, Cifar10, Digits, Ham10000, ImageMaskFolder, Synthetic
from sfsim.learning.ham10000 import read_metadata
from sfsim.learning.mask_levels import LevelMap

# ------------------------------------------------------------ splits


def test_roles_keep_groups_together_and_fill_the_fractions() -> None:
    groups = np.repeat(np.arange(100), 3)
    roles = draw_roles(groups, 0.1, 0.2, np.random.default_rng(1))
    for group in range(100):
        assert len(set(roles[groups == group])) == 1
    sizes = np.bincount(roles, minlength=3)
    assert (sizes[TEST], sizes[VALIDATION], sizes[TRAIN]) == (30, 54, 216)
    assert set(draw_roles(groups, 0, 0, np.random.default_rng(1))) == {TRAIN}
    assert np.bincount(draw_roles(np.arange(9), 0.01, 0.01, np.random.default_rng(1))).tolist() == [7, 1, 1]


def test_too_few_examples_to_train_on() -> None:
    said = r"^\[data\] test_fraction, validation_fraction: found shares that leave none of the 2 examples for"
    with pytest.raises(ConfigError, match=said):
        load_dataset(Synthetic(num_train=1, num_test=1), None, 1, validation_fraction=0.5)


# ------------------------------------------------------------ embedded and invented


def test_digits() -> None:
    data = load_dataset(Digits(), None, seed=7, validation_fraction=0.1)
    assert (data.task, data.num_classes, data.in_channels) == ("classification", 10, 1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [1294, 144, 359]
    assert data.train.inputs.dtype == torch.float32 and data.train.inputs.shape[1:] == (1, 8, 8)
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 1)
    assert data.train.targets.dtype == torch.int64 and set(data.train.targets.tolist()) == set(range(10))
    assert np.array_equal(data.partition_labels, data.train.targets.numpy())


@pytest.mark.parametrize(
    "spec", [Digits(), Synthetic(), Synthetic(task="segmentation", image_size=32, in_channels=3)]
)
def test_seed_decides_the_splits_and_the_fingerprint(spec: AnyDataset) -> None:
    first, same, other = (load_dataset(spec, None, seed) for seed in (1, 1, 2))
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert len(first.fingerprint) == 64
    assert torch.equal(first.train.inputs, same.train.inputs)
    assert load_dataset(spec, None, 1, validation_fraction=0.2).fingerprint != first.fingerprint


def test_synthetic_has_the_declared_shapes() -> None:
    spec = Synthetic(
        task="segmentation", num_train=40, num_test=7, image_size=32, in_channels=3, num_classes=3
    )
    data = load_dataset(spec, None, 1, validation_fraction=0)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [40, 0, 7]
    assert data.train.inputs.shape == (40, 3, 32, 32) and data.train.targets.shape == (40, 32, 32)
    assert set(data.train.targets.unique().tolist()) == {0, 1, 2}
    assert set(data.partition_labels) == set(range(5))  # fifths of the foreground share
    x, targets = data.train.batch(np.array([3, 1]))
    assert torch.equal(x, data.train.inputs[[3, 1]]) and torch.equal(targets, data.train.targets[[3, 1]])
    some = data.train[np.array([3, 1])]
    assert len(some) == 2 and torch.equal(some.inputs, x) and torch.equal(some.targets, targets)


# ------------------------------------------------------------ made on the spot


def write_image(
    path: Path, size: tuple[int, int], value: int | tuple[int, int, int], mode: str = "RGB"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def write_mask(path: Path, size: tuple[int, int], palette: bool = False, value: int = 255) -> None:
    """The left half is foreground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.zeros(size[::-1], dtype=np.uint8)
    grey[:, : size[0] // 2] = value
    mask = Image.fromarray(grey)
    if palette:
        mask = Image.fromarray((grey > 0).astype(np.uint8))
        mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.save(path)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Twenty images of ten lesions in HAM10000's official layout, and one image without a mask."""
    folder = tmp_path / "HAM10000"
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for number in range(20):
        name = f"ISIC_{number:07}"
        write_image(
            folder / f"HAM10000_images_part_{1 + number % 2}" / f"{name}.jpg", (20, 15), (10 * number, 0, 0)
        )
        masks = folder / "HAM10000_segmentations_lesion_tschandl"
        write_mask(masks / f"{name}_segmentation.png", (60, 45), palette=number % 3 == 0)
        lines.append(f"HAM_{number // 2:07},{name},{'nv' if number < 14 else 'mel'},histo,,male,back")
    write_image(folder / "HAM10000_images_part_1" / "ISIC_9999999.jpg", (20, 15), 0)
    (folder / "HAM10000_metadata.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_official_layout_resizes_images_and_masks_of_different_sizes(official: Path) -> None:
    data = load_dataset(Ham10000(image_size=16, test_fraction=0.2), official, 1, validation_fraction=0.25)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [12, 4, 4]
    expected = torch.zeros(16, 16, dtype=torch.int64)
    expected[:, :8] = 1
    for split in (data.train, data.validation, data.test):
        assert split.inputs.shape[1:] == (3, 16, 16) and (split.targets == expected).all()
    assert set(data.partition_labels) == {0, 1}  # mel, nv
    # Red encodes the image number, image number // 2 the lesion.
    lesions = [
        {int(red * 255 + 2) // 20 for red in split.inputs[:, 0].mean((1, 2))}
        for split in (data.train, data.validation, data.test)
    ]
    assert len(lesions[0] | lesions[1] | lesions[2]) == sum(map(len, lesions)) == 10
    # The data set's own folder is taken for a root as well.
    spec = Ham10000(image_size=16, test_fraction=0.2)
    assert load_dataset(spec, official / "HAM10000", 1, 0.25).fingerprint == data.fingerprint


def test_official_layout_with_fewer_pairs(official: Path) -> None:
    data = load_dataset(Ham10000(image_size=16, max_pairs=6), official, 1)
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 6


def test_official_layout_without_metadata_or_with_a_broken_file(official: Path) -> None:
    broken = official / "HAM10000" / "HAM10000_images_part_1" / "ISIC_0000002.jpg"
    broken.write_bytes(b"not a JPEG")
    with pytest.raises(DataError, match=r"ISIC_0000002\.jpg cannot be decoded as an image"):
        load_dataset(Ham10000(image_size=16), official, 1)
    (official / "HAM10000" / "HAM10000_metadata.csv").unlink()
    with pytest.raises(
        DataError, match=r"has no HAM10000_metadata\.csv, which says which images show one lesion"
    ):
        load_dataset(Ham10000(image_size=16), official, 1)


@pytest.fixture
def client_folders(tmp_path: Path) -> Path:
    """SplitFedZip's layout with ten clients: client_k trains on k pairs; masks hold 0 and 101."""
    for client in range(1, 11):
        folder = tmp_path / "HAM10K" / f"client_{client}"
        for kind, number in (("train", client), ("test", 2)):
            for at in range(number):
                write_image(folder / f"{kind}_img" / f"X{at}.jpg", (20, 15), (client, 0, at))
                write_mask(folder / f"{kind}_mask" / f"X{at}.png", (20, 15), value=101)
    for at in range(3):
        write_image(tmp_path / "HAM10K" / "mutual_img" / f"X{at}.jpg", (20, 15), at)
        write_mask(tmp_path / "HAM10K" / "mutual_mask" / f"X{at}.png", (20, 15), value=0)
    return tmp_path


def test_splitfedzip_layout_brings_its_clients_and_splits(client_folders: Path) -> None:
    data = load_dataset(Ham10000(layout="splitfedzip", image_size=16), client_folders, 1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [55, 20, 3]
    assert data.client_indices is not None
    assert [len(share) for share in data.client_indices] == list(range(1, 11))  # client_10 comes last
    assert data.train.targets.float().mean() == 0.5  # 101 is above the threshold of 100
    assert data.test.targets.sum() == 0 and LevelMap({0: 0, 255: 1}, 100).class_of[100:102].tolist() == [0, 1]
    with pytest.raises(DataError, match=r"client_\d+: no pair of train_img.*; a larger max_pairs may help"):
        load_dataset(Ham10000(layout="splitfedzip", image_size=16, max_pairs=5), client_folders, 1)


def test_image_mask_folder_maps_grey_to_the_nearest_level(tmp_path: Path) -> None:
    grey = np.array([[0, 64, 105, 128], [192, 226, 255, 255]], dtype=np.uint8).repeat(4, 0).repeat(2, 1)
    for at in range(5):
        write_image(tmp_path / "blasto" / f"{at}.bmp", (12, 9), at)
        Image.fromarray(grey).save(tmp_path / "blasto" / f"{at}_mask.bmp")
    table = {
        "kind": "image-mask-folder",
        "path": "blasto",
        "images": "*.bmp",
        "masks": "*.bmp",
        "mask_suffix": "_mask",
        "image_size": 8,
        "grey_to_class": {"255": 4, "192": 3, "226": 3, "128": 2, "64": 1, "105": 1, "0": 0},
    }
    spec = validate(AnyDataset, table, "a.toml, [data]")
    assert spec.num_classes == 5
    meant = LevelMap(spec.grey_to_class).class_of
    assert meant[[0, 32, 33, 60, 70, 128, 200, 226, 250, 255]].tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 4, 4]
    data = load_dataset(spec, tmp_path, 1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [3, 1, 1]
    assert data.train.targets[0, ::4, ::2].tolist() == [[0, 1, 1, 2], [3, 3, 4, 4]]
    nothing = ImageMaskFolder(path="blasto", images="*.bmp", masks="*.bmp", mask_suffix="_label")
    with pytest.raises(DataError, match=r"no image X in \*\.bmp has a mask X_label in \*\.bmp"):
        load_dataset(nothing, tmp_path, 1)


def write_batch(path: Path, rows: int, first: int = 0) -> None:
    data = np.arange(rows * 3072, dtype=np.uint32).astype(np.uint8).reshape(rows, 3072)
    data[:, 0] = np.arange(first, first + rows)
    batch = {"data": data, "labels": [row % 10 for row in range(rows)], "batch_label": "x"}
    path.write_bytes(pickle.dumps(batch, protocol=2))


def test_cifar10_of_any_size(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number, rows in ((1, 12), (4, 8)):
        write_batch(folder / f"data_batch_{number}", rows, 20 * number)
    write_batch(folder / "test_batch", 5)
    data = load_dataset(Cifar10(), tmp_path, 1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [18, 2, 5]
    assert data.test.inputs.shape == (5, 3, 32, 32) and data.test.inputs.max() == 1
    assert data.test.stored_inputs[0, 0, 0, 1] == 1  # planes of rows of columns
    smaller = load_dataset(Cifar10(max_examples=10), tmp_path, 1)
    assert len(smaller.train) + len(smaller.validation) == 10


def test_cifar10_files_that_are_not(tmp_path: Path) -> None:
    write_batch(tmp_path / "data_batch_1", 4)
    with pytest.raises(DataError, match=r"test_batch is missing: download cifar-10-python\.tar\.gz"):
        load_dataset(Cifar10(), tmp_path, 1)
    write_batch(tmp_path / "test_batch", 4)
    for content, text in (
        (b"no pickle", "not a pickle of arrays"),
        (b"", "not a pickle of arrays"),
        (
            pickle.dumps({"data": np.zeros((2, 3071), np.uint8), "labels": [0, 0]}),
            r"found \(2, 3071\), expected",
        ),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.float32), "labels": [0, 0]}),
            "found float32, expected uint8",
        ),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 11]}),
            "whole numbers from 0 to 9",
        ),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, True]}),
            "whole numbers from 0 to 9",
        ),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "2 images, but 1 labels"),
        (pickle.dumps({"images": 1}), "found the keys images, expected 'data'"),
        (pickle.dumps([1]), "found a list, expected a dictionary"),
        (pickle.dumps({"data": Path("x"), "labels": []}), "pathlib.* is no part of one"),
    ):
        (tmp_path / "data_batch_1").write_bytes(content)
        with pytest.raises(DataError, match=text):
            load_dataset(Cifar10(), tmp_path, 1)


@pytest.mark.parametrize(
    ("spec", "download"),
    [
        (Ham10000(), "download HAM10000_images_part_1.zip"),
        (Ham10000(layout="splitfedzip"), "sort HAM10000"),
        (Cifar10(), "download cifar-10-python.tar.gz"),
        (ImageMaskFolder(path="eyes"), "put images (images/*) and masks (masks/*) there"),
    ],
)
def test_a_missing_data_set_says_what_to_do(spec: AnyDataset, download: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(spec, tmp_path, 1)
    folder = spec.folder if isinstance(spec, Ham10000) else spec.path  # type: ignore[union-attr]
    text = str(error.value)
    assert download in text and f"in {tmp_path / folder}: " in text and "docs/data.md" in text
    assert text.endswith("; or run scenarios/quickstart.toml, which needs no download")
    with pytest.raises(DataError, match="no data root is set"):
        load_dataset(spec, None, 1)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"kind": "cifar1000"}, "cifar10"),
        ({"kind": "ham10000", "layout": "kaggle"}, "splitfedzip"),
        ({"kind": "ham10000", "image_size": 0}, "found 0, expected a whole number of at least 1"),
        ({"kind": "digits", "test_fraction": 1.0}, "less than 1"),
        ({"kind": "image-mask-folder"}, "path"),
        ({"kind": "image-mask-folder", "path": "x", "grey_to_class": {"256": 1, "0": 0}}, "255"),
        (
            {"kind": "image-mask-folder", "path": "x", "images": "/etc/*"},
            "found '/etc/*', expected a glob pattern inside the folder, such as 'images/*'",
        ),
    ],
)
def test_declarations_that_are_refused(table: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(AnyDataset, table, "a.toml, [data]")
    assert text in str(error.value) and str(error.value).startswith("a.toml, [data]")


# ------------------------------------------------------------ the real ones


@pytest.fixture(scope="module")
def unpacked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Small parts of the real archives."""
    root = tmp_path_factory.mktemp("data")
    for name in ("cifar10_py", "splitfedzip_ham_layout", "wbc_dataset1", "ham10000"):
        archive = shared / "data" / name / f"{name}.tar.xz"
        if not archive.is_file():
            pytest.skip(f"no {name} in the reference data")
        with tarfile.open(archive) as tar:
            for member in tar:
                # Of HAM10000 take one lesion image in a hundred and the metadata.
                file = Path(member.name).name
                if name != "ham10000" or "00." in file or "00_" in file or "metadata" in file:
                    tar.extract(member, root, filter="data")
    return root


def sizes(data: Dataset) -> list[int]:
    return [len(split) for split in (data.train, data.validation, data.test)]


def test_real_cifar10(unpacked: Path) -> None:
    data = load_dataset(Cifar10(), unpacked, 1)
    assert sizes(data) == [2250, 250, 500]
    assert set(data.train.targets.tolist()) == set(range(10))


def test_real_ham10000_official(unpacked: Path) -> None:
    data = load_dataset(Ham10000(image_size=64), unpacked, 1)
    assert sum(sizes(data)) > 20 and min(sizes(data)) >= 2
    assert set(data.train.targets.unique().tolist()) == {0, 1}
    assert 0.05 < data.train.targets.float().mean() < 0.6
    assert len(set(data.partition_labels)) > 2


def test_real_ham10000_in_splitfedzips_layout(unpacked: Path) -> None:
    data = load_dataset(Ham10000(layout="splitfedzip", image_size=32), unpacked, 1)
    assert sizes(data) == [200, 50, 50]
    assert data.client_indices is not None and [len(share) for share in data.client_indices] == [40] * 5


def test_real_white_blood_cells(unpacked: Path) -> None:
    spec = ImageMaskFolder(
        path="segmentation_WBC/Dataset 1",
        images="*.bmp",
        masks="*.png",
        grey_to_class={0: 0, 128: 1, 255: 2},
        image_size=32,
    )
    data = load_dataset(spec, unpacked, 1)
    assert sum(sizes(data)) == 300
    assert set(data.train.targets.unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("name", ["HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab"])
def test_ham_metadata_however_they_were_saved(tmp_path: Path, name: str) -> None:
    cells = [["lesion_id", "image_id", "dx"], ["L1", "I1", "mel"], ["L1", "I2", "mel"]]
    for encoding, separator in (("utf-8-sig", ","), ("utf-8", "\t"), ("utf-16", ";")):
        (tmp_path / name).write_text("\n".join(map(separator.join, cells)), encoding=encoding)
        assert read_metadata(tmp_path) == {"I1": ("L1", "mel"), "I2": ("L1", "mel")}
    for last, message in (
        ("L2,I1,nv", "line 3: found another lesion"),
        (",I2,nv", "line 3: found no lesion_id"),
    ):
        (tmp_path / name).write_text(f"lesion_id,image_id,dx\nL1,I1,mel\n{last}\n")
        with pytest.raises(DataError, match=message):
            read_metadata(tmp_path)
