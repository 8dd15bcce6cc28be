"""Rates of runs: bits per pixel as published and as sent, bytes with everything counted, compression ratios.

`docs/rate-accuracy.md` defines every figure. A bit per pixel (bpp) is a bit of payload over the pixels of the input
image, as SplitFedZip counts it; S1 is the first cut (smashed data up), S2 the second (down), T their sum.
"""

import math
from typing import TYPE_CHECKING, Any

from sfsim.errors import ResultsError
from sfsim.results import Result

if TYPE_CHECKING:
    import pandas as pd

SLOTS = ("smashed_up", "smashed_down", "gradient_up", "gradient_down")
CURVE = ["scheme", "codec", "updates"]  # what makes one rate-accuracy curve; lambda runs along it
BASELINE = "no communication"
_IMAGE_SIZES = {"digits": 8, "cifar10": 32}  # the data sets whose images have one size only


def describe(result: Result) -> dict[str, Any]:
    """Return what a run is on a rate-accuracy picture: scheme, codec, updates, lambda, seed."""
    scenario = result.scenario
    codecs = scenario["codecs"]
    coded = [slot for slot in SLOTS if slot in codecs and not _is_float32(codecs[slot])]
    kinds = {slot.partition("_")[0] for slot in coded}
    scheme = {"": "NC", "smashed": "F", "gradient": "G", "gradient smashed": "FG"}[" ".join(sorted(kinds))]
    kept = result.messages
    names = kept.loc[kept["slot"].isin(coded) & kept["kind"].isin(("smashed data", "gradient")), "codec"]
    codec = str(names.iloc[0]) if len(names) else "fp32"
    silent = [codecs[slot]["kind"] == "zeros" for slot in SLOTS if slot in codecs and "smashed" in slot]
    lambdas = [codecs[slot]["lambda_"] for slot in coded if "lambda_" in codecs[slot]]
    return {
        "scheme": scheme,
        "codec": BASELINE if all(silent) else codec,
        "updates": _updates(scenario) if lambdas else "",
        "lambda": lambdas[0] if lambdas else math.nan,
        "seed": str(scenario["seed"]),
    }


def _is_float32(codec: dict[str, Any]) -> bool:
    return codec["kind"] == "cast" and codec.get("dtype") == "float32"


def _updates(scenario: dict[str, Any]) -> str:
    """When codec weights travel, in words, and what else makes another curve; free exchange is marked as such."""
    training: dict[str, Any] = scenario.get("codec_training") or {}
    every, until = training.get("update_every_minibatches"), training.get("freeze_after_round")
    words = [f"{every} minibatches" if every else str(training.get("update", "round"))]
    if words == ["ideal"]:
        words = ["ideal (free)"]
    coded = training.get("update_codec", {})
    if coded and not _is_float32(coded["codec"]):
        bits = f" {coded['codec']['bits']} bits" if "bits" in coded["codec"] else ""
        words.append(f"{coded['of']} in {coded['codec']['kind']}{bits}")
    if until is not None:
        words.append(f"frozen after round {until}")
    if training.get("freeze_when_settled") is not None:
        words.append("frozen when settled")
    if any("weights" in scenario["codecs"].get(slot, {}) for slot in SLOTS):
        words.append("trained before")
    if training.get("model_loss") == "task":
        words.append("model trained by the task alone")
    if training.get("model_loss") == "bypass":
        words.append("codec bypassed by the gradient")
    if switches := training.get("as_published"):
        words.append(f"as published: {' '.join(switches)}")
    return ", ".join(words)


def pixels(result: Result) -> int:
    """Return the pixels of one input image, or the samples of a series' channel."""
    data = result.scenario["data"]
    if "length" in data:
        return int(data["length"])
    size = data.get("image_size") or _IMAGE_SIZES.get(data["kind"])
    if size is None:
        raise ResultsError(f"{result.directory}: bits per pixel need images, found {data['kind']!r} data")
    return int(size) ** 2


def elements_per_image(result: Result, slot: str) -> float:
    """Return how many numbers one image has in a slot: the largest minibatch is a full one."""
    rows = result.messages
    mine = rows[(rows["slot"] == slot) & (rows["kind"] != "codec update")]
    return float(mine["elements"].max()) / int(result.scenario["batch_size"]) if len(mine) else math.nan


def training_bpp(result: Result) -> "pd.DataFrame":
    """Return bits per pixel in training, one row per round and slot.

    Columns: ``round``, ``slot``, ``actual_bpp`` (payload with header, without labels), ``estimated_bpp`` (the
    codec's own estimate), ``published_bpp`` (what published code reports).
    """
    import pandas as pd

    rows = result.messages
    rows = rows[rows["slot"].isin(SLOTS) & (rows["kind"] != "codec update")]
    found = []
    for (number, slot), group in rows.groupby(["round", "slot"], sort=True):
        images = group["elements"].sum() / elements_per_image(result, str(slot))
        bits = {
            "actual_bpp": 8 * (group["payload_bytes"] - group["label_bytes"]).sum(),
            "estimated_bpp": group["estimated_bits"].sum(),
            "published_bpp": group["likelihood_bits"].sum(),
        }
        found.append(
            {"round": number, "slot": slot}
            | {name: float(total) / images / pixels(result) for name, total in bits.items()}
        )
    return pd.DataFrame(found, columns=["round", "slot", "actual_bpp", "estimated_bpp", "published_bpp"])


def bits_by_slot(result: Result) -> "pd.DataFrame":
    """Return estimated beside actual bits of a whole run, one row per slot."""
    rows = result.messages
    rows = rows[rows["slot"].isin(SLOTS) & (rows["kind"] != "codec update")]
    rows = rows.assign(actual_bits=8 * (rows["payload_bytes"] - rows["label_bytes"]))
    sums = rows.groupby("slot")[["actual_bits", "estimated_bits", "likelihood_bits"]].sum()
    sums = sums.reindex([slot for slot in SLOTS if slot in sums.index])
    sums.insert(0, "messages", rows.groupby("slot").size())
    sums["actual_over_estimated"] = sums["actual_bits"] / sums["estimated_bits"].where(
        sums["estimated_bits"] > 0
    )
    sums["actual_over_published"] = sums["actual_bits"] / sums["likelihood_bits"].where(
        sums["likelihood_bits"] > 0
    )
    return sums.reset_index()


def bytes_by_kind(result: Result) -> dict[str, int]:
    """Return payload bytes of a whole run by kind of message, labels apart; lost messages were sent too."""
    rows = result.messages
    rows = rows.assign(data_bytes=rows["payload_bytes"] - rows["label_bytes"])
    sums = {str(kind): int(total) for kind, total in rows.groupby("kind")["data_bytes"].sum().items()}
    labels = int(rows["label_bytes"].sum())
    return sums | ({"labels": labels} if labels else {})


def point(result: Result, at: str = "best") -> dict[str, Any]:
    """Return a run as one point of the rate-accuracy pictures.

    Parameters
    ----------
    result : Result
        A run of any codecs.
    at : {"best", "last"}
        The accuracy (and its bits per pixel) is that of the test split after the round with the best validation,
        or after the last one. Bytes are always those of the whole run.
    """
    metric, shown = result.metric, result.evaluations.query("codec == 'on' and client == ''")
    watched = shown.query("split == 'validation' and metric == @metric")
    watched = watched if len(watched) else shown.query("split == 'test' and metric == @metric")
    if watched["value"].notna().sum() == 0:
        raise ResultsError(f"{result.directory}: found no value of {metric}, expected at least one round's")
    best = watched.loc[watched["value"].idxmax()] if at == "best" else watched.iloc[-1]
    row = describe(result) | {"metric": metric, "round": int(best["round"])}
    here = shown[shown["round"] == best["round"]].set_index(["split", "metric"])["value"]
    row["validation"] = float(here.get(("validation", metric), math.nan))
    row["test"] = float(here.get(("test", metric), row["validation"]))
    row |= _bpp(result, here, row["round"])
    row |= _ratios(result, row)
    kinds = bytes_by_kind(result)
    row |= {f"bytes_{kind.replace(' ', '_')}": size for kind, size in kinds.items()}
    row["payload_bytes"] = sum(kinds.values())
    row["wire_bytes"] = int(result.messages["wire_bytes"].sum())
    row["simulated_s"] = result.end_s
    row |= _client_flops(result)
    row["wall_s"] = float(result.environment.get("wall_s", math.nan))
    return row


def _bpp(result: Result, here: "pd.Series[float]", round: int) -> dict[str, float]:
    """Bits per pixel of both cuts: as evaluated, or where that was not measured those of the round's training."""
    trained = training_bpp(result)
    trained = trained[trained["round"] == round].set_index("slot")
    row = {}
    for short, slot in (("s1", "smashed_up"), ("s2", "smashed_down")):
        for ours, column in (("bpp", "actual_bpp"), ("published_bpp", "published_bpp")):
            instead = float(trained[column].get(slot, 0.0)) if len(trained) else math.nan
            value = here.get(
                ("test", f"{ours}_{short}"), here.get(("validation", f"{ours}_{short}"), instead)
            )
            row[f"{ours}_{short}"] = float(value)
    row["bpp_t"] = row["bpp_s1"] + row["bpp_s2"]
    row["published_bpp_t"] = row["published_bpp_s1"] + row["published_bpp_s2"]
    return row


def _ratios(result: Result, row: dict[str, Any]) -> dict[str, float]:
    """Compression ratios: as published (one cut over both cuts' bits), of both cuts, and of all that was sent."""
    area = pixels(result)
    cuts = [32 * elements_per_image(result, slot) / area for slot in ("smashed_up", "smashed_down")]
    both = sum(bits for bits in cuts if not math.isnan(bits))
    rows = result.messages
    return {
        "cr_published": _over(cuts[0], row["published_bpp_t"]),
        "cr_cuts": _over(both, row["bpp_t"]),
        "cr_everything": _over(float(rows["raw_bytes"].sum()), float(rows["payload_bytes"].sum())),
    }


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _client_flops(result: Result) -> dict[str, float]:
    """Floating-point operations of all clients in all rounds, those of codecs apart."""
    work = result.computations
    mine = work[~work["party"].isin(("main server", "fed server"))]
    coding = mine["phase"].isin(("encode", "decode")) | mine["phase"].str.startswith("codec")
    flops = mine.groupby(coding)["flops"].sum()
    return {"client_flops": float(flops.get(False, 0.0)), "client_codec_flops": float(flops.get(True, 0.0))}


def spread(points: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row per curve and lambda: mean, smallest and largest over seeds of every number."""
    import pandas as pd

    numbers = [
        column
        for column in points.select_dtypes("number").columns
        if column not in ("lambda", "round", "wall_s")
    ]
    rows = []
    for keys, group in points.groupby([*CURVE, "lambda"], sort=False, dropna=False):
        row: dict[str, Any] = dict(zip([*CURVE, "lambda"], keys, strict=True)) | {"seeds": len(group)}
        for column in numbers:
            values = group[column].fillna(0.0) if column.startswith("bytes_") else group[column]
            row |= {column: values.mean(), f"{column}_min": values.min(), f"{column}_max": values.max()}
        rows.append(row)
    frame = pd.DataFrame(rows).sort_values([*CURVE, "lambda"], kind="stable").reset_index(drop=True)
    frame.attrs["metric"] = str(points["metric"].iloc[0])
    return frame


def curve_name(row: "pd.Series[Any] | dict[str, Any]") -> str:
    """Return what a curve is called.

    >>> curve_name({"scheme": "F", "codec": "ae", "updates": "round"})
    'F ae'
    >>> curve_name({"scheme": "FG", "codec": "ae", "updates": "ideal (free)"})
    'FG ae, updates: ideal (free)'
    >>> curve_name({"scheme": "NC", "codec": "fp32", "updates": ""})
    'NC'
    """
    if row["codec"] == BASELINE:
        return BASELINE
    name = "NC" if row["scheme"] == "NC" else f"{row['scheme']} {row['codec']}"
    return f"{name}, updates: {row['updates']}" if row["updates"] not in ("", "round") else name
