"""Images and masks of strangers: what fits comes through, what does not is refused by name; pairs by identity."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfsim.errors import DataError
from sfsim.learning import pictures
from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import ImageMaskFolder
from sfsim.learning.image_folder import find_pairs, keyed
from sfsim.learning.pictures import read_pair

INSIDE = np.hypot(*(np.mgrid[:16, :16] - 7.5)) < 5
MASK = Image.fromarray((255 * INSIDE).astype(np.uint8))
GREY = (60 + 150 * INSIDE).astype(np.uint8)


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def values_of(picture: Image.Image, folder: Path, name: str = "x.png", **options: object) -> np.ndarray:
    image, mask = save(picture, folder / name, **options), save(MASK, folder / "m.png")
    values = read_pair(image, mask, 16)[0]
    assert values.shape == (3, 16, 16)
    return values / np.float32(255) if values.dtype == np.uint8 else values


def contrast(values: np.ndarray) -> float:
    return float(values[:, INSIDE].mean() - values[:, ~INSIDE].mean())


FLOATS = (GREY / 255).astype(np.float32)
READABLE: dict[str, tuple[Callable[[], Image.Image], str, float]] = {
    "grey": (lambda: Image.fromarray(GREY), "x.png", 150 / 255),
    "sixteen bits": (lambda: Image.fromarray(GREY.astype(np.uint16) * 257), "x.png", 150 / 255),
    "sixteen bits, tiff": (lambda: Image.fromarray(GREY.astype(np.uint16) * 257), "x.tif", 150 / 255),
    "floats": (lambda: Image.fromarray(FLOATS), "x.tif", 150 / 255),
    "one bit": (lambda: Image.fromarray(INSIDE), "x.png", 1.0),
    "palette": (lambda: Image.fromarray(GREY).convert("RGB").quantize(4), "x.png", 150 / 255),
    "opaque alpha": (lambda: Image.fromarray(GREY).convert("RGBA"), "x.png", 150 / 255),
    "cmyk": (lambda: Image.fromarray(GREY).convert("CMYK"), "x.tif", 150 / 255),
}


@pytest.mark.parametrize("name", READABLE)
def test_images_come_through_at_their_scale(name: str, tmp_path: Path) -> None:
    make, file, expected = READABLE[name]
    assert contrast(values_of(make(), tmp_path, file)) == pytest.approx(expected, abs=0.01)


def test_images_that_do_not_fit_are_refused_by_name_and_mode(tmp_path: Path) -> None:
    alpha = Image.fromarray(np.dstack([np.zeros((16, 16, 3)), 255 * INSIDE]).astype(np.uint8), "RGBA")
    with pytest.raises(DataError, match=r"x\.png: found transparent pixels \(mode RGBA, alpha 0 to 255\)"):
        values_of(alpha, tmp_path)
    for array, said in (
        (FLOATS * 255, "60 to 210"),
        (FLOATS - 1, "-0.764706 to -0.176471"),
        (FLOATS * np.nan, "nan to nan"),
    ):
        with pytest.raises(DataError, match=rf"x\.tif: found values from {said} \(mode F\), expected 0 to 1"):
            values_of(Image.fromarray(array), tmp_path, "x.tif")
    with pytest.raises(
        DataError, match=r"x\.tif: found values from -1 to -1 \(mode I\), expected 0 to 65535"
    ):
        values_of(Image.fromarray(np.full((16, 16), -1, np.int32)), tmp_path, "x.tif")
    with pytest.raises(DataError, match=r"x\.tif: found 2 frames"):
        values_of(
            Image.fromarray(GREY), tmp_path, "x.tif", save_all=True, append_images=[Image.fromarray(GREY)]
        )


def test_size_is_asked_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 255)
    with pytest.raises(DataError, match=r"x\.png: found 16 x 16 pixels, expected at most 255"):
        values_of(Image.fromarray(GREY), tmp_path)


def test_orientation_is_that_of_both_or_decided_by_the_sides(tmp_path: Path) -> None:
    wide = Image.fromarray(np.arange(8 * 16, dtype=np.uint8).reshape(8, 16))
    turn = Image.Exif()
    turn[0x0112] = 6  # shown turned by a quarter
    image = save(wide, tmp_path / "i.png", exif=turn)
    shown = np.rot90(np.asarray(wide), -1)
    stored_mask, shown_mask = (
        save(wide.point(lambda v: 255 * (v > 9)), tmp_path / "s.png"),
        tmp_path / "t.png",
    )
    save(Image.fromarray(shown).point(lambda v: 255 * (v > 9)), shown_mask)
    turned_mask = save(wide.point(lambda v: 255 * (v > 9)), tmp_path / "u.png", exif=turn)
    for mask in (stored_mask, shown_mask, turned_mask):
        values, levels, _ = read_pair(image, mask, 16)
        assert ((pictures.resized((levels > 0).astype(np.uint8), 16) > 0) == (values[0] > 9)).mean() > 0.9, (
            mask
        )
    square = save(Image.fromarray(GREY), tmp_path / "q.png", exif=turn)
    with pytest.raises(
        DataError, match=r"q\.png: found EXIF orientation 6, expected that of its mask m\.png, 1"
    ):
        read_pair(square, save(MASK, tmp_path / "m.png"), 16)


def folder(tmp_path: Path, masks: list[Image.Image], suffix: str = ".png") -> Path:
    for at, mask in enumerate(masks):
        save(Image.fromarray(GREY), tmp_path / "set" / "images" / f"a{at}.png")
        save(mask, tmp_path / "set" / "masks" / f"a{at}{suffix}")
    return tmp_path


def load(root: Path, **keys: object):
    return load_dataset(ImageMaskFolder(path="set", image_size=16, **keys), root, 1)


def levels(low: int, high: int) -> Image.Image:
    return Image.fromarray(np.where(INSIDE, high, low).astype(np.uint8))


def test_masks_of_another_map_are_refused_with_their_levels(tmp_path: Path) -> None:
    good = [MASK] * 3
    for number, (mask, suffix, said) in enumerate(
        (
            (levels(0, 1), ".png", "levels 0, 1, expected 0, 255"),
            (levels(0, 2), ".bmp", "levels 0, 2, expected 0, 255"),
            (levels(1, 1), ".png", "levels 1, expected 0, 255"),
            (levels(1, 255), ".png", "levels 1, 255, expected 0, 255"),
            (Image.fromarray((INSIDE * 1).astype(np.uint16)), ".png", "levels 0, 1, expected 0, 255"),
            (Image.fromarray((INSIDE * 65535).astype(np.uint16)), ".png", r"levels 0, 65535 \(mode I;16"),
            (Image.fromarray(INSIDE * np.float32(0.5)), ".tif", r"levels 0, 0.5 \(mode F\)"),
            (
                Image.merge("RGB", [MASK, *Image.new("RGB", (16, 16)).split()[1:]]),
                ".png",
                r"colours \(255, 0, 0\)",
            ),
            (Image.merge("LA", [Image.new("L", (16, 16)), MASK]), ".png", "transparent pixels"),
        )
    ):
        root = folder(tmp_path / str(number), [*good, mask], suffix)
        with pytest.raises(DataError, match=rf"a3\{suffix}: found {said}"):
            load(root)
    declared = folder(tmp_path / "declared", [levels(0, 1)] * 4)
    assert load(declared, grey_to_class={0: 0, 1: 1}).train.targets.float().mean() == pytest.approx(
        INSIDE.mean()
    )


def test_what_smoothing_and_jpeg_make_of_levels_is_read(tmp_path: Path) -> None:
    smooth = Image.fromarray((255 * INSIDE).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    data = load(folder(tmp_path / "smooth", [smooth] * 4))
    assert data.train.targets.float().mean() == pytest.approx(INSIDE.mean(), abs=0.03)
    assert "4 masks have other levels than the declared ones" in data.notes[0]
    noisy = load(folder(tmp_path / "jpeg", [MASK.resize((64, 64))] * 4, ".jpg"))
    assert noisy.train.targets.float().mean() == pytest.approx(INSIDE.mean(), abs=0.03) and noisy.notes == ()


def test_a_class_that_never_occurs_is_said(tmp_path: Path) -> None:
    assert load(folder(tmp_path / "a", [levels(0, 0)] * 4)).notes == (
        "class 1 occurs in none of the 4 masks",
    )
    data = load(folder(tmp_path / "b", [MASK] * 4), grey_to_class={0: 0, 128: 1, 255: 2})
    assert data.notes == ("class 1 occurs in none of the 4 masks",)


def test_identity_is_the_path_below_the_pattern(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        save(Image.fromarray(GREY), tmp_path / "set" / patient / "images" / "a.png")
        save(MASK if patient == "p1" else levels(0, 0), tmp_path / "set" / patient / "masks" / "a.png")
    found = find_pairs(keyed(tmp_path / "set", "*/images/*.png"), keyed(tmp_path / "set", "*/masks/*.png"))
    assert [(i.parts[-3], m.parts[-3]) for i, m in found.pairs] == [("p1", "p1"), ("p2", "p2")]
    deep = find_pairs(keyed(tmp_path / "set", "**/images/*.png"), keyed(tmp_path / "set", "**/masks/*.png"))
    assert deep == found and found.notes == []


def test_what_is_left_out_is_counted_and_what_is_ambiguous_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, [MASK] * 5)
    (root / "set" / "masks" / "a4.png").unlink()
    save(MASK, root / "set" / "masks" / "b.png")
    (root / "set" / "masks" / "notes.txt").write_text("x")
    assert load(root).notes == (
        "data: 1 image without a mask is left out, the first is 'a4.png'",
        "data: 1 mask without an image is left out, the first is 'b.png'",
        "data: 1 files that are no pictures by their ending are left out, the first is 'notes.txt'",
    )
    save(Image.fromarray(GREY), root / "set" / "images" / "a0.bmp")
    with pytest.raises(DataError, match=r"images: found two images 'a0', a0\.bmp and a0\.png, expected one"):
        load(root)


def test_masks_beside_their_images_are_no_images_without_a_mask(tmp_path: Path) -> None:
    for at in range(4):
        save(Image.fromarray(GREY), tmp_path / "set" / f"{at}.png")
        save(MASK, tmp_path / "set" / f"{at}_mask.png")
    data = load(tmp_path, images="*.png", masks="*.png", mask_suffix="_mask")
    assert len(data.train) + len(data.validation) + len(data.test) == 4 and data.notes == ()
