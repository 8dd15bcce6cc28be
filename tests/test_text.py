"""The opener of other people's text files: marks, separators, rows, cells."""

from pathlib import Path

import pytest

from sfsim.errors import DataError, NetworkError
from sfsim.text import number, read_json, read_lines, read_table, read_text

ROWS = [(2, {"a": "1", "b": "x, y"}), (3, {"a": "2", "b": ""})]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_table_however_it_was_saved(tmp_path: Path, encoding: str, separator: str, end: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        end.join([f"a{separator}b", f'1{separator}"x, y"', f"2{separator}", ""]).encode(encoding)
    )
    assert list(read_table(path, ["a", "b"])) == ROWS
    assert list(read_table(path, ["a", "b"], separator)) == ROWS


def test_a_quoted_line_end_is_part_of_a_cell_and_lines_are_still_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"x\ny"\n2\n')
    rows = iter(read_table(path, ["a"]))
    assert next(rows) == (3, {"a": "1", "b": "x\ny"})
    with pytest.raises(DataError, match=r"t.csv, line 4: found 1 columns, expected 2"):
        next(rows)


@pytest.mark.parametrize(
    ("text", "separator", "message"),
    [
        ("a,b\n1,2,3\n", None, "line 2: found 3 columns, expected 2"),
        ("a;c\n1;2\n", None, "no column 'b'; found a, c"),
        ("a;b\n1;2\n", ",", "no column 'a'; found a;b. .*separated by semicolons"),
        ("a,b,a\n1,2,3\n", None, "found column 'a' twice"),
        ("", None, "no column 'a'; found nothing"),
        ('a,b\n1,"x\n', None, "no row of a table"),
    ],
)
def test_a_table_that_is_none_is_refused(
    tmp_path: Path, text: str, separator: str | None, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(NetworkError, match=message):
        list(read_table(path, ["a", "b"], separator, NetworkError))


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    for content, message in (
        (b"a\n\xff", "line 2 is not UTF-8"),
        ("a".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_text(path)
    with pytest.raises(DataError, match=r"no such file, expected words. Did you mean 't.txt'"):
        read_text(path.with_name("t.tx"), "words")
    with pytest.raises(DataError, match="not a readable text file"):
        read_text(tmp_path)


def test_lines_and_json(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("\ufeff# c\r\n\r\n 1 2 \r3")
    assert read_lines(path) == [(3, "1 2"), (4, "3")]
    path.write_text('\ufeff{"a": 1}')
    assert read_json(path, "an object") == {"a": 1}
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON, expected an object"):
        read_json(path, "an object")


@pytest.mark.parametrize(
    "cell", ["", "NaN", "NA", "-", "null", "inf", "1_000", "1,000", "1.2 MB", "1e999", "٣"]
)
def test_nothing_is_guessed(cell: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        number(cell)
