"""A manifest, as people and their programs write it: understood, or refused by line."""

import dataclasses
import os

import pytest

from cxr_transfer.datasets.given_parts import check_consistent
from cxr_transfer.datasets.manifest import (
    read_listed,
    read_manifest,
    write_manifest,
)
from cxr_transfer.datasets.patients import is_unknown
from cxr_transfer.errors import DataError
from made import case, write_image

PLAIN = "path,label,patient\na.png,normal,p1\nb.png,viral,p2\n"


@pytest.fixture
def read(tmp_path):
    """Reads a manifest of given content beside the images a.png, b.png, "c,d.png", sub/e.png."""
    for name in ("a.png", "b.png", "c,d.png", "é.png", "sub/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def read(content):
        path = tmp_path / "images.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_manifest(path)

    return read


def refusal(read, content, code="manifest"):
    with pytest.raises(DataError) as error:
        read(content)
    assert error.value.code == code
    assert "\n" not in error.value.message
    return error.value.message


WRITTEN = {
    "plain": PLAIN,
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 little-endian without a mark": PLAIN.encode("utf-16-le"),
    "UTF-16 big-endian without a mark": PLAIN.encode("utf-16-be"),
    "zero-width and non-breaking spaces": PLAIN.replace("p1", "\u200bp1\u00a0").replace(
        "path,", "\ufeffpath\u200b,"
    ),
    "another spelling": PLAIN + "a.png,NORMAL,p1\n",
    "byte-order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "semicolon": PLAIN.replace(",", ";"),
    "tab": PLAIN.replace(",", "\t"),
    "all quoted": '"path","label","patient"\n"a.png","normal","p1"\n"b.png","viral","p2"\n',
    "blank lines": PLAIN.replace("\n", "\n\n , , \n") + "\n\n",
    "no last newline": PLAIN.rstrip("\n"),
    "spaces and capitals": PLAIN.replace("path,label", " Path , LABEL ").replace("p1", " p1 "),
    "duplicate row": PLAIN + "a.png,normal,p1\n",
    "other columns": PLAIN.replace("patient", "patient,hue")
    .replace("p1", "p1,x")
    .replace("p2", "p2,y"),
    "dots": PLAIN.replace("a.png", "./sub/../a.png"),
}


@pytest.mark.parametrize("content", WRITTEN.values(), ids=WRITTEN.keys())
def test_every_way_of_writing_reads_the_same(read, tmp_path, content):
    first, second = read(content)
    assert (first.path, first.label, first.patient) == (tmp_path / "a.png", "normal", "p1")
    assert (second.path, second.label, second.patient) == (tmp_path / "b.png", "viral", "p2")


def test_quoted_separators_and_quotes_are_part_of_a_cell(read):
    (found,) = read('path,label,finding\n"c,d.png",normal,"said ""clear"", twice"\n')
    assert found.path.name == "c,d.png"
    assert found.finding == 'said "clear", twice'


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_latin_1_is_read_where_it_is_no_utf_8(read, encoding):
    (found,) = read("path,label\né.png,fièvre\n".encode(encoding))
    assert (found.path.name, found.label) == ("é.png", "fièvre")


def test_a_path_is_found_in_another_unicode_form_and_as_bytes_that_are_no_text(read, tmp_path):
    (found,) = read("path,label\ne\u0301.png,x\n")
    assert found.path == tmp_path / "\u00e9.png"
    odd = tmp_path / os.fsdecode(b"R\xf6ntgen.png")
    odd.touch()
    write_manifest(tmp_path / "images.csv", [case(odd)])
    assert read_manifest(tmp_path / "images.csv")[0].path == odd


def test_what_pandas_writes_for_missing_values_is_missing(read):
    text = "path,label,patient,source,view,age,sex,finding,split,sha256,width\n"
    first, second = read(
        text + "a.png,normal,12.0,NaN,NaN,12.0,NaN,NaN,NaN,NaN,NaN\n"
        "b.png,viral,nan,None,<NA>,NaN,,None,,nan,224.0\n"
    )
    assert (first.patient, first.source, first.age, first.sex) == ("12", "images", 12.0, "")
    assert (first.view, first.finding, first.split, first.sha256) == ("", "", "", "")
    assert (second.age, second.width) == (None, 224)
    assert is_unknown(second.patient)


def test_patients_that_are_not_named_are_not_one(read):
    cells = ("", "nan", "None", "unknown")
    names = ("a.png", "b.png", '"c,d.png"', "\u00e9.png")
    rows = (f"{name},x,{cell}\n" for name, cell in zip(names, cells, strict=True))
    cases = read("path,label,patient\n" + "".join(rows))
    assert len({each.patient for each in cases}) == 4
    assert all(is_unknown(each.patient) for each in cases)


def test_one_class_in_several_spellings_is_one_and_is_told(read, tmp_path):
    read(
        "path,label,patient,source\na.png,Normal,p1,Clinic A\nb.png,normal,P1,clinic a\n"
        '"c,d.png",nor\u200bmal,p2,clinic a\n\u00e9.png,sick,,\n'
    )
    found = read_listed(tmp_path / "images.csv")
    assert [each.label for each in found.cases] == ["normal"] * 3 + ["sick"]
    assert [each.source for each in found.cases] == ["clinic a"] * 3 + ["images"]
    assert len({each.patient for each in found.cases}) == 3
    told = "\n".join(found.notices)
    assert "labels that differ in spelling alone are one: 'Normal' (1)" in told
    assert "sources that differ in spelling alone are one: 'Clinic A' (1)" in told
    assert "patients whose names differ in spelling alone are one: 1" in told
    assert "p1" not in told, "whose names they are is nobody's business"
    assert "no patient is known of 1 of 4 images" in told
    assert "the split may leak" in told


def test_columns_that_are_not_ours_are_kept_and_told(read, tmp_path):
    (found,) = read(",path,label,Patient_ID,kVp\n0,a.png,x,7,NaN\n")
    assert found.extra == (("Patient_ID", "7"), ("kVp", ""))
    assert is_unknown(found.patient)
    told = read_listed(tmp_path / "images.csv").notices
    assert "columns that are kept, and used for --subgroup alone: Patient_ID; kVp" in told
    assert "columns that are not used: without a name" in told


def test_further_columns_come_back_as_they_were_written(tmp_path):
    cases = [
        case(write_image(tmp_path / "a.png"), extra=(("=1+1", "-x"), ("ward", "A, b"))),
        case(write_image(tmp_path / "b.png", 1), extra=(("ward", "C"),)),
    ]
    write_manifest(tmp_path / "images.csv", cases)
    assert "'=1+1" in (tmp_path / "images.csv").read_text(), "no formula for a spreadsheet"
    first, second = read_manifest(tmp_path / "images.csv")
    assert first.extra == cases[0].extra
    assert second.extra == (("=1+1", ""), ("ward", "C"))


def test_rows_of_one_image_that_differ_in_further_columns_alone_are_told(read, tmp_path):
    (found,) = read("path,label,x\na.png,n,1\na.png,n,2\n")
    assert found.extra == (("x", "1"),)
    told = " ".join(read_listed(tmp_path / "images.csv").notices)
    assert "differ in further columns alone: 1; the first row counts" in told


def test_a_manifest_where_all_is_said_needs_no_notice(read, tmp_path):
    read(PLAIN)
    assert read_listed(tmp_path / "images.csv").notices == ()


def test_an_image_is_known_by_its_path_as_it_is_written(read):
    first, second = read("path,label\n./a.png,x\nsub\\e.png,y\n")
    assert (first.file, second.file) == ("./a.png", "sub\\e.png")


def test_absolute_and_windows_paths_are_found(read, tmp_path):
    (absolute,) = read(f"path,label\n{tmp_path / 'sub' / 'e.png'},normal\n")
    (windows,) = read("path,label\nsub\\e.png,normal\n")
    assert absolute.path == windows.path == tmp_path / "sub" / "e.png"


def test_without_patients_every_image_is_its_own_and_the_manifest_is_the_source(read):
    first, second = read("path,label\na.png,normal\nb.png,viral\n")
    assert first.patient != second.patient
    assert first.source == second.source == "images"


@pytest.mark.parametrize(("written", "part"), [("val", "validation"), ("Test", "test"), ("", "")])
def test_parts_have_their_usual_names(read, written, part):
    assert read(f"path,label,split\na.png,normal,{written}\n")[0].split == part


REFUSED = {
    "no label column": ("path,patient\na.png,p1\n", "path,label"),
    "no header": ("a.png,normal\n", "a.png,normal"),
    "a column twice": ("path,label,label\na.png,x,y\n", "once each"),
    "nothing": ("", "nothing"),
    "too few cells": (PLAIN + "a.png\n", "line 4"),
    "a comma without quotes": ("path,label\na.png,normal\nc,d.png,normal\n", "line 3"),
    "no label": ("path,label\na.png,normal\n\nb.png,\n", "line 4"),
    "no path": ("path,label\n,normal\n", "line 2"),
    "another part": ("path,label,split\na.png,normal,holdout\n", "line 2"),
    "age in words": ("path,label,age\na.png,normal,old\n", "line 2"),
    "an endless cell": ('path,label\na.png,normal\n"' + "x" * 200_000 + "\n", "line 3"),
    "binary": (b"path,label\na.png,\0\n", "binary"),
    "label NaN": ("path,label\na.png,NaN\n", "line 2: label must name a class, but is 'NaN'"),
    "label None": ("path,label\na.png,x\nb.png,None\n", "line 3: label must name a class"),
    "label of zero-width spaces": ("path,label\na.png,\u200b\n", "line 2: label must name"),
    "age below 0": ("path,label,age\na.png,x,-5\n", "line 2: age must be years from 0 to 130"),
    "age infinite": ("path,label,age\na.png,x,inf\n", "line 2: age must be years"),
    "age above all": ("path,label,age\na.png,x,999\n", "line 2: age must be years"),
    "sex as a code": ("path,label,sex\na.png,x,1\n", "line 2: sex must be M, F or empty"),
    "size below 0": ("path,label,width\na.png,x,-1\n", "line 2: width must be a whole number"),
    "hash cut off": ("path,label,sha256\na.png,x,ab\n", "line 2: sha256 must be 64 hexadecimal"),
    "two labels": ("path,label\na.png,normal\nb.png,viral\na.png,viral\n", "lines 2 and 4"),
    "two patients": (PLAIN + "./a.png,normal,p2\n", "lines 2 and 4"),
    "two parts": (
        "path,label,patient,split\na.png,normal,p,train\na.png,normal,p,test\n",
        "lines 2 and 3",
    ),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_understood_is_refused_with_its_line(read, content, said):
    assert said in refusal(read, content)


def test_the_first_20_problems_are_told_and_how_many_more(read):
    rows = "".join(f"image{number}.png,\n" for number in range(2, 27))
    message = refusal(read, "path,label\n" + rows)
    assert "got 25 that" in message
    assert "line 21:" in message
    assert "line 22:" not in message
    assert "(+5 more)" in message


def test_the_first_20_absent_images_are_told_and_how_many_more(read):
    rows = "".join(f"image{number}.png,normal\n" for number in range(2, 27))
    message = refusal(read, "path,label\n" + rows + "a.png,normal\n", "missing_images")
    assert "25 are absent" in message
    assert "image21.png" in message
    assert "image22.png" not in message
    assert "(+5 more)" in message


@pytest.mark.parametrize("path", ["C:\\images\\a.png", "sub", "x" * 300, "../a.png"])
def test_a_path_that_is_no_image_is_absent(read, path):
    assert "line 2" in refusal(read, f"path,label\n{path},normal\n", "missing_images")


def test_a_manifest_without_rows_or_without_a_file_is_refused(read, tmp_path):
    refusal(read, "path,label\n\n", "empty")
    with pytest.raises(DataError) as error:
        read_manifest(tmp_path / "nowhere.csv")
    assert error.value.code == "manifest"


def test_what_is_written_is_read_again(tmp_path):
    images = [tmp_path / name for name in ("a.png", "sub/=b(),\n ü.png", "../elsewhere.png")]
    for path in images:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    plain = case(images[0].resolve())
    full = case(
        images[1].resolve(),
        "viral",
        "p;2",
        view="AP Supine",
        age=0.5,
        sex="F",
        licence='CC "BY"',
        finding="a, b; c\td",
        split="validation",
        sha256="ab" * 32,
        pixels="cd" * 32,
        width=300,
        height=200,
    )
    other = case(images[2].resolve(), "normal", age=61.0)
    write_manifest(tmp_path / "m.csv", [plain, full, other])
    assert read_manifest(tmp_path / "m.csv") == (plain, full, other)


def test_written_paths_move_with_the_folder(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.png").touch()
    write_manifest(tmp_path / "old" / "m.csv", [case(tmp_path / "old" / "a.png")])
    (tmp_path / "old").rename(tmp_path / "new")
    (found,) = read_manifest(tmp_path / "new" / "m.csv")
    assert found.path == tmp_path / "new" / "a.png"


def test_a_manifest_behind_a_link_is_relative_to_its_real_folder(tmp_path):
    (tmp_path / "far" / "away" / "run").mkdir(parents=True)
    (tmp_path / "far" / "a.png").touch()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away" / "run")
    write_manifest(tmp_path / "link" / "m.csv", [case(tmp_path / "far" / "a.png")])
    (found,) = read_manifest(tmp_path / "link" / "m.csv")
    assert found.path == tmp_path / "far" / "a.png"


def test_an_image_that_is_a_link_keeps_its_name(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "9f2c").touch()
    (tmp_path / "a.png").symlink_to("store/9f2c")
    write_manifest(tmp_path / "m.csv", [case(tmp_path / "a.png")])
    (found,) = read_manifest(tmp_path / "m.csv")
    assert (found.file, found.path) == ("a.png", tmp_path / "a.png")


def test_a_patient_in_two_parts_is_refused_by_name():
    cases = [case("a", patient="p", split="train"), case("b", patient="p", split="test")]
    with pytest.raises(DataError) as error:
        check_consistent(cases)
    assert error.value.code == "patient_overlap"
    assert error.value.message.endswith(" p")
    check_consistent([dataclasses.replace(each, split="test") for each in cases])


def test_a_split_that_only_some_rows_have_is_refused():
    with pytest.raises(DataError) as error:
        check_consistent([case("a", split="train"), case("b"), case("c")])
    assert error.value.code == "split_incomplete"
    assert "2 of 3" in error.value.message


@pytest.mark.parametrize("ends", ["\n", "\r\n", ""])
@pytest.mark.parametrize("quote", ['a.png,"normal', '"a.png,normal'])
def test_a_quote_that_is_never_closed_is_named_where_it_opens(tmp_path, quote, ends):
    write_image(tmp_path / "a.png")
    lines = ["path,label", "a.png,normal", quote, *["a.png,normal"] * 50]
    (tmp_path / "images.csv").write_bytes((ends or "\n").join(lines).encode() + ends.encode())
    with pytest.raises(DataError, match=r"a quote that opens in the row of line 3 ") as error:
        read_listed(tmp_path / "images.csv")
    assert error.value.code == "manifest"


def test_a_row_of_several_lines_is_named_by_its_first(tmp_path):
    (tmp_path / "images.csv").write_text('path,label,finding\na.png,b,"one\ntwo",c\n')
    with pytest.raises(DataError, match="3 cells in line 2 "):
        read_listed(tmp_path / "images.csv")


def test_what_is_no_utf_8_is_told_with_the_encoding_that_was_assumed(tmp_path):
    for name in ("\u80ba", "fi\u00e8vre"):
        write_image(tmp_path / "a.png")
        encoding = "cp932" if name == "\u80ba" else "cp1252"
        text = f"path,label,finding\na.png,normal,{name}\n"
        (tmp_path / "images.csv").write_bytes(text.encode(encoding))
        (said,) = (one for one in read_listed(tmp_path / "images.csv").notices if "UTF-8" in one)
        assert "read as cp1252" in said
    (tmp_path / "images.csv").write_text(text, encoding="utf-8")
    assert "UTF-8" not in " ".join(read_listed(tmp_path / "images.csv").notices)


def test_what_is_not_stated_is_no_column_of_groups_alone(read, tmp_path):
    read("path,label,not_stated,kVp\na.png,x,Mass,7\n")
    told = read_listed(tmp_path / "images.csv").notices
    assert "columns that are kept, and used for --subgroup alone: kVp" in told
    assert "column not_stated: read where several findings are told at once" in told
