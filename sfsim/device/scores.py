"""How fast phones are: the AI-Benchmark scores that FLASH publishes.

Source: ``raw_ai_benchmark_list.json`` (333 entries) and ``benchmark2score.json`` (307 phones) of FLASH (Yang
et al., WWW 2021).
Left out: a formula from a score to FLOP/s; use ratios of scores to scale a measured device.
"""

import re
from pathlib import Path
from typing import Any

from sfsim.errors import DataError
from sfsim.text import read_json

_EXPECTED = "a list of phones with 'Model' and 'AI_Score', or an object {phone: score}"


def read_scores(path: Path) -> list[tuple[str, float]]:
    """Return (phone, score) of every entry, in the order of the file; raises DataError.

    A score may be a text such as ``" 76206 1,6"``: its first number counts.
    """
    content = read_json(path, _EXPECTED)
    if isinstance(content, dict):
        entries = list(content.items())
    elif isinstance(content, list) and all(isinstance(entry, dict) for entry in content):
        entries = [(entry.get("Model"), entry.get("AI_Score")) for entry in content]
    else:
        raise DataError(f"{path}: expected {_EXPECTED}")
    return [(str(phone), _score(path, phone, score)) for phone, score in entries]


def _score(path: Path, phone: Any, score: Any) -> float:
    number = re.match(r"\s*(\d+(?:\.\d+)?)", str(score))
    if not isinstance(phone, str) or isinstance(score, bool) or number is None:
        raise DataError(f"{path}, phone {phone!r}: found score {score!r:.40}, expected {_EXPECTED}")
    return float(number[1])
