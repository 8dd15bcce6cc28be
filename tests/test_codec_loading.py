"""Codecs from TOML: what may stand there, and what the error says when something else does."""

from pathlib import Path

import pytest

from sfsim.codec import Chain, MaskEncoded, TopK, Uniform, Zstd, load, parse
from sfsim.errors import ConfigError


def test_parse() -> None:
    assert parse({"kind": "uniform", "bits": 8}, "here") == Uniform(bits=8, per="tensor")
    table = {"kind": "mask-encoded", "sparsity": 0.99, "mask_bits": 2, "rounding": "floor"}
    assert parse(table, "here") == MaskEncoded(sparsity=0.99, mask_bits=2, rounding="floor")
    chain = Chain(stages=(TopK(keep=0.5), Zstd(level=3)))
    assert parse([{"kind": "topk", "keep": 0.5}, {"kind": "zstd", "level": 3}], "here") == chain
    assert parse([{"kind": "topk", "keep": 0.5}], "here") == TopK(keep=0.5)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"kind": "unifrom", "bits": 8}, "here, kind: found 'unifrom', expected one of cast, uniform,"),
        ({"kind": "unifrom", "bits": 8}, "Did you mean 'uniform'?"),
        ({"bits": 8}, "here, kind: found nothing, expected one of cast,"),
        ({"kind": "uniform"}, "bits: found nothing"),
        (
            {"kind": "uniform", "bits": True},
            "bits: found true, expected a whole number of at least 1 and at most 16",
        ),
        ({"kind": "uniform", "bits": 17}, "bits: found 17"),
        ({"kind": "uniform", "bits": 8, "per": "row"}, "per: found 'row'"),
        (
            {"kind": "uniform", "bits": 8, "levels": 3},
            "levels: found an unknown key, expected one of kind, bits, per",
        ),
        ({"kind": "topk", "keep": 1.5}, "keep: found 1.5"),
        ({"kind": "randtopk", "keep": 0.1}, "alpha: found nothing"),
        ({"kind": "randtopk", "keep": 0.1, "alpha": 1.0}, "alpha: found 1.0"),
        ({"kind": "mask-encoded", "sparsity": 1.0, "mask_bits": 2}, "sparsity: found 1.0"),
        ({"kind": "cast", "dtype": "float8"}, "dtype: found 'float8'"),
        ({"kind": "zstd", "level": 3}, "here, kind: found 'zstd' alone, expected a list of tables"),
        ("int8", "here: found 'int8', expected a table with a key kind"),
        (
            [{"kind": "zstd"}, {"kind": "topk", "keep": 0.5}],
            "expected one tensor codec, at most error-feedback before it, and byte stages (zstd, rans, byte-plane)",
        ),
        ([{"kind": "topk", "keep": 0.5}, {"kind": "zstd", "level": 23}], "level: found 23"),
        (
            [],
            "found the stages of an empty list, expected one tensor codec, at most error-feedback",
        ),
    ],
)
def test_errors(table: object, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(table, "here")
    assert text in str(caught.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "x"\nsource = "y"\nkind = "topk"\nkeep = 0.25\n')
    assert load(path) == TopK(keep=0.25)
    path.write_text('[[stage]]\nkind = "topk"\nkeep = 0.25\n[[stage]]\nkind = "zstd"\n')
    assert load(path).name == "topk-25%+zstd"
    path.write_text('kind = "topk"\n[[stage]]\nkind = "zstd"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml, kind: found 'topk', expected nothing beside"):
        load(path)
    path.write_text('title = 3\nkind = "zeros"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml, title: found 3, expected a text"):
        load(path)
    with pytest.raises(ConfigError, match=r"mime\.toml: found no such file.*Did you mean 'mine\.toml'"):
        load(tmp_path / "mime.toml")
