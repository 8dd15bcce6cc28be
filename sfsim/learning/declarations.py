"""What a scenario may say about learning: data sets, partitions, models, optimisers, losses (no torch here).

Every kind of data set answers four questions without being loaded: ``task``, ``in_channels``, ``num_classes``
and ``image_size`` (pixels along each side), or ``length`` (samples of a series).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from sfsim.declaration import declaration, misfit
from sfsim.learning.schedules import AnySchedule, check_schedule
from sfsim.learning.series_declarations import SeriesCsv, SeriesNpz, SyntheticSeries

Task = Literal["classification", "segmentation", "multi-label"]
LossName = Literal["cross-entropy", "dice", "binary-cross-entropy"]
BatchNormRule = Literal["average", "local"]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
# Skip name -> (stage that saves it, stage that uses it).
Skips = dict[str, tuple[str, str]]


def _inside(pattern: str) -> str:
    if not pattern or pattern.startswith(("/", "\\", "~")) or ".." in pattern:
        raise ValueError("a glob pattern inside the folder, such as 'images/*'")
    return pattern


Pattern = Annotated[str, AfterValidator(_inside)]

# ---------------------------------------------------------------- data sets


@declaration
class Digits:
    """Scikit-learn's 1,797 handwritten digits, 8x8 grey, ten classes; needs no download.

    ``test_fraction`` of all examples becomes the test split.
    """

    kind: Literal["digits"] = "digits"
    test_fraction: Fraction = 0.2

    task: ClassVar[Task] = "classification"
    in_channels: ClassVar[int] = 1
    num_classes: ClassVar[int] = 10
    image_size: ClassVar[int] = 8


@declaration
class Cifar10:
    """CIFAR-10 as python pickles (``data_batch_*`` and ``test_batch``), with any number of rows.

    ``path`` is relative to the data root. ``max_examples`` keeps that many training rows, drawn by seed.
    """

    kind: Literal["cifar10"] = "cifar10"
    path: str = "cifar-10-batches-py"
    max_examples: Positive | None = None

    task: ClassVar[Task] = "classification"
    in_channels: ClassVar[int] = 3
    num_classes: ClassVar[int] = 10
    image_size: ClassVar[int] = 32


@declaration
class Cifar100:
    """CIFAR-100 as python pickles (``train`` and ``test``), with any number of rows.

    Parameters
    ----------
    path : str
        The folder below the data root.
    labels : {"fine", "coarse"}
        100 classes, or the 20 that they are grouped into.
    max_examples : int, optional
        Keeps that many training rows, drawn by seed.
    """

    kind: Literal["cifar100"] = "cifar100"
    path: str = "cifar-100-python"
    labels: Literal["fine", "coarse"] = "fine"
    max_examples: Positive | None = None

    task: ClassVar[Task] = "classification"
    in_channels: ClassVar[int] = 3
    image_size: ClassVar[int] = 32

    @property
    def num_classes(self) -> int:
        """100 or 20."""
        return {"fine": 100, "coarse": 20}[self.labels]


@declaration
class Mnist:
    """MNIST in its own form, idx, packed with gzip or not; other sets in that form too (Fashion-MNIST, KMNIST, EMNIST).

    Parameters
    ----------
    path : str
        The folder below the data root with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same two
        of ``t10k``, each as it is or with ``.gz``.
    num_classes : int
        How many classes the labels tell apart.
    max_examples : int, optional
        Keeps that many training images, drawn by seed.
    """

    kind: Literal["mnist"] = "mnist"
    path: str = "MNIST/raw"
    num_classes: Annotated[int, Field(ge=2, le=256)] = 10
    max_examples: Positive | None = None

    task: ClassVar[Task] = "classification"
    in_channels: ClassVar[int] = 1
    image_size: ClassVar[int] = 28


@declaration
class MedMnist:
    """One ``.npz`` file in MedMNIST's form: ``train_images``, ``train_labels``, and the same of ``val`` and ``test``.

    Images are uint8 (N, H, W) or (N, H, W, 3), labels whole numbers (N,) or (N, 1). The file's own three splits are
    used, so `validation_fraction` has no effect.

    Parameters
    ----------
    path : str
        The file below the data root, such as ``"pathmnist.npz"``.
    num_classes : int
        How many classes the labels tell apart.
    in_channels : {1, 3}
        What the file holds: grey or colour.
    image_size : int
        Pixels along each side.
    max_examples : int, optional
        Keeps that many training images, drawn by seed.

    Left out: volumes, and several labels for one image (ChestMNIST).
    """

    kind: Literal["medmnist"] = "medmnist"
    path: str
    num_classes: Annotated[int, Field(ge=2, le=1000)]
    in_channels: Literal[1, 3] = 3
    image_size: Positive = 28
    max_examples: Positive | None = None

    task: ClassVar[Task] = "classification"


@declaration
class ImageClassFolder:
    """A folder of pictures per class.

    Parameters
    ----------
    path : str
        The folder below the data root.
    classes : tuple of str
        Names of the folders whose pictures are the classes 0, 1, ...; pictures in other folders are left out, and the
        notes say how many.
    images : str
        Glob pattern of the pictures inside `path`; the folder that holds one is its class.
    test_images : str, optional
        Pattern of the pictures to test on; by default `test_fraction` of all is drawn by seed.
    image_size : int
        To how many pixels along each side they are resized.
    max_images : int, optional
        How many to keep of those to train and validate on, drawn by seed.
    test_fraction : float
        Share that is tested on where there is no `test_images`.
    """

    kind: Literal["image-class-folder"] = "image-class-folder"
    path: str
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=1000)]
    images: Pattern = "*/*"
    test_images: Pattern | None = None
    image_size: Positive = 224
    max_images: Positive | None = None
    test_fraction: Fraction = 0.2

    task: ClassVar[Task] = "classification"
    in_channels: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise misfit("classes", "a name twice", "each folder once")

    @property
    def num_classes(self) -> int:
        """One for each folder."""
        return len(self.classes)


@declaration
class Ham10000Diagnoses:
    """HAM10000 as seven classes: the column ``dx`` of its metadata. All images of a lesion are in one split.

    Classes are 0 to 6 in the order akiec, bcc, bkl, df, mel, nv, vasc.

    Parameters
    ----------
    path : str
        The folder below the data root, in the official layout; masks are not needed.
    max_images : int, optional
        How many images to keep, drawn by seed; default: all.
    test_fraction : float
        Share of them that is tested on.
    """

    kind: Literal["ham10000-diagnoses"] = "ham10000-diagnoses"
    path: str = "HAM10000"
    image_size: Positive = 64
    max_images: Positive | None = None
    test_fraction: Fraction = 0.2

    task: ClassVar[Task] = "classification"
    in_channels: ClassVar[int] = 3
    num_classes: ClassVar[int] = 7


@declaration
class Ham10000:
    """HAM10000 skin lesions with binary masks, in the official layout or in SplitFedZip's.

    Parameters
    ----------
    path : str, optional
        The folder below the data root; default ``HAM10000`` (official) or ``HAM10K`` (splitfedzip).
    max_pairs : int, optional
        How many pairs to keep, drawn by seed; default: all.
    test_fraction : float
        Share of them that is tested on (official layout; the other one brings its own splits and clients).
    """

    kind: Literal["ham10000"] = "ham10000"
    layout: Literal["official", "splitfedzip"] = "official"
    path: str | None = None
    image_size: Positive = 256
    max_pairs: Positive | None = None
    test_fraction: Fraction = 0.1

    task: ClassVar[Task] = "segmentation"
    in_channels: ClassVar[int] = 3
    num_classes: ClassVar[int] = 2

    @property
    def folder(self) -> str:
        """The folder below the data root."""
        return self.path or {"official": "HAM10000", "splitfedzip": "HAM10K"}[self.layout]


@declaration
class ImageMaskFolder:
    """Any folder of image/mask pairs.

    An image and a mask belong together when the same names stand where their patterns have wildcards, and the mask's
    stem is the image's stem plus `mask_suffix`. What has no partner is counted in the notes; two files of one identity
    are refused, and so is what a file does not say in plain pixels: shapes in an alpha channel, colours in a mask,
    values beyond the range of their type. 16-bit images are scaled by 65,535.

    Parameters
    ----------
    images : str
        Glob pattern of the images inside the folder.
    masks : str
        Glob pattern of the masks.
    mask_suffix : str
        What a mask's stem has more than its image's.
    grey_to_class : dict of int to int
        Which class a grey level of the mask means; other levels (JPEG noise, smoothed edges) take the nearest one.
        Masks whose levels mean something else (0 and 1 where 0 and 255 are declared) are refused.
    """

    kind: Literal["image-mask-folder"] = "image-mask-folder"
    path: str
    images: Pattern = "images/*"
    masks: Pattern = "masks/*"
    mask_suffix: str = ""
    grey_to_class: Annotated[
        dict[Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]], Field(min_length=2)
    ] = Field(default_factory=lambda: {0: 0, 255: 1})
    image_size: Positive = 256
    max_pairs: Positive | None = None
    test_fraction: Fraction = 0.2

    task: ClassVar[Task] = "segmentation"
    in_channels: ClassVar[int] = 3

    @property
    def num_classes(self) -> int:
        """One more than the largest class of the map."""
        return max(self.grey_to_class.values()) + 1


@declaration
class ImageObjectsFolder:
    """A folder for each image, with one mask for each object in it, as the 2018 Data Science Bowl has nuclei.

    Below `path`, ``NAME/images/*`` is one picture and ``NAME/masks/*`` are its objects: levels 0 and 255, of the
    picture's size. Where any of them is, the class is 1, elsewhere 0. Pictures without a mask are refused.

    Parameters
    ----------
    path : str
        The folder below the data root.
    image_size : int
        To how many pixels along each side pictures and masks are resized.
    max_images : int, optional
        How many to keep, drawn by seed; default: all.
    test_fraction : float
        Share of them that is tested on.

    Left out: telling objects apart; where they overlap, the notes say in how many pictures.
    """

    kind: Literal["image-objects-folder"] = "image-objects-folder"
    path: str
    image_size: Positive = 256
    max_images: Positive | None = None
    test_fraction: Fraction = 0.2

    task: ClassVar[Task] = "segmentation"
    in_channels: ClassVar[int] = 3
    num_classes: ClassVar[int] = 2


MAX_SYNTHETIC_BYTES = 8 << 30


@declaration
class Synthetic:
    """Invented images, drawn by seed: noisy class patterns, or bright ellipses with their masks."""

    kind: Literal["synthetic"] = "synthetic"
    task: Literal["classification", "segmentation"] = "classification"
    num_train: Positive = 512
    num_test: Positive = 128
    image_size: Annotated[int, Field(ge=4)] = 16
    in_channels: Positive = 1
    num_classes: Annotated[int, Field(ge=2)] = 4
    noise: Annotated[float, Field(ge=0)] = 0.3

    def __post_init__(self) -> None:
        # While they are drawn, numbers are float64.
        num_bytes = 8 * (self.num_train + self.num_test) * self.in_channels * self.image_size**2
        if num_bytes > MAX_SYNTHETIC_BYTES:
            found = f"{self.num_train + self.num_test:,} images that take {num_bytes / 2**30:,.1f} GiB"
            raise misfit(
                "num_train", found, f"at most {MAX_SYNTHETIC_BYTES >> 30} GiB (fewer or smaller ones)"
            )


AnyDataset = Annotated[
    Digits
    | Mnist
    | Cifar10
    | Cifar100
    | MedMnist
    | ImageClassFolder
    | Ham10000
    | Ham10000Diagnoses
    | ImageMaskFolder
    | ImageObjectsFolder
    | Synthetic
    | SeriesNpz
    | SeriesCsv
    | SyntheticSeries,
    Field(discriminator="kind"),
]

# ---------------------------------------------------------------- partitions


@declaration
class Iid:
    """Equal shares of a random permutation; sizes differ by one at most."""

    kind: Literal["iid"] = "iid"


@declaration
class Dirichlet:
    """Label skew: each class is dealt out by one draw of Dirichlet(alpha) over the clients.

    The whole deal is drawn again, up to 1,000 times, until every client has ``min_examples``.

    Source: Hsu et al., arXiv 1909.06335; the redraw as in Li et al., arXiv 2102.02079.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Annotated[float, Field(gt=0)]
    min_examples: Positive = 1


@declaration
class Counts:
    """An explicit number of examples per client, as SplitFedZip has it; what is over stays unused."""

    kind: Literal["counts"] = "counts"
    counts: Annotated[tuple[Positive, ...], Field(min_length=1)]


@declaration
class Fractions:
    """Shares per client, relative to their sum: one example each, and all others dealt in these shares."""

    kind: Literal["fractions"] = "fractions"
    fractions: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


@declaration
class Folders:
    """One client per client folder of the data set (only layouts that have such folders)."""

    kind: Literal["folders"] = "folders"


AnyPartition = Annotated[
    Iid | Dirichlet | Counts | Fractions | Folders,
    Field(discriminator="kind"),
]

# ---------------------------------------------------------------- models


@declaration
class Cnn:
    """A small CNN for 8x8 to 32x32 images; cut after ``conv1``, or U-shaped after ``conv1`` and ``conv3``.

    ``width`` is the number of channels of its first convolution.
    """

    kind: Literal["cnn"] = "cnn"
    width: Width = 16
    norm: Literal["batch", "none"] = "batch"

    stages: ClassVar[tuple[str, ...]] = ("conv1", "conv2", "conv3", "head")
    skips: ClassVar[Skips] = {}


@declaration
class ResNet18:
    """ResNet18; cut after ``layer1b`` (64x32x32 on CIFAR), or U-shaped after ``layer1b`` and ``layer4b``.

    ``stem = "cifar"`` is one 3x3 convolution, ``"imagenet"`` a 7x7 of stride 2 and a max-pool; 64 is the
    paper's ``width``.

    Source: He et al., arXiv 1512.03385.
    """

    kind: Literal["resnet18"] = "resnet18"
    width: Width = 64
    stem: Literal["cifar", "imagenet"] = "cifar"

    stages: ClassVar[tuple[str, ...]] = (
        *("stem", "layer1a", "layer1b", "layer2a", "layer2b"),
        *("layer3a", "layer3b", "layer4a", "layer4b", "head"),
    )
    skips: ClassVar[Skips] = {}


@declaration
class ResNet34:
    """ResNet34; published cuts: ``layer1c``, ``layer2d`` and ``layer3f`` (64x56x56, 128x28x28, 256x14x14 on ImageNet).

    ``stem = "cifar"`` is one 3x3 convolution, ``"imagenet"`` a 7x7 of stride 2 and a max-pool; 64 is the
    paper's ``width``.

    Source: He et al., arXiv 1512.03385.
    """

    kind: Literal["resnet34"] = "resnet34"
    width: Width = 64
    stem: Literal["cifar", "imagenet"] = "cifar"

    stages: ClassVar[tuple[str, ...]] = (
        *("stem", "layer1a", "layer1b", "layer1c", "layer2a", "layer2b", "layer2c", "layer2d"),
        *("layer3a", "layer3b", "layer3c", "layer3d", "layer3e", "layer3f"),
        *("layer4a", "layer4b", "layer4c", "head"),
    )
    skips: ClassVar[Skips] = {}


@declaration
class Vgg19:
    """VGG19 for small images; published cuts: ``conv1b``, ``conv3d`` and ``conv4d``.

    On CIFAR they give 64x16x16, 256x4x4 and 512x2x2. The form that CIFAR is trained with: one linear layer behind
    global average pooling. ``width`` is the number of channels of the first block, 64 in the paper.

    Source: Simonyan and Zisserman, arXiv 1409.1556, configuration E.
    """

    kind: Literal["vgg19"] = "vgg19"
    width: Width = 64
    norm: Literal["batch", "none"] = "batch"

    stages: ClassVar[tuple[str, ...]] = (
        *("conv1a", "conv1b", "conv2a", "conv2b", "conv3a", "conv3b", "conv3c", "conv3d"),
        *("conv4a", "conv4b", "conv4c", "conv4d", "conv5a", "conv5b", "conv5c", "conv5d", "head"),
    )
    skips: ClassVar[Skips] = {}


@declaration
class UNet:
    """SplitFedZip's U-Net; published cuts: ``enc2a`` and ``dec2a``, or (shallow) ``enc1a`` and ``dec1a``.

    ``width`` is the number of channels at full resolution, 32 in the paper.

    Source: SplitFedZip, arXiv 2412.17150.
    """

    kind: Literal["unet"] = "unet"
    width: Width = 32

    stages: ClassVar[tuple[str, ...]] = (
        *("enc1a", "enc1b", "enc2a", "enc2b", "enc3", "enc4", "middle"),
        *("dec4", "dec3", "dec2a", "dec2b", "dec1a", "dec1b", "head"),
    )
    skips: ClassVar[Skips] = {
        "e1": ("enc1b", "dec1a"),
        "e2": ("enc2b", "dec2a"),
        "e3": ("enc3", "dec3"),
        "e4": ("enc4", "dec4"),
    }


@declaration
class Cnn1d:
    """A CNN for series; published cut: ``conv2`` (192x62 of 1,000 samples). U-shaped: after ``conv2`` and ``conv6``.

    Six convolutions of kernel 3 and stride 2, the largest of three taken after the first, second and last.
    ``width`` is the number of channels of each, 192 in the authors' code. Left out: their dropout of 0.4.

    Source: Ayad, Renner and Schmeink, GLOBECOM 2021, as in the authors' code for S-ECG.
    """

    kind: Literal["cnn-1d"] = "cnn-1d"
    width: Width = 192

    stages: ClassVar[tuple[str, ...]] = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "head")
    skips: ClassVar[Skips] = {}


AnyModel = Annotated[
    Cnn | ResNet18 | ResNet34 | Vgg19 | UNet | Cnn1d,
    Field(discriminator="kind"),
]


def stage_names(model: AnyModel) -> tuple[str, ...]:
    """Return the names of a model's stages, in order; a cut is made after a named stage.

    >>> stage_names(Cnn())
    ('conv1', 'conv2', 'conv3', 'head')
    """
    return model.stages


# ---------------------------------------------------------------- optimisers

Decay = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@declaration
class _Optimiser:
    """Base of the optimisers.

    Parameters
    ----------
    learning_rate : float
        Step size; with a schedule, the one it starts from.
    schedule : Schedule, optional
        How the learning rate changes; default: not at all.
    """

    kind: str = ""
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: AnySchedule | None = None

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.learning_rate)


@declaration
class Sgd(_Optimiser):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    momentum: Share = 0.0
    weight_decay: Decay = 0.0


@declaration
class Adam(_Optimiser):
    """Adam with torch's defaults; `weight_decay` is an L2 penalty, a part of the gradient."""

    kind: Literal["adam"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Decay = 0.0


@declaration
class AdamW(_Optimiser):
    """Adam whose `weight_decay` shrinks the weights themselves, with torch's defaults.

    Source: Loshchilov and Hutter, arXiv 1711.05101.
    """

    kind: Literal["adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Decay = 0.01


AnyOptimiser = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]
Optimiser = AnyOptimiser
