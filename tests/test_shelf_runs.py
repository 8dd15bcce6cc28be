"""Every codec of the shelf at work: label-sharing and U-shaped runs, of a size for tests."""

from dataclasses import replace
from pathlib import Path

import pytest
from worlds import clients, scenario

import sfsim
from sfsim.codec import ChannelAdaptive, Codec, FeatureWise, ProductQuantization, load
from sfsim.errors import ConfigError
from sfsim.network.declarations import Link
from sfsim.scenario import Codecs

CATALOGUE = Path(__file__).resolve().parents[1] / "codecs"
SLOW = Link(rate_bps=3e5, latency_s=0.1)
# Smashed data, and the gradient that comes back.
PAIRS = {
    "sl-fac": "sl-fac-gradient",
    "sl-fac-light": "sl-fac-gradient",
    "sl-acc": "sl-acc",
    "fedlite": "int8",
}


def codecs(smashed: str, u_shaped: bool) -> Codecs:
    forward, back = (load(CATALOGUE / f"{name}.toml") for name in (smashed, PAIRS[smashed]))
    if isinstance(forward, ProductQuantization):
        forward = replace(forward, subvectors=16, centroids=4)  # of samples of 64 values and 32
    if isinstance(back, FeatureWise):  # 16 samples: side information outweighs the entries
        back = replace(back, bits_per_entry=24.0)
    more = {"smashed_down": forward, "gradient_up": back} if u_shaped else {}
    return Codecs(smashed_up=forward, gradient_down=back, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("u_shaped", [False, True], ids=["label-sharing", "u-shaped"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_run(name: str, u_shaped: bool, tmp_path: Path) -> None:
    declared = scenario(
        codecs=codecs(name, u_shaped),
        cut_layers=("conv1", "conv3") if u_shaped else ("conv1",),
        global_rounds=2,
    )
    result = sfsim.run(declared, out=tmp_path / "run")
    messages = result.messages
    coded = messages[messages["kind"].isin(["smashed data", "gradient"])]
    assert len(coded) == 2 * 2 * 3 * (4 if u_shaped else 2)
    forward, back = declared.codecs.smashed_up, declared.codecs.gradient_down
    assert forward is not None and back is not None
    assert set(coded["codec"]) == {forward.name, back.name}
    # The clock charges the codec: both ends take time for it.
    work = result.computations
    coding = work[work["phase"].isin(["encode", "decode"]) & ~work["operation"].str.startswith("model")]
    assert len(coding) >= len(coded) * 2 and (coding["end_s"] > coding["start_s"]).all()
    there = replace(declared, clients=clients(2, SLOW, SLOW))
    again = sfsim.retime(result.directory, there, out=tmp_path / "again")
    assert again.end_s > result.end_s
    assert sorted(again.messages["payload_crc32"]) == sorted(messages["payload_crc32"])


def test_what_cannot_be_encoded_is_refused_before_training(tmp_path: Path) -> None:
    declared = scenario(codecs=Codecs(smashed_up=ProductQuantization(subvectors=7, centroids=2)))
    with pytest.raises(ConfigError, match=r"\[codecs\] smashed_up.*cannot be cut into 7 equal subvectors"):
        sfsim.run(declared, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    alone = scenario(codecs=Codecs(smashed_up=FeatureWise()), batch_size=1)
    with pytest.raises(ConfigError, match=r"\[codecs\] smashed_up.*a batch of 1 has no deviations"):
        sfsim.run(alone, out=tmp_path / "run")


@pytest.mark.parametrize("back", [ChannelAdaptive(), ProductQuantization(subvectors=2, centroids=2)])
def test_gradients_of_kept_columns_need_a_codec_for_any_shape(back: Codec) -> None:
    with pytest.raises(ConfigError, match=r"gradient_down.*smashed_up lets other entries"):
        scenario(codecs=Codecs(smashed_up=FeatureWise(), gradient_down=back))  # type: ignore[arg-type]


def test_a_last_minibatch_of_one_example_is_looked_at_before_anything_is_trained(tmp_path):
    """Half a bit an entry of one example is less than the quantiser's ends need, of 47 it is not."""
    codec = FeatureWise(reduction=8.0, bits_per_entry=0.5)
    with pytest.raises(
        ConfigError, match=r"minibatch of shape \(1, 4, 4, 4\): bits_per_entry = 0.5 is 32 bits for 1"
    ):
        sfsim.run(scenario(codecs=Codecs(smashed_up=codec), batch_size=47), out=tmp_path / "a")
