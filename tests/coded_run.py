"""A made-up U-shaped run with a codec, for tests of rates: two clients, minibatches of 4 and 2 images, 16x16."""

from pathlib import Path
from typing import Any

import numpy as np
from synthetic_run import Target, computation, message

from sfsim.ledger import EvaluationRecord, Ledger
from sfsim.results import Result, write

PIXELS, PER_IMAGE, HEADER = 256, 512, 20
FLOAT32 = {"kind": "cast", "dtype": "float32"}
SLOTS = {
    "smashed_up": ("smashed data", "up"),
    "smashed_down": ("smashed data", "down"),
    "gradient_up": ("gradient", "up"),
    "gradient_down": ("gradient", "down"),
}
SCHEMES = {"NC": (), "F": tuple(SLOTS)[:2], "G": tuple(SLOTS)[2:], "FG": tuple(SLOTS)}


def coded_run(
    out: Path,
    scheme: str = "F",
    codec: str = "ae",
    lambda_: float | None = 1.0,
    seed: int = 1,
    bits: int = 128,
    values: tuple[float, ...] = (0.5, 0.7, 0.6),
    training: dict[str, Any] | None = None,
    measured: dict[str, float] | None = None,
    predictions: bool = False,
) -> Result:
    """Write a run whose codec takes `bits` per image, 9/8 of that by its estimate's likelihood, and a header."""
    table: dict[str, Any] = {"kind": codec} | ({"lambda_": lambda_} if lambda_ is not None else {})
    coded = SCHEMES[scheme]
    scenario: dict[str, Any] = {
        "name": "made-up",
        "seed": seed,
        "batch_size": 4,
        "data": {"kind": "ham10000", "image_size": 16},
        "codecs": {slot: table if slot in coded else FLOAT32 for slot in SLOTS},
    }
    if training is not None:
        scenario["codec_training"] = training
    book = Ledger()
    for number, value in enumerate(values, 1):
        for client in ("a", "b"):
            for slot, (kind, direction) in SLOTS.items():
                ends = (client, "main server") if direction == "up" else ("main server", client)
                for batch in (4, 2):
                    size = batch * (bits if slot in coded else 32 * PER_IMAGE)
                    book.messages.append(
                        message(
                            *ends, number, number + 0.5, kind=kind, round=number, elements=batch * PER_IMAGE,
                            codec=codec if slot in coded else "fp32", raw_bytes=4 * batch * PER_IMAGE,
                            label_bytes=0, payload_bytes=HEADER + size // 8, wire_bytes=HEADER + size // 8 + 58,
                            estimated_bits=float(size), slot=slot,
                            likelihood_bits=1.125 * size if slot in coded else float(size),
                        )
                    )  # fmt: skip
            for kind, size in (("client model", 1000), ("codec update", 3000)):
                if kind == "client model" or lambda_ is not None:
                    slot = "smashed_up" if kind == "codec update" else ""
                    sizes: dict[str, Any] = {
                        "slot": slot,
                        "raw_bytes": size,
                        "payload_bytes": size,
                        "wire_bytes": size,
                        "label_bytes": 0,
                    }
                    book.messages.append(
                        message("fed server", client, number, number + 0.1, kind=kind, round=number, **sizes)
                    )
            book.computations.append(computation(client, "forward", number, number + 0.1, client, flops=5e6))
            book.computations.append(computation(client, "encode", number, number + 0.1, client, flops=1e6))
        shown = {"mji": value, "loss": 1 - value} | (measured or {})
        for split, less in (("validation", 0.0), ("test", 0.01)):
            for metric, number_ in shown.items():
                worse = less if metric == "mji" else 0.0
                book.evaluations.append(
                    EvaluationRecord(number, float(number), split, "on", metric, number_ - worse, "")
                )
    rng = np.random.default_rng(7)
    masks = (rng.random((3, 16, 16)) < 0.5).astype(np.uint8)
    kept = {
        "inputs": rng.integers(0, 255, (3, 3, 16, 16), np.uint8),
        "targets": masks,
        "predictions": 1 - masks,
    }
    write(
        out,
        book,
        scenario_table=scenario,
        scenario_hash=out.name,
        environment={"wall_s": 2.0},
        target=Target(metric="mji", value=0.5),
        predictions=kept if predictions else None,
    )
    return Result(out)
