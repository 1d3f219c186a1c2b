"""How a DICOM file is laid out: odd elements, byte orders, capsules; and no wrong reason."""

import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.in_memory import read_image
from made import full
from made_dicom import dataset, dicom, table, written

IMAGE = full()
TWELVE = np.rint(IMAGE * (4095 / 255)).astype(np.uint16)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
WHOLE = dicom(TWELVE, BitsStored=12, **WINDOW)
PLAIN = decode(WHOLE)
PIXELS = b"\xe0\x7f\x10\x00OW\0\0"
LONG = (b"SQ", b"UN", b"OL", b"OB")


def element(tag, vr, value):
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + struct.pack("<xxL" if vr in LONG else "<H", len(value)) + value


def with_element(tag, vr, value, content=WHOLE):
    """The file with an element, in the place of its own if it has one."""
    start = 132 + 12 + struct.unpack("<L", content[140:144])[0]
    while True:
        group, number, found, length = struct.unpack_from("<HH2sH", content, start)
        end = start + 8 + length
        if found in (b"OW", b"SQ", b"UN"):
            end = start + 12 + struct.unpack_from("<L", content, start + 8)[0]
        if (group << 16 | number) >= tag:
            break
        start = end
    end = end if (group << 16 | number) == tag else start
    return content[:start] + element(tag, vr, value) + content[end:]


def refusal(content):
    with pytest.raises(ImageError) as error:
        decode(content)
    return error.value.code, error.value.message


# Elements

ROWS = IMAGE.shape[0]
ODD = {
    "rows as text": (0x00280010, b"IS", b"%d " % ROWS, "Rows (0028,0010) has"),
    "rows in four bytes": (0x00280010, b"UL", struct.pack("<L", ROWS), "Rows (0028,0010) has"),
    "bits as text": (0x00280101, b"DS", b"12", "Bits Stored (0028,0101) has"),
    "a window as a number": (0x00281050, b"FD", struct.pack("<d", 2048), "Window Center"),
    "a window in two bytes": (0x00281050, b"US", struct.pack("<H", 2048), "Window Center"),
    "frames as a number": (0x00280008, b"US", b"\1\0", "Number of Frames (0028,0008) has"),
    "bytes for a table": (0x00283010, b"UN", b"\1\2", "VOI LUT Sequence (0028,3010) is no seq"),
    "letters for a table": (0x00283000, b"LO", b"HI", "Modality LUT Sequence (0028,3000) is no"),
    "bytes for groups": (0x52009230, b"UN", b"\1\2\3\4", "Groups Sequence (5200,9230) is no seq"),
    "letters for groups": (0x52009229, b"LO", b"\1\2\3\4", "Groups Sequence (5200,9229) is no"),
    "an unknown shape": (0x20500020, b"CS", b"LIN OD", "Presentation LUT Shape (2050,0020) is"),
    "a bitmap": (0x00181600, b"CS", b"BITMAP", "Shutter Shape (0018,1600) is a bitmap in an over"),
}


@pytest.mark.parametrize(("tag", "vr", "value", "warning"), ODD.values(), ids=ODD.keys())
def test_an_odd_element_refuses_no_picture_and_is_named(tag, vr, value, warning):
    image = decode(with_element(tag, vr, value))
    assert image.digest() == PLAIN.digest()
    (said,) = image.warnings
    assert warning in said


@pytest.mark.parametrize(("tag", "vr", "value", "warning"), ODD.values(), ids=ODD.keys())
def test_nor_does_it_in_a_data_set_in_memory(tag, vr, value, warning):
    image = read_image(dcmread(DicomBytesIO(with_element(tag, vr, value))))
    assert image.digest() == PLAIN.digest()
    assert [warning in said for said in image.warnings] == [True]


def test_rows_of_four_bytes_are_read_in_either_order():
    data = dataset(TWELVE, BitsStored=12, **WINDOW)
    del data.Rows
    data.add_new(0x00280010, "UL", ROWS)
    assert decode(written(data, ExplicitVRBigEndian)).digest() == PLAIN.digest()


@pytest.mark.parametrize("implicit", [True, False])
def test_a_table_whose_kind_was_lost_is_read(implicit):
    """An archive that does not know an element hands it on as UN: PS3.5, 6.2.2."""
    falling = table(0, np.arange(4096)[::-1] * 16)
    data = dataset(TWELVE, BitsStored=12, VOILUTSequence=[falling])
    whole = written(data, ExplicitVRLittleEndian)
    inner = element(0x00283002, b"US", struct.pack("<3H", 4096, 0, 16))
    entries = (np.arange(4096)[::-1] * 16).astype("<u2").tobytes()
    inner += struct.pack("<HH2sxxL", 0x28, 0x3006, b"OW", len(entries)) + entries
    if implicit:
        inner = struct.pack("<HHL3H", 0x28, 0x3002, 6, 4096, 0, 16)
        inner += struct.pack("<HHL", 0x28, 0x3006, len(entries)) + entries
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    image = decode(with_element(0x00283010, b"UN", item, dicom(TWELVE, BitsStored=12)))
    assert image.digest() == decode(whole).digest()
    assert image.warnings == ()


def test_an_unknown_function_is_named_without_a_window_too():
    image = decode(dicom(TWELVE, BitsStored=12, VOILUTFunction="CUBIC"))
    assert image.warnings == (
        "VOI LUT Function (0028,1056) is none of the standard's; LINEAR was taken",
    )


@pytest.mark.parametrize("stored", [8, 12])
def test_bits_allocated_that_are_missing_follow_from_bits_stored(stored):
    samples = IMAGE if stored == 8 else TWELVE
    image = decode(dicom(samples, BitsStored=stored, BitsAllocated=None))
    assert image.digest() == decode(dicom(samples, BitsStored=stored)).digest()
    (warning,) = image.warnings
    assert "Bits Allocated (0028,0100) is missing" in warning
    content = dicom(samples, BitsAllocated=None)
    start = content.index(b"\x28\0\x01\x01US\2\0")
    code, message = refusal(content[:start] + content[start + 10 :])
    assert code == "corrupt_image"
    assert "Bits Allocated (0028,0100) is missing" in message


@pytest.mark.parametrize("vr", [b"??", b"\0\0", b"  ", b"ds"])
def test_an_element_without_a_value_representation_is_no_early_end(vr):
    code, message = refusal(with_element(0x00180050, vr, b"1234"))
    assert code == "corrupt_image"
    assert "value representation" in message


def test_sequences_that_nest_too_deeply_are_called_so():
    start = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    at = WHOLE.index(PIXELS)
    code, message = refusal(WHOLE[:at] + start * 300 + end * 300 + WHOLE[at:])
    assert code == "too_complex"
    assert "levels of sequences" in message


# Transfer syntaxes


def named(content, old, new):
    old, new = (f"{uid}\0"[: len(uid) + len(uid) % 2].encode() for uid in (old, new))
    start = content.index(b"\2\0\x10\0UI") + 6
    assert content[start + 2 :].startswith(old)
    changed = struct.pack("<H", len(new)) + new + content[start + 2 + len(old) :]
    length = struct.unpack("<L", content[140:144])[0] + len(new) - len(old)
    return content[:140] + struct.pack("<L", length) + content[144:start] + changed


@pytest.mark.parametrize(
    ("is_written", "is_named"),
    [
        (ExplicitVRLittleEndian, ExplicitVRBigEndian),
        (ExplicitVRBigEndian, ExplicitVRLittleEndian),
    ],
)
def test_the_order_of_bytes_is_that_of_the_file(is_written, is_named):
    content = dicom(TWELVE, is_written, BitsStored=12, **WINDOW)
    image = decode(named(content, is_written, is_named))
    assert image.digest() == PLAIN.digest()
    (warning,) = image.warnings
    assert "Transfer Syntax UID (0002,0010)" in warning


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, RLELossless])
def test_plain_pixels_under_a_compressed_syntax_are_read(syntax):
    image = decode(named(WHOLE, ExplicitVRLittleEndian, syntax))
    assert image.digest() == PLAIN.digest()
    (warning,) = image.warnings
    assert "Transfer Syntax UID (0002,0010)" in warning
    # A data set that was decompressed in memory, its transfer syntax left as it was.
    data = dcmread(DicomBytesIO(named(WHOLE, ExplicitVRLittleEndian, syntax)))
    assert read_image(data).digest() == PLAIN.digest()
    short = dicom(TWELVE, BitsStored=12, PixelData=TWELVE[1:].tobytes())
    code, _ = refusal(named(short, ExplicitVRLittleEndian, syntax))
    assert code == "pixel_length_mismatch"


@pytest.mark.parametrize(
    ("is_written", "is_named", "word"),
    [
        (JPEGLSLossless, JPEGBaseline8Bit, "JPEG-LS"),
        (JPEGLSLossless, JPEGLosslessSV1, "JPEG-LS"),
        (JPEGLosslessSV1, JPEGBaseline8Bit, "JPEG lossless"),
        (JPEGLosslessSV1, JPEGLSLossless, "JPEG lossless"),
        (JPEGBaseline8Bit, JPEGLSLossless, "JPEG baseline"),
        (JPEGBaseline8Bit, JPEG2000Lossless, "JPEG baseline"),
        (JPEGBaseline8Bit, RLELossless, "JPEG baseline"),
        (JPEG2000Lossless, JPEGLosslessSV1, "JPEG 2000"),
        (JPEG2000Lossless, RLELossless, "JPEG 2000"),
    ],
)
def test_data_of_another_syntax_is_called_what_it_is(is_written, is_named, word):
    code, message = refusal(named(dicom(IMAGE, is_written), is_written, is_named))
    assert code == "pixel_length_mismatch"
    assert f"another transfer syntax ({word})" in message


@pytest.mark.parametrize("vr", [b"OL", b"OX", b"US", b"UN"])
def test_the_length_of_pixel_data_is_found_whatever_it_is_called(vr):
    at = WHOLE.index(PIXELS)
    image = decode(WHOLE[:at] + PIXELS[:4] + vr + WHOLE[at + 6 :])
    assert image.digest() == PLAIN.digest()
    assert image.warnings == ()


# Capsules

ENCAPSULATED = [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1, JPEGBaseline8Bit, RLELossless]


def frame_of(content):
    return next(generate_frames(dcmread(DicomBytesIO(content)).PixelData, number_of_frames=1))


def holding(items, syntax, behind):
    """A file whose capsule holds these items, with these bytes behind the last."""
    whole = dicom(IMAGE, syntax)
    start = whole.index(b"\xe0\x7f\x10\x00OB\0\0") + 12
    capsule = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(item)) + item for item in items)
    return whole[:start] + capsule + behind


END = b"\xfe\xff\xdd\xe0\0\0\0\0"
PADDING = struct.pack("<HH2sxxL", 0xFFFC, 0xFFFC, b"OB", 100) + bytes(100)


@pytest.mark.parametrize("syntax", ENCAPSULATED)
@pytest.mark.parametrize("behind", [bytes(8), bytes(100), PADDING], ids=["8", "100", "element"])
def test_padding_behind_an_unmarked_end_is_padding(syntax, behind):
    whole = dicom(IMAGE, syntax)
    frame = frame_of(whole)
    image = decode(holding([b"", frame], syntax, behind))
    assert image.digest() == decode(whole).digest()
    assert "the end of Pixel Data (7FE0,0010) is not marked" in image.warnings[0]
    half = len(frame) // 4 * 2
    code, _ = refusal(holding([b"", frame[:half]], syntax, behind))
    assert code in ("truncated_image", "corrupt_image")
    code, _ = refusal(holding([b"", frame], syntax, b"\x28\0" * 40))
    assert code == "corrupt_image"


@pytest.mark.parametrize("syntax", ENCAPSULATED)
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_fragments_without_a_table_of_offsets_are_all_the_pictures(syntax, pieces):
    whole = dicom(IMAGE, syntax)
    frame = frame_of(whole)
    size = -(-len(frame) // pieces // 2) * 2
    items = [frame[start : start + size] for start in range(0, len(frame), size)]
    image = decode(holding(items, syntax, END))
    assert image.digest() == decode(whole).digest()
    assert image.warnings == ("Pixel Data (7FE0,0010) lacks its table of offsets",)
    for offsets in (b"", bytes(4), struct.pack("<L", 12_345)):
        assert decode(holding([offsets, *items], syntax, END)).warnings == ()


# Colour and samples


def test_colours_of_each_pixel_under_a_name_that_halves_them_are_read():
    neutral = np.full_like(IMAGE, 128)
    three = np.dstack([IMAGE, neutral, neutral])
    image = decode(dicom(three, PhotometricInterpretation="YBR_FULL_422"))
    assert np.array_equal(image.stored, IMAGE)
    (warning,) = image.warnings
    assert "Photometric Interpretation (0028,0004)" in warning


def test_what_is_not_read_is_named_and_called_no_damage():
    three = np.dstack([IMAGE] * 3)
    content = dicom(three, PhotometricInterpretation="YBR_PARTIAL_422")
    code, message = refusal(content)
    assert code == "unsupported_format"
    assert "YBR_PARTIAL_422" in message
    palette = {
        f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16]
        for name in ("Red", "Green", "Blue")
    }
    palette |= {
        f"Segmented{name}PaletteColorLookupTableData": b"\0\0\1\0\0\0\1\0\xff\0\xff\xff"
        for name in ("Red", "Green", "Blue")
    }
    code, message = refusal(dicom(IMAGE, PhotometricInterpretation="PALETTE COLOR", **palette))
    assert code == "unsupported_format"
    assert "segmented" in message


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLosslessSV1])
def test_samples_per_pixel_against_the_frame_are_named(syntax):
    grey, colour = dicom(IMAGE, syntax), dicom(np.dstack([IMAGE] * 3), syntax)
    for content, stated, found in ((grey, 3, 1), (colour, 1, 3)):
        code, message = refusal(with_element(0x00280002, b"US", bytes([stated, 0]), content))
        assert code == "pixel_length_mismatch"
        assert "Samples per Pixel (0028,0002)" in message
        assert f"{found} instead of {stated}" in message


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless])
def test_samples_of_more_bits_than_are_allocated_are_refused(syntax):
    content = dicom(TWELVE, syntax, BitsStored=12)
    for tag, value in ((0x00280100, 8), (0x00280101, 8), (0x00280102, 7)):
        content = with_element(tag, b"US", bytes([value, 0]), content)
    code, message = refusal(content)
    assert code == "pixel_length_mismatch"
    assert "Bits Allocated (0028,0100)" in message


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "CT"},
        {"BodyPartExamined": "HAND"},
        {"PresentationIntentType": "FOR PROCESSING"},
    ],
)
def test_a_refusal_by_the_header_names_the_way_around_it(elements):
    _, message = refusal(dicom(IMAGE, **elements))
    assert "--any-modality" in message
    assert "any_modality=True" in message
