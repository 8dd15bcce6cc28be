"""What is wrong with a learned codec's table is one line, of `sfsim check` as of `sfsim run`, before any training."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from scenario_files import DEVICE, SCENARIO
from worlds import FAST, IMAGES, clients, scenario

from sfsim import world as worlds
from sfsim.__main__ import main
from sfsim.codec import Ae, Cast, RandTopK
from sfsim.errors import ConfigError
from sfsim.learning.declarations import Cnn
from sfsim.scenario import Codecs, CodecTraining
from sfsim.workload.learned import networks, stored

AE = Ae(channels=2)
INT8 = 'smashed_up = "codecs/int8.toml"'


def saved(folder: Path, codec: Ae = AE, channels: int = 16) -> Path:
    """Weights for what the Cnn of the quickstart sends, 16x4x4."""
    trainee = networks.build(codec, channels, (4, 4), 7)
    stored.save(folder / "a.safetensors", codec, (channels, 4, 4), dict(trainee.named_parameters()), {})
    return folder / "a.safetensors"


def changed(folder: Path, change) -> Path:
    """The file of a codec whose weights are others, with a checksum that fits."""
    weights = dict(networks.build(AE, 16, (4, 4), 7).named_parameters())
    change(weights)
    stored.save(folder / "a.safetensors", AE, (16, 4, 4), weights, {})
    return folder / "a.safetensors"


def lacking(folder: Path) -> Path:
    return changed(folder, lambda weights: weights.pop("g_a.0.bias"))


def flattened(folder: Path) -> Path:
    return changed(folder, lambda weights: weights.update({"g_a.0.bias": weights["g_a.0.bias"][:1].clone()}))


def of_other_tensors(folder: Path) -> Path:
    return saved(folder, channels=8)


def without_checksum(folder: Path) -> Path:
    with safe_open(saved(folder), "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(weights, folder / "a.safetensors", metadata={"codec": "{}"})
    return folder / "a.safetensors"


def flipped(folder: Path) -> Path:
    path = saved(folder)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    return path


def damaged(folder: Path) -> Path:
    path = saved(folder)
    path.write_bytes(path.read_bytes()[:-10])
    return path


# (the table of smashed_up; what the line says behind the file's name)
TABLES = {
    "too small": (
        'model = { kind = "cnn" }\ncut_layers = ["conv1"]',
        'model = { kind = "cnn" }\ncut_layers = ["conv2"]',
        "{ kind = 'ae' }",
        "[codecs] smashed_up, codec 'ae': found tensors of 2x2, expected at least 4x4. "
        "Choose another cut layer or a codec that is not learned.",
    ),
    "too many stages": (
        "",
        "",
        "{ kind = 'ae', stages = 1 }",
        "[codecs] smashed_up, codec 'ae', stages: found 1, expected at most 0 for tensors of 4x4: "
        "latents are at least 4x4",
    ),
}


def command(*arguments: str | Path, capsys, monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["sfsim", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code or 0, capsys.readouterr().err.strip()


def said(table: str, folder: Path, capsys, monkeypatch, model: tuple[str, str] = ("", "")) -> str:
    """The one line of both commands, without the file's name."""
    (folder / "devices").mkdir()
    (folder / "devices" / "small.toml").write_text(DEVICE)
    text = SCENARIO.replace(INT8, f"smashed_up = {table}").replace(*model)
    text = text.replace('channel = "channels/trace.toml"', "rate_bps = 1e6")
    (folder / "s.toml").write_text(text)
    lines = []
    for verb, more in (("check", ()), ("run", ("--out", folder / "out"))):
        code, line = command(verb, folder / "s.toml", *more, capsys=capsys, monkeypatch=monkeypatch)
        assert code == 2
        lines.append(line.splitlines()[-1].partition("s.toml, ")[2])
    assert lines[0] == lines[1]
    assert not (folder / "out").exists()
    return lines[0]


@pytest.mark.parametrize("case", TABLES)
def test_tensors_that_a_codec_cannot_take(case, tmp_path, capsys, monkeypatch):
    before, after, table, line = TABLES[case]
    assert said(table, tmp_path, capsys, monkeypatch, (before, after)) == line


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (damaged, "found no safetensors file"),
        (
            flipped,
            "found damaged weights (their checksum does not fit), expected what `sfsim codec train` wrote",
        ),
        (without_checksum, "found weights without a checksum, expected what `sfsim codec train` wrote"),
        (of_other_tensors, '"in_channels": 8'),
        (lacking, "found no g_a.0.bias, expected all weights of the codec"),
        (flattened, "found g_a.0.bias of shape (1,), expected (2,)"),
    ],
)
def test_weights_that_do_not_fit(make, words, tmp_path, capsys, monkeypatch):
    path = make(tmp_path)
    table = f"{{ kind = 'ae', channels = 2, weights = '{path}' }}"
    line = said(table, tmp_path, capsys, monkeypatch)
    assert line.startswith(f"[codecs] smashed_up, weights {path.name}: found ")
    assert words in line


def test_weights_that_are_not_there(tmp_path, capsys, monkeypatch):
    line = said("{ kind = 'ae', weights = 'a.safetensors' }", tmp_path, capsys, monkeypatch)
    assert line.startswith("[codecs.smashed_up] weights: found ")
    assert line.endswith("a.safetensors', which does not exist, expected the path of a file that exists")


@pytest.mark.parametrize(
    ("masking", "gradient", "cuts"),
    [
        ("smashed_up", "gradient_down", ("conv1",)),
        ("smashed_down", "gradient_up", ("conv1", "conv2")),
    ],
)
def test_a_learned_codec_takes_no_gradient_that_is_masked(masking, gradient, cuts):
    expected = (
        f"a codec that is not learned, because {masking} lets only the kept entries of its gradient return"
    )
    with pytest.raises(ConfigError, match=f"{gradient}: found ae, expected {expected}"):
        scenario(
            data=replace(IMAGES, image_size=16),
            model=Cnn(width=2),
            cut_layers=cuts,
            codecs=Codecs(**{masking: RandTopK(keep=0.1, alpha=0.1), gradient: AE}),
        )


def test_published_switches_that_plain_codecs_feel_are_marked_too():
    switches = ("exact-gradients", "train-mode-evaluation", "likelihood-rates")
    plain = scenario(
        codec_training=CodecTraining(as_published=switches),
        codecs=Codecs(scheme="G", codec=Cast(dtype="float16")),
    )
    assert [line.partition(": ")[2] for line in plain.remarks()] == [
        "as published: exact gradients are used, whatever their messages hold",
        "as published: evaluated in training mode, with noise for rounding",
        "as_published = 'likelihood-rates' has no effect: no codec is learned",
    ]


@pytest.mark.parametrize(("last", "lines"), [(1, []), (2, [2]), (9, [9])])
def test_a_freeze_that_never_comes_is_remarked(last, lines):
    codec = Codecs(smashed_up=Ae(channels=8))
    late = scenario(codecs=codec, global_rounds=2, codec_training=CodecTraining(freeze_after_round=last))
    assert late.remarks() == [
        f"codec_training: freeze_after_round = {n} has no effect in a run of 2 rounds" for n in lines
    ]


@pytest.mark.parametrize(("update", "kept"), [("round", 1 + 1 + 1 + 2), ("frozen", 1)])
def test_codecs_need_memory_beside_the_model(update, kept):
    """A sender holds a wire codec, and a trainee with its gradients and Adam's moments."""
    codec = Ae(channels=8)
    device = replace(FAST, memory_bytes=1000)
    plain = scenario(clients=(replace(clients(1)[0], device=device),))
    coded = replace(plain, codecs=Codecs(smashed_up=codec), codec_training=CodecTraining(update=update))
    needs = []
    for declared, what in ((plain, ""), (coded, " and its codecs")):
        with pytest.raises(ConfigError) as error:
            worlds.build(declared)
        text = (
            r'\[clients "c" device\] memory_bytes: found the client-side model(.*) with 16 examples, '
            r"which needs ([\d,]+) bytes, expected at most the 1,000 bytes of memory of test device"
        )
        found = re.match(text, str(error.value))
        assert found is not None and found[1] == what
        needs.append(int(found[2].replace(",", "")))
    numbers = sum(weight.numel() for weight in networks.build(codec, 4, (4, 4), 7).parameters())
    tensors = 16 * 4 * 4 * 4  # of the minibatch
    assert 4 * (kept * numbers + tensors) < needs[1] - needs[0] < 4 * (kept * numbers + 200 * tensors)
