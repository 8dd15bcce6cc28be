"""Every trace file of the shared data loads through the documented reader, or is refused with the reason.

Mean rates are compared with a computation of their own on the raw bytes, to 1 % or better.
"""

import csv
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sfsim.channel import Columns, LossTrace, RttMatrixLatency, Trace, UserSpeeds
from sfsim.channel.survey import survey
from sfsim.device.scores import read_scores
from sfsim.errors import DataError, NetworkError

SIZES = {
    "mahimahi": 9,
    "cooked_3g_fcc": 141,
    "starlink_autobahn": 2,
    "ucc5g": 3,
    "pantheon_ethernet": 180,
    "flash_devices": 12,
    "rutgers_wifi_loss": 1626,
    "netlatency_seattle": 18,
}


@pytest.fixture(scope="module")
def unpacked(shared: Path, tmp_path_factory):
    """Unpack an archive of the shared data once and return its files."""
    folders: dict[str, Path] = {}

    def unpack(name: str) -> list[Path]:
        archives = sorted((shared / "data" / name).glob("*.tar*"))
        if not archives:
            pytest.skip(f"no data set {name}")
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            with tarfile.open(archives[0]) as archive:
                archive.extractall(folders[name], filter="data")
        files = sorted(path for path in folders[name].rglob("*") if path.is_file())
        assert len([path for path in files if "unzipped" not in path.parts]) == SIZES[name]
        return files

    return unpack


def mean_bps(channel: Trace) -> float:
    return survey(channel, None, seed=0).mean_rate_bps


def refused(channel: Trace) -> str:
    with pytest.raises(NetworkError) as raised:
        channel.realise(0, "a->b")
    assert str(channel.path) in str(raised.value)
    return str(raised.value)


def test_mahimahi(unpacked):
    for path in unpacked("mahimahi"):
        if path.name == "README":
            assert "expected a whole number of milliseconds" in refused(Trace(path=path, format="mahimahi"))
            continue
        lines = path.read_bytes().split()
        expected = len(lines) * 12000 / (int(lines[-1]) / 1000)
        for bin_s in (0.001, 0.1):
            found = mean_bps(Trace(path=path, format="mahimahi", bin_s=bin_s))
            assert found == pytest.approx(expected, rel=1e-9), path.name


def test_cooked(unpacked):
    for path in unpacked("cooked_3g_fcc"):
        if path.name in ("README.md", "LICENSE"):
            assert "expected a time and a rate" in refused(Trace(path=path, format="cooked"))
            continue
        times, rates = np.loadtxt(path, unpack=True)
        steps = np.append(np.diff(times), times[-1] - times[-2])
        expected = 1e6 * (rates @ steps) / steps.sum()
        channel = Trace(path=path, format="cooked")
        assert mean_bps(channel) == pytest.approx(expected, rel=1e-9), path.name
        assert mean_bps(Trace(path=path, format="csv", scale=1e6)) == pytest.approx(expected, rel=1e-9)
        assert channel.realise(0, "x").segment(0.0)[0] == pytest.approx(1e6 * rates[0])


def test_starlink(unpacked):
    [path] = [path for path in unpacked("starlink_autobahn") if path.suffix == ".csv"]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4861
    for direction, short in (("download", "dl"), ("upload", "ul")):
        expected = 1e6 * np.mean([float(row[direction]) for row in rows])
        columns = Columns(time=f"timestamp_start_{short}", time_format="iso", rate=direction)
        channel = Trace(path=path, format="table", scale=1e6, columns=columns, gaps="cut", gap_s=1.5)
        found = survey(channel, None, seed=0)
        assert found.mean_rate_bps == pytest.approx(expected, rel=0.01)
        assert found.seconds == pytest.approx(4861, rel=0.02)
        if direction == "download":
            assert found.outage_share == pytest.approx(45 / 4861, rel=0.1)


def test_ucc5g(unpacked):
    [archive] = [path for path in unpacked("ucc5g") if path.suffix == ".zip"]
    folder = archive.parent / "unzipped"
    with zipfile.ZipFile(archive) as file:
        names = [n for n in file.namelist() if n.endswith(".csv") and "__MACOSX" not in n]
        file.extractall(folder, names)
    assert len(names) == 83
    refusals, num_rows = [], 0
    for name in names:
        path = folder / name
        bulk = "/Download/" in name
        columns = Columns(
            time="Timestamp",
            time_format="%Y.%m.%d_%H.%M.%S",
            rate="DL_bitrate",
            where={"State": "D"} if bulk else {},
        )
        channel = Trace(path=path, format="table", columns=columns, scale=1e3, gaps="cut", gap_s=3)
        table = [line.split(",") for line in path.read_text().splitlines()]
        head, rows = table[0], table[1:]
        num_rows += len(rows)
        state, at, rate = (head.index(key) for key in ("State", "Timestamp", "DL_bitrate"))
        rows = [row for row in rows if row[rate] != "-" and (not bulk or row[state] == "D")]
        seconds = np.array([seconds_of(row[at]) for row in rows])
        if np.any(np.diff(seconds) < 0):
            refusals.append(refused(channel))
            continue
        found = mean_bps(channel)
        values = 1e3 * np.array([float(row[rate]) for row in rows])
        assert found == pytest.approx(held_mean(seconds, values), rel=0.01), name
    assert num_rows == 188_711
    assert len(refusals) == 1
    assert "time goes back by" in refusals[0]


def seconds_of(text: str) -> int:
    day, clock = text.split("_")
    hours, minutes, seconds = (int(part) for part in clock.split("."))
    return (
        int(np.datetime64(day.replace(".", "-")).astype(int)) * 86400 + hours * 3600 + minutes * 60 + seconds
    )


def held_mean(seconds: np.ndarray, values: np.ndarray) -> float:
    """Mean of each second's rows, held until the next second with a row; gaps count as three seconds."""
    at = np.unique(seconds)
    per_second = np.array([values[seconds == second].mean() for second in at])
    steps = np.minimum(np.diff(at), 3)
    steps = np.append(steps, steps[-1])
    return float(per_second @ steps / steps.sum())


def test_pantheon(unpacked):
    for path in unpacked("pantheon_ethernet"):
        rates = np.array(json.loads(path.read_text())["bandwidths"])
        found = mean_bps(Trace(path=path, format="pantheon"))
        assert found == pytest.approx(1e6 * rates.mean(), rel=1e-9), path.name  # all steps are 0.5 s
    assert "no header" not in refused(Trace(path=path, format="csv"))


def test_flash(unpacked):
    refusals = {}
    for path in unpacked("flash_devices"):
        if path.suffix == ".md":
            continue
        try:
            laws = UserSpeeds(path=path, direction="up").laws()
        except NetworkError as error:
            refusals[str(path)] = str(error)
            continue
        raw = json.loads(path.read_text())
        assert len(raw) == len(laws) == 19
        for user, law in raw.items():
            for direction in ("up", "down"):
                channel = UserSpeeds(path=path, direction=direction, user=user, block_s=1.0)
                found = survey(channel, 60_000, seed=1).mean_rate_bps
                assert found == pytest.approx(1e3 * law[f"{direction}_u"], rel=0.01)
    assert len(refusals) == 7
    assert all("expected" in text for text in refusals.values())


def test_flash_phones(unpacked):
    files = {path.name: path for path in unpacked("flash_devices")}
    listed = read_scores(files["raw_ai_benchmark_list.json"])
    by_phone = dict(read_scores(files["benchmark2score.json"]))
    assert (len(listed), len(by_phone)) == (333, 307)
    assert {min(by_phone.values()), max(by_phone.values())} == {212.0, 76206.0}
    assert listed[0] == ("Huawei Mate 30 Pro 5G", 76206.0)
    for name in ("real2benchmark.json", "supported_devices.json", "speed_distri.json", "lstm.json"):
        with pytest.raises(DataError, match="expected a list of phones with 'Model' and 'AI_Score'"):
            read_scores(files[name])


def test_rutgers(unpacked):
    loads = 0
    for path in unpacked("rutgers_wifi_loss"):
        if path.name in ("README.md", "LICENSE"):
            with pytest.raises(NetworkError, match="expected a sequence number"):
                LossTrace(path=path).record()
            continue
        pairs = [line.split() for line in path.read_text().splitlines()]
        arrived = {int(seq) for seq, rssi in pairs if int(seq) < 300 and rssi != "128"}
        if not arrived:
            with pytest.raises(NetworkError, match="all 300 packets were lost"):
                LossTrace(path=path).lost(1, "a->b", 0, 1, 10)
            continue
        loads += 1
        assert LossTrace(path=path).record().mean() == pytest.approx(1 - len(arrived) / 300)
    assert loads > 1000


def test_netlatency(unpacked):
    files = [path for path in unpacked("netlatency_seattle") if path.name.startswith("SeattleData")]
    assert len(files) == 16
    for path in files:
        matrix = np.loadtxt(path)
        assert matrix.shape == (99, 99)
        latency = RttMatrixLatency(path=path, pair=(3, 70))
        assert latency.sample(1, "a->b", 5) == matrix[3, 70] / 2
    whole = RttMatrixLatency(path=files[0].parent, pair=(3, 70))
    seen = {whole.sample(1, "a->b", index) for index in range(500)}
    assert seen == {np.loadtxt(path)[3, 70] / 2 for path in files}
    for name in ("README.md", "LICENSE"):
        with pytest.raises(NetworkError, match="expected a number"):
            RttMatrixLatency(path=files[0].parents[1] / name).sample(1, "a->b", 0)
