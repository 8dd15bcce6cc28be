"""Names that users and files choose: which a scenario may have, and how every name is shown and made a folder's."""

import re
import unicodedata

LONGEST = 100  # characters of a name in a scenario
# What moves the cursor, turns the direction of writing, or cannot be written to a file.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MOST_BYTES = 120  # of a folder's name: file systems end at 255, and endings follow


def fault(name: str) -> str | None:
    """Return what a name in a scenario would have to be instead of `name`; None when it may be that.

    >>> fault("pi [red] $1$ a/b"), fault("a\\nb")
    (None, 'a text without control characters and marks of direction')
    >>> fault("x" * 101)
    'a text of 1 to 100 characters'
    """
    if not 1 <= len(name) <= LONGEST:
        return f"a text of 1 to {LONGEST} characters"
    return "a text without control characters and marks of direction" if _HARMFUL.search(name) else None


def shown(text: str, longest: int | None = None) -> str:
    """Return a text as terminal, page and figures may show it: control characters spelt out, the middle left out.

    >>> shown("a\\x1b[31mb"), shown("x" * 50, 9)
    ('a\\\\x1b[31mb', 'xxxx…xxxx')
    """
    text = _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest // 2]}…{text[-(longest - 1 - longest // 2) :]}"


def folder(name: str) -> str:
    """Return a name as that of a folder, which lies where it is put whatever the name is.

    >>> folder("quickstart"), folder("../../etc/x"), folder("a\\\\b:c")
    ('quickstart', '-..-etc-x', 'a-b-c')
    """
    plain = _HARMFUL.sub("-", re.sub(r'[/\\:*?"<>|]', "-", unicodedata.normalize("NFC", name))).lstrip(". ")
    return plain.encode()[:_MOST_BYTES].decode(errors="ignore") or "run"
