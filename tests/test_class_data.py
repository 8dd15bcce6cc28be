"""MNIST, CIFAR-100, MedMNIST, a folder per class, HAM10000's diagnoses: what is read, is refused, and trains."""

import gzip
import pickle
import random
import struct
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worlds import scenario

import sfsim
from sfsim.errors import DataError, SfsimError
from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import (
    AnyDataset,
    Cifar100,
    Cnn,
    Ham10000Diagnoses,
    ImageClassFolder,
    ImageObjectsFolder,
    MedMnist,
    Mnist,
)

RNG = np.random.default_rng(5)


def idx(array: np.ndarray) -> bytes:
    """The array in idx form, written after LeCun's description."""
    return (
        bytes((0, 0, 8, array.ndim))
        + b"".join(struct.pack(">I", side) for side in array.shape)
        + array.tobytes()
    )


def mnist(folder: Path, packed: bool = True) -> Path:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, number in (("train", 20), ("t10k", 6)):
        images = RNG.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        images[:, 0, 0] = np.arange(number)
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(number, dtype=np.uint8) % 10)):
            content = idx(array)
            file = raw / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            file.write_bytes(gzip.compress(content) if packed else content)
    return folder


def cifar100(folder: Path) -> Path:
    raw = folder / "cifar-100-python"
    raw.mkdir(parents=True)
    for part, number in (("train", 20), ("test", 6)):
        data = RNG.integers(0, 256, (number, 3072), dtype=np.uint8)
        labels = {
            "fine_labels": list(range(80, 80 + number)),
            "coarse_labels": [k % 20 for k in range(number)],
        }
        (raw / part).write_bytes(
            pickle.dumps({"data": data, "filenames": ["x.png"] * number, **labels}, protocol=2)
        )
    return folder


def medmnist(folder: Path, **changes: np.ndarray) -> Path:
    arrays = {}
    for part, number in (("train", 20), ("val", 5), ("test", 6)):
        arrays[f"{part}_images"] = RNG.integers(0, 256, (number, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(number) % 9)[:, None]
    np.savez_compressed(folder / "pathmnist.npz", **(arrays | changes))
    return folder


def classes(folder: Path) -> Path:
    for name, level in (("cat", 40), ("dog", 200), ("rest", 0)):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(8):
            grey = np.full((12, 10, 3), level + number, dtype=np.uint8)
            Image.fromarray(grey).save(folder / "pets" / name / f"{number}.png")
    return folder


def diagnoses(folder: Path) -> Path:
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for number in range(24):
        part = folder / "HAM10000" / f"HAM10000_images_part_{1 + number % 2}"
        part.mkdir(parents=True, exist_ok=True)
        name = f"ISIC_{number:07d}"
        Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(part / f"{name}.jpg")
        lines.append(
            f"HAM_{number // 3},{name},{('nv', 'mel', 'bkl', 'vasc')[number // 3 % 4]},histo,50,male,back"
        )
    (folder / "HAM10000" / "HAM10000_metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


METADATA = b"lesion_id,image_id,dx\na,ISIC_0000001,nx\n"
PETS = ImageClassFolder(path="pets", classes=("cat", "dog"), image_size=8)
MEDICAL = MedMnist(path="pathmnist.npz", num_classes=9)
KINDS = {
    "mnist": (mnist, Mnist()),
    "cifar100": (cifar100, Cifar100()),
    "medmnist": (medmnist, MEDICAL),
    "image-class-folder": (classes, PETS),
    "ham10000-diagnoses": (diagnoses, Ham10000Diagnoses(image_size=8)),
}


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_what_its_bytes_say(tmp_path: Path, packed: bool) -> None:
    data = load_dataset(Mnist(), mnist(tmp_path, packed), 1, validation_fraction=0.1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [18, 2, 6]
    assert data.train.stored_inputs.shape == (18, 1, 28, 28) and data.in_channels == 1
    assert data.test.stored_inputs[:, 0, 0, 0].tolist() == list(range(6)) == data.test.targets.tolist()
    firsts = data.train.stored_inputs[:, 0, 0, 0].long()
    assert (firsts % 10 == data.train.targets).all()  # images and labels belong together
    assert len(load_dataset(Mnist(max_examples=5), tmp_path, 1).train) == 4


def test_the_real_mnist(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "data" / "mnist" / "mnist.tar") as file:
        file.extractall(tmp_path, filter="data")
    data = load_dataset(Mnist(max_examples=1000), tmp_path, 1)
    assert np.bincount(data.test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.parametrize(("labels", "first", "most"), [("fine", 80, 100), ("coarse", 0, 20)])
def test_cifar100_has_two_kinds_of_labels(tmp_path: Path, labels: str, first: int, most: int) -> None:
    spec = Cifar100(labels=labels)
    data = load_dataset(spec, cifar100(tmp_path), 1, validation_fraction=0)
    assert (spec.num_classes, data.num_classes, data.test.targets[0]) == (most, most, first)
    assert [len(data.train), len(data.test)] == [20, 6] and data.train.inputs.shape[1:] == (3, 32, 32)


@pytest.mark.parametrize("grey", [False, True])
def test_medmnist_keeps_the_files_splits(tmp_path: Path, grey: bool) -> None:
    images = {f"{part}_images": RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)
              for part, n in (("train", 20), ("val", 5), ("test", 6))} if grey else {}  # fmt: skip
    medmnist(tmp_path, **images)
    spec = replace(MEDICAL, in_channels=1 if grey else 3)
    data = load_dataset(spec, tmp_path, 1, validation_fraction=0.5)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 5, 6]
    assert data.validation.targets.tolist() == [0, 1, 2, 3, 4]
    with np.load(tmp_path / "pathmnist.npz") as file:
        stored = file["val_images"]
    expected = stored[:, None] if grey else stored.transpose(0, 3, 1, 2)
    assert np.array_equal(data.validation.stored_inputs, expected)


def test_folders_are_classes_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    data = load_dataset(PETS, classes(tmp_path), 1, validation_fraction=0.25)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [10, 3, 3]
    assert data.notes == ("data: 8 of 24 pictures lie in other folders (rest) and are left out",)
    for split in (data.train, data.validation, data.test):
        assert ((split.stored_inputs[:, 0, 0, 0] > 100).long() == split.targets).all()
    given = replace(PETS, images="*/[0-5].png", test_images="*/[67].png")
    data = load_dataset(given, tmp_path, 1, validation_fraction=0)
    assert [len(data.train), len(data.test)] == [12, 4] and sorted(data.test.targets.tolist()) == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"found by images and by test_images, expected each picture in one"):
        load_dataset(replace(PETS, test_images="*/7.png"), tmp_path, 1)
    with pytest.raises(
        DataError, match=r"found no picture of '\*/\*' in a folder 'dgo'.* Did you mean 'dog'"
    ):
        load_dataset(replace(PETS, classes=("cat", "dgo")), tmp_path, 1)


def test_images_of_a_lesion_stay_together_and_absent_diagnoses_are_named(tmp_path: Path) -> None:
    data = load_dataset(Ham10000Diagnoses(image_size=8), diagnoses(tmp_path), 3, validation_fraction=0.2)
    sizes = [len(split) for split in (data.train, data.validation, data.test)]
    assert sum(sizes) == 24 and all(size % 3 == 0 for size in sizes)  # three images of each lesion
    assert data.notes == ("data: no image is of akiec, bcc, df",)
    assert set(np.concatenate([data.train.targets, data.validation.targets, data.test.targets])) == {
        2,
        4,
        5,
        6,
    }


def test_the_real_diagnoses(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "data" / "ham10000" / "ham10000.tar.xz") as file:
        some = [
            member
            for member in file
            if "images_part" not in member.name or member.name.endswith(("0.jpg", "5.jpg"))
        ]
        file.extractall(tmp_path, [one for one in some if "segmentation" not in one.name], filter="data")
    data = load_dataset(Ham10000Diagnoses(image_size=16, max_images=400), tmp_path, 1)
    counts = np.bincount(data.train.targets, minlength=7)
    assert counts[5] > counts.sum() / 2 and len(data.train) + len(data.validation) + len(data.test) == 400


@pytest.mark.parametrize(
    ("make", "spec", "name", "content", "said"),
    [
        (mnist, Mnist(), "MNIST/raw/t10k-labels-idx1-ubyte.gz", gzip.compress(b"\0\0\x0d\1\0\0\0\1x"), "type 0x0d"),
        (mnist, Mnist(), "MNIST/raw/t10k-labels-idx1-ubyte.gz", b"\0\0\x08\1\xff\xff\xff\xff", "at most 1,073,741,824"),
        (mnist, Mnist(), "MNIST/raw/t10k-labels-idx1-ubyte.gz", idx(np.full(6, 11, np.uint8)), "found label 11"),
        (mnist, Mnist(), "MNIST/raw/t10k-labels-idx1-ubyte.gz", idx(np.zeros(5, np.uint8)), "found 5 labels"),
        (mnist, Mnist(), "MNIST/raw/t10k-images-idx3-ubyte.gz", idx(np.zeros((6, 32, 32), np.uint8)), "28 x 28"),
        (mnist, Mnist(), "MNIST/raw/t10k-images-idx3-ubyte.gz", idx(np.zeros((6, 28, 28), np.uint8))[:-9], "bytes, ex"),
        (cifar100, Cifar100(), "cifar-100-python/test", pickle.dumps({"data": 1}, 2), "expected 'fine_labels'"),
        (medmnist, MEDICAL, "pathmnist.npz", b"PK no zip", "cannot be read as .npz"),
        (classes, PETS, "pets/cat/3.png", b"no picture", "cannot be decoded as an image"),
        (diagnoses, Ham10000Diagnoses(), "HAM10000/HAM10000_metadata.csv", METADATA, "the diagnosis 'nx'"),
    ],
)  # fmt: skip
def test_what_is_something_else_is_refused_by_name(
    tmp_path: Path, make, spec: AnyDataset, name: str, content: bytes, said: str
) -> None:
    make(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_dataset(spec, tmp_path, 1)
    assert (
        (said in str(error.value) and Path(name).name in str(error.value))
        or "folder" in said
        or "HAM" in str(error.value)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val_labels": np.zeros((5, 14), np.int64)}, "one label for each image"),
        ({"val_labels": np.full((5, 1), 9)}, "found labels from 9 to 9, expected 0 to 8"),
        ({"val_labels": np.zeros((5, 1))}, "found float64"),
        ({"val_images": np.zeros((5, 64, 64, 3), np.uint8)}, "image_size"),
        ({"val_images": np.zeros((5, 28, 28, 3))}, "found float64"),
        ({"val_images": np.zeros((4, 28, 28, 3), np.uint8)}, "found 4 images and 5 labels"),
        ({"val_labels": np.array([[None]] * 5, dtype=object)}, "found objects, expected plain numbers"),
    ],
)
def test_medmnist_of_another_form_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load_dataset(MEDICAL, medmnist(tmp_path, **changes), 1)


def test_sizes_that_a_head_claims_take_no_memory(tmp_path: Path) -> None:
    head = BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 28, 28, 300)}
    )
    with zipfile.ZipFile(tmp_path / "pathmnist.npz", "w") as file:
        file.writestr("train_images.npy", head.getvalue())
    mnist(tmp_path)
    claims = b"\0\0\x08\3" + struct.pack(">III", 2**20, 28, 28)
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(claims))
    tracemalloc.start()
    for spec in (MEDICAL, Mnist()):
        with pytest.raises(DataError, match=r"expected at most|found 0 bytes"):
            load_dataset(spec, tmp_path, 1)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_in_a_line_or_load(tmp_path: Path, kind: str) -> None:
    make, spec = KINDS[kind]
    make(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    rng = random.Random(3)
    for _ in range(60):
        file = rng.choice(files)
        content = file.read_bytes()
        broken = bytearray(content)
        for _ in range(rng.choice((1, 4))):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        file.write_bytes(broken[: rng.randrange(len(broken))] if rng.random() < 0.3 else broken)
        try:
            load_dataset(spec, tmp_path, 1)
        except SfsimError as error:
            assert "\n" not in str(error)
        file.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains(tmp_path: Path, kind: str) -> None:
    make, spec = KINDS[kind]
    declared = scenario(data=spec, model=Cnn(width=2), batch_size=4, global_rounds=1, validation_fraction=0.2)
    result = sfsim.run(declared, out=tmp_path / "run", data_root=make(tmp_path), checkpoint_share=0)
    assert np.isfinite(result.rounds["train_loss"]).all()


def objects(folder: Path) -> Path:
    """Ten pictures of 12 x 10, each with two objects: the first column, and the second in the first row."""
    for number in range(10):
        place = folder / "nuclei" / f"p{number}"
        (place / "images").mkdir(parents=True)
        (place / "masks").mkdir()
        Image.fromarray(np.full((10, 12, 4), 255, dtype=np.uint8)).save(place / "images" / f"p{number}.png")
        for at, where in enumerate(((slice(None), 0), (0, 1))):
            mask = np.zeros((10, 12), dtype=np.uint8)
            mask[where] = 255
            Image.fromarray(mask).save(place / "masks" / f"{at}.png")
    return folder


NUCLEI = ImageObjectsFolder(path="nuclei", image_size=60)


def test_objects_of_a_picture_are_one_mask(tmp_path: Path) -> None:
    data = load_dataset(NUCLEI, objects(tmp_path), 1, validation_fraction=0.25)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 2, 2]
    # 12 x 10 pixels become 60 x 60: the first column is 5 wide, the other pixel 5 x 6.
    assert (data.train.targets.sum((1, 2)) == 5 * 60 + 5 * 6).all() and data.notes == ()
    both = np.full((10, 12), 255, dtype=np.uint8)
    Image.fromarray(both).save(tmp_path / "nuclei" / "p3" / "masks" / "2.png")
    assert load_dataset(NUCLEI, tmp_path, 1).notes == ("data: in 1 of 10 pictures objects overlap",)
    Image.fromarray(both[:5]).save(tmp_path / "nuclei" / "p3" / "masks" / "2.png")
    with pytest.raises(DataError, match=r"2\.png: found 12 x 5 pixels, expected the picture's 12 x 10"):
        load_dataset(NUCLEI, tmp_path, 1)
    Image.fromarray(both // 255).save(tmp_path / "nuclei" / "p3" / "masks" / "2.png")
    with pytest.raises(DataError, match=r"2\.png: found levels up to 1, expected 0 and 255"):
        load_dataset(NUCLEI, tmp_path, 1)
    for file in (tmp_path / "nuclei" / "p3" / "masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"p3: found no mask, expected one for each object"):
        load_dataset(NUCLEI, tmp_path, 1)


def test_the_real_nuclei(shared: Path, tmp_path: Path) -> None:
    archive = next((shared / "data" / "dsb2018").glob("*.tar*"))
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    top = next(path.parents[2] for path in tmp_path.rglob("images/*") if path.is_file())
    spec = ImageObjectsFolder(path=str(top.relative_to(tmp_path)), image_size=32, max_images=30)
    data = load_dataset(spec, tmp_path, 1)
    assert len(data.train) + len(data.validation) + len(data.test) == 30
    assert 0.02 < data.train.targets.float().mean() < 0.6
