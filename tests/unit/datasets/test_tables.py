"""Tables as people and their programs write them."""

from pathlib import Path

import polars as pl
import pytest

from lesionlens.datasets.tables import read_table

COLUMNS = ("image", "mask", "label", "patient")
MEANT = [
    {"image": "a.png", "mask": "m/a.png", "label": "cyst", "patient": "p 1"},
    {"image": "b.png", "mask": "", "label": "a, b", "patient": "p2"},
]
PLAIN = b'image,mask,label,patient\na.png,m/a.png,cyst,p 1\nb.png,,"a, b",p2\n'


def read(path: Path, optional: tuple[str, ...] = ()) -> list[dict[str, str]]:
    return [fields for _, fields in read_table(path, path.parent, COLUMNS, optional)]


def complaint(path: Path, data: bytes, optional: tuple[str, ...] = ()) -> str:
    path.write_bytes(data)
    with pytest.raises(ValueError) as error:
        read(path, optional)
    return str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.decode().encode("utf-16"),
        b"sep=,\n" + PLAIN,
        b'"sep=,"\r\n' + PLAIN,
        b'sep=;\nimage;mask;label;patient\na.png;m/a.png;cyst;p 1\nb.png;;"a, b";p2\n',
        b'image;mask;label;patient\na.png;m/a.png;cyst;p 1\nb.png;;"a, b";p2\n',
        b"image\tmask\tlabel\tpatient\na.png\tm/a.png\tcyst\tp 1\nb.png\t\ta, b\tp2\n",
        b"image|mask|label|patient\na.png|m/a.png|cyst|p 1\nb.png||a, b|p2\n",
        b'image, mask, label, patient\na.png, m/a.png, cyst, p 1\nb.png, , "a, b", p2\n',
        b'"image", "mask", "label", "patient"\n"a.png", "m/a.png", "cyst", "p 1"\n"b.png", "", "a, b", "p2"\n',
        b'Image,MASK ,"Label",Patient\na.png,m/a.png,cyst,p 1\n,,,\nb.png,,"a, b",p2\n\n,,,\n',
        PLAIN.replace(b"b.png", b"  \n,\nb.png"),
        b'"image","mask","label","patient"\n"a.png","m/a.png\n","cyst","p 1"\n"b.png","","a, b","p2"\n',
    ],
)
def test_a_table_is_read_as_meant(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    assert read(path) == MEANT


def test_parquet_gives_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"Image ": ["a.png"], "mask": [None], "label": [float("nan")], "patient": [7]})
    frame.write_parquet(path)
    assert read(path) == [{"image": "a.png", "mask": "", "label": "", "patient": "7"}]


def test_what_is_wrong_is_named_with_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert "no column 'patient'; found 'pateint': rename it" in complaint(path, PLAIN.replace(b"patient", b"pateint"))
    assert "found 'patient_id'" in complaint(path, PLAIN.replace(b"patient", b"patient_id"))
    assert "no column 'image'; found 'A', 'B'" in complaint(path, b"A:B\n".replace(b":", b","))
    assert "found none" in complaint(path, b"")
    assert "column 'image' twice" in complaint(path, b"image,mask,label,patient,IMAGE\n")
    row = b"image,mask,label,patient\na,b\n"
    assert "line 2: 2 fields, but 4 columns" in complaint(path, row)
    assert "line 3: 5 fields" in complaint(path, b"sep=,\nimage,mask,label,patient\na,b,c,d,e\n")
    assert "line 2: " in complaint(path, b'image,mask,label,patient\n"a,b,c,d\n')
    assert "NUL" in complaint(path, b"image,mask,label,patient\na,b,c,d\0\n")
    for encoding in ("utf-16-le", "utf-16-be", "utf-32"):  # without their mark, but for the last
        assert "is not UTF-8" in complaint(path, PLAIN.decode().encode(encoding))
    assert "near line 2" in complaint(path, b"image,mask,label,patient\na,b,\xe9,d\n")
    more = PLAIN.replace(b"patient\n", b"patient,splitt\n")
    assert "column 'splitt' is not read; rename it to 'split'" in complaint(path, more, ("split",))
    path.write_bytes(
        PLAIN.replace(b"patient\n", b"patient,weight\n").replace(b"1\n", b"1,3\n").replace(b"2\n", b"2,4\n")
    )
    assert [fields["weight"] for fields in read(path, ("height", "width"))] == ["3", "4"]
