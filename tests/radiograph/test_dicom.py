"""DICOM files, rows 26 to 37 of the bad inputs: each gets its code, or the image that it shows."""

import functools
import io
import logging
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import Header, codestream, decode, dicom_syntaxes, read_radiograph
from made import encoded, full
from made_dicom import LOSSLESS, PATIENT, PLAIN, dataset, table, written
from made_dicom import dicom as made
from watchdog import seconds

# As `dicom` sets it at import; pytest takes that back.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

IMAGE = full()
EXACT = IMAGE.astype(np.float32) / np.float32(255)
TWELVE = np.rint(IMAGE * (4095 / 255)).astype(np.uint16)
SIXTEEN = IMAGE * np.uint16(257)
STEP = 1.2e-4  # 12 bits hold 8 within half a step


def refusal(content, **options):
    with seconds(60), pytest.raises(ImageError) as error:
        decode(content, **options)
    message = error.value.message
    assert message.startswith("Expected ")
    assert "\n" not in message
    assert "Doe" not in message
    return error.value.code


def difference(content):
    return np.abs(decode(content).pixels - EXACT).max()


def changed(content, old, new):
    assert content.count(old) == 1
    return content.replace(old, new)


def with_frame(frame, syntax, samples=IMAGE, **elements):
    """A file whose compressed frame is any bytes."""
    data = dataset(samples, **elements)
    data.PixelData = encapsulate([frame])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return written(data, syntax)


def frame_of(content):
    return next(generate_frames(pydicom.dcmread(io.BytesIO(content)).PixelData, number_of_frames=1))


# Good images


@pytest.mark.parametrize("syntax", [*PLAIN, *LOSSLESS], ids=lambda uid: UID(uid).name)
def test_every_lossless_syntax_gives_the_image(syntax):
    image = decode(made(IMAGE, syntax))
    assert image.stored.dtype == np.uint8
    assert np.array_equal(image.stored, IMAGE)
    assert image.format == "DICOM"
    assert image.header == Header("DX", "PA", "CHEST")
    assert image.warnings == ()
    assert image.colour == 0
    assert difference(made(TWELVE, syntax, BitsStored=12)) < STEP
    assert difference(made(SIXTEEN, syntax)) < 1e-6


def test_lossy_syntaxes_give_nearly_the_image():
    for content in (
        made(IMAGE, JPEGBaseline8Bit),
        made(IMAGE, JPEGExtended12Bit),
        made(TWELVE, JPEGExtended12Bit, BitsStored=12),
    ):
        assert difference(content) < 0.04


@pytest.mark.parametrize("syntax", PLAIN[:3])
@pytest.mark.parametrize("image", [IMAGE, SIXTEEN], ids=["8", "16"])
def test_a_file_without_preamble_is_read(syntax, image):
    content = made(image, syntax, preamble=False)
    assert content[128:132] != b"DICM"
    assert difference(content) < 1e-6


def test_bytes_in_big_endian_words_are_put_in_order():
    data = dataset(IMAGE)
    data["PixelData"].VR = "OB"
    assert difference(written(data, ExplicitVRBigEndian)) == 0  # not in words
    assert difference(made(IMAGE, ExplicitVRBigEndian)) == 0


def test_a_syntax_that_names_the_other_kind_of_vr_is_read():
    explicit = made(IMAGE, preamble=False)
    meta = made(IMAGE, ImplicitVRLittleEndian)
    start = meta.index(b"\x08\x00\x16\x00")
    assert difference(meta[:start] + explicit) == 0


def test_the_real_image_is_one_in_all_its_encodings():
    images = {}
    for name in ("RG1_UNCR", "RG1_J2KR", "RG1_UNCI", "RG1_J2KI"):
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path is None:
            pytest.skip("pydicom-data is not installed")
        with open(path, "rb") as handle:
            images[name] = decode(handle.read())
    plain = images["RG1_UNCR"]
    assert plain.header == Header("CR", "PA", "CHEST")
    assert plain.stored.shape == (1955, 1841)
    # MONOCHROME1, window 15000 / 30000: the lowest stored value, 874, is the brightest
    assert plain.pixels.max() == pytest.approx(1 - (874 - 14999.5) / 29999 - 0.5, abs=1e-6)
    assert images["RG1_J2KR"].digest() == plain.digest()
    assert images["RG1_J2KI"].digest() == images["RG1_UNCI"].digest()
    lossy = np.abs(images["RG1_J2KI"].pixels - plain.pixels)
    assert lossy.max() < 0.015
    assert lossy.mean() < 0.002


def test_monochrome1_is_its_monochrome2_twin():
    window = {"WindowCenter": 2500, "WindowWidth": 1000, "BitsStored": 12}
    plain = decode(made(TWELVE, **window))
    negative = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12}
    # LINEAR is not symmetric about its centre, but about centre - 0.5: C.11.2.1.2.1
    twin = made(4095 - TWELVE, WindowCenter=4095 - 2500 + 1, WindowWidth=1000, **negative)
    assert np.abs(decode(twin).pixels - plain.pixels).max() < 1e-6
    assert plain.pixels.min() == 0
    assert plain.pixels.max() == 1


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "warned"),
    [
        ("MONOCHROME1", None, True, 0),
        ("MONOCHROME1", "INVERSE", True, 0),  # once, not twice
        ("MONOCHROME1", "IDENTITY", True, 1),
        ("MONOCHROME2", "IDENTITY", False, 0),
        ("MONOCHROME2", "INVERSE", True, 1),
    ],
)
def test_an_image_is_inverted_once(photometric, shape, inverted, warned):
    more = {"PresentationLUTShape": shape} if shape else {}
    image = decode(made(IMAGE, PhotometricInterpretation=photometric, **more))
    assert np.array_equal(image.stored, 255 - IMAGE if inverted else IMAGE)
    assert len(image.warnings) == warned


def test_a_modality_table_comes_before_the_window():
    falling = table(0, np.arange(4096)[::-1])
    assert difference(made(4095 - TWELVE, BitsStored=12, ModalityLUTSequence=[falling])) < STEP
    shifted = {"ModalityLUTSequence": [table(0, np.arange(4096) + 10_000)]}
    window = {"WindowCenter": 10_000 + 2048, "WindowWidth": 4096}
    assert difference(made(TWELVE, BitsStored=12, **shifted, **window)) < STEP


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_voi_table_comes_after_the_rescale(syntax):
    content = made(
        TWELVE,
        syntax,
        BitsStored=12,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        VOILUTSequence=[table(-1000, np.arange(4096) * 16)],
        WindowCenter=1,  # the table goes first
        WindowWidth=1,
    )
    assert difference(content) < 0.001


def test_a_table_of_bytes_is_read():
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 8])
    item.add_new("LUTData", "OW", bytes(range(255, -1, -1)))
    assert np.array_equal(decode(made(IMAGE, VOILUTSequence=[item])).stored, 255 - IMAGE)


@pytest.mark.parametrize("shift", [0, 4])
def test_signed_images_and_overlays_in_other_bits(shift):
    signed = {"BitsStored": 12, "HighBit": 11 + shift, "PixelRepresentation": 1}
    stored = ((TWELVE.astype(np.int32) - 2048) & 0xFFF) << shift
    overlay = np.indices(stored.shape).sum(0) & (0xF000 if shift == 0 else 0x000F)
    content = made((stored | overlay).astype(np.uint16), **signed)
    assert difference(content) < STEP


def test_twelve_bits_that_say_sixteen_are_scaled_with_a_warning():
    image = decode(made(TWELVE))
    assert np.abs(image.pixels - EXACT).max() < STEP
    (warning,) = image.warnings
    assert "16 bits" in warning
    assert "0 to 4095" in warning


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(photometric):
    padded = TWELVE.copy()
    padded[:20], padded[20:30] = 4095, 4090
    more = {"BitsStored": 12, "PhotometricInterpretation": photometric, "PixelPaddingValue": 4095}
    image = decode(made(padded, **more))
    assert (image.pixels[:20] == 0).all()
    shown = image.pixels[20:30] if photometric == "MONOCHROME2" else 1 - image.pixels[20:30]
    assert np.allclose(shown, 4090 / 4095, atol=2e-3)  # the range in use ends below the padding
    image = decode(made(padded, PixelPaddingRangeLimit=4080, **more))
    assert (image.pixels[:30] == 0).all()


def test_a_signed_padding_value_is_signed():
    image = TWELVE.astype(np.int16)
    image[:20] = -2000
    content = made(image, PixelPaddingValue=-2000, WindowCenter=2048, WindowWidth=4096)
    assert (decode(content).pixels[:20] == 0).all()
    unpadded = np.abs(decode(content).pixels - EXACT)[20:]
    assert unpadded.max() < STEP


def test_a_window_of_no_width_is_left_out_with_a_warning():
    image = decode(made(IMAGE, WindowCenter=0, WindowWidth=0))
    assert np.array_equal(image.stored, IMAGE)
    assert image.warnings == ("its window has no width, and was left out",)


def test_the_first_of_several_windows_is_taken():
    several = {"WindowCenter": [1000, 3000], "WindowWidth": [500, 100]}
    one = {"WindowCenter": 1000, "WindowWidth": 500}
    assert (
        decode(made(TWELVE, BitsStored=12, **several)).digest()
        == decode(made(TWELVE, BitsStored=12, **one)).digest()
    )


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (["L", "F"], lambda image: image),
        (["R", "F"], lambda image: image[:, ::-1]),
        (["L", "H"], lambda image: image[::-1]),
        (["R", "H"], lambda image: image[::-1, ::-1]),
        (["F", "L"], lambda image: image.T),
        (["H", "L"], lambda image: image.T[::-1]),
        (["F", "R"], lambda image: image.T[:, ::-1]),
        (["LF", "FR"], lambda image: image),
    ],
)
def test_a_turned_image_is_turned_back(orientation, turn):
    image = decode(made(IMAGE, PatientOrientation=orientation))
    assert np.array_equal(image.stored, turn(IMAGE))
    upright = np.array_equal(turn(IMAGE), IMAGE)
    assert image.warnings == (() if upright else ("turned as its patient orientation says",))


@pytest.mark.parametrize(
    ("said", "header"),
    [
        ({"ViewPosition": "AP"}, Header("DX", "AP", "CHEST")),
        ({"ViewPosition": "LL"}, Header("DX", "lateral", "CHEST")),
        ({"ViewPosition": "RLO"}, Header("DX", "", "CHEST")),
        ({"ViewPosition": None}, Header("DX", "", "CHEST")),
        (
            {"ViewPosition": None, "PatientOrientation": ["A", "F"]},
            Header("DX", "lateral", "CHEST"),
        ),
        ({"Modality": "CR", "BodyPartExamined": "Thorax"}, Header("CR", "PA", "THORAX")),
        ({"Modality": None, "BodyPartExamined": None}, Header("", "PA", "")),
        ({"BodyPartExamined": "DOE JANE"}, Header("DX", "PA", "")),  # nothing of the standard's
    ],
)
def test_the_header_says_what_the_picture_is_in_the_standards_words(said, header):
    assert decode(made(IMAGE, **said)).header == header


def test_pixels_that_are_not_square_are_warned_of():
    assert decode(made(IMAGE, PixelAspectRatio=[1, 1])).warnings == ()
    (warning,) = decode(made(IMAGE, PixelAspectRatio=[2, 1])).warnings
    assert "square" in warning


# Colour


def test_grey_in_three_channels_is_full():
    three = np.dstack([IMAGE] * 3)
    planes = np.ascontiguousarray(three.transpose(2, 0, 1)).tobytes()
    for content in (
        made(three),
        made(three, PlanarConfiguration=1, PixelData=planes),
        made(three, RLELossless),
        made(three, JPEG2000Lossless),
        made(three, JPEGLosslessSV1),
    ):
        assert np.array_equal(decode(content).stored, IMAGE)
    luminance = np.dstack([IMAGE, np.full_like(IMAGE, 128), np.full_like(IMAGE, 128)])
    content = made(luminance, PhotometricInterpretation="YBR_FULL")
    assert np.array_equal(decode(content).stored, IMAGE)
    grey_jpeg = encoded(three, "JPEG", quality=95)
    elements = {"PhotometricInterpretation": "YBR_FULL_422"}
    assert difference(with_frame(grey_jpeg, JPEGBaseline8Bit, three, **elements)) < 0.04


@pytest.mark.parametrize(
    ("photometric", "other"), [("RGB", 0), ("RGB", 2), ("YBR_FULL", 1), ("YBR_FULL_422", 0)]
)
def test_colour_is_refused(photometric, other):
    three = np.dstack([IMAGE] * 3)
    if photometric == "YBR_FULL":
        three[..., 1:] = 128
    three[70, 70, other] ^= 1
    assert refusal(made(three, PhotometricInterpretation=photometric)) == "colour_dicom"


def test_a_palette_is_applied_where_it_is_full():
    names = ("Red", "Green", "Blue")
    falling = np.arange(255, -1, -1)
    grey_palette = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    grey_palette |= {
        f"{name}PaletteColorLookupTableData": (falling * 257).astype("<u2").tobytes()
        for name in names
    }
    content = made(IMAGE, PhotometricInterpretation="PALETTE COLOR", **grey_palette)
    assert np.array_equal(decode(content).stored, 255 - IMAGE)
    grey_palette["BluePaletteColorLookupTableData"] = bytes(512)
    content = made(IMAGE, PhotometricInterpretation="PALETTE COLOR", **grey_palette)
    assert refusal(content) == "colour_dicom"


# Refused


def without_pixels(**elements):
    return made(IMAGE, PixelData=None, **elements)


NOTHING = bytes(1 << 20)
PIXELS_AT = made(IMAGE).index(b"\xe0\x7f\x10\x00OW\0\0")
HEAD = made(IMAGE)[:PIXELS_AT]
ENCAPSULATED = made(IMAGE, JPEG2000Lossless)
REFUSED = {
    "no picture": (without_pixels(), "no_pixel_data"),
    "report": (without_pixels(Modality="SR"), "no_pixel_data"),
    "empty picture": (made(IMAGE, PixelData=b""), "pixel_length_mismatch"),
    "CT": (made(IMAGE, Modality="CT"), "wrong_modality"),
    "MR": (made(IMAGE, Modality="MR"), "wrong_modality"),
    "US": (made(IMAGE, Modality="US"), "wrong_modality"),
    "unknown modality": (made(IMAGE, Modality="DOE"), "wrong_modality"),
    "hand": (made(IMAGE, BodyPartExamined="HAND"), "wrong_modality"),
    "abdomen": (made(IMAGE, BodyPartExamined="ABDOMEN"), "wrong_modality"),
    "two frames": (made(IMAGE, NumberOfFrames=2), "multi_frame"),
    "a million frames": (made(IMAGE, NumberOfFrames=1_000_000), "multi_frame"),
    "65535 x 65535": (made(IMAGE, Rows=65535, Columns=65535), "too_many_pixels"),
    "30000 x 30000": (made(IMAGE, Rows=30000, Columns=30000), "too_many_pixels"),
    "small": (made(IMAGE[:100]), "too_small"),
    "narrow": (made(np.zeros((800, 140), np.uint8)), "bad_aspect"),
    "no rows": (made(IMAGE, Rows=None), "corrupt_image"),
    "zero rows": (made(IMAGE, Rows=0), "corrupt_image"),
    "no photometric": (made(IMAGE, PhotometricInterpretation=None), "bad_grey_scale"),
    "two samples": (made(IMAGE, SamplesPerPixel=2), "bad_grey_scale"),
    "one bit": (made(IMAGE, BitsStored=1), "insufficient_depth"),
    "one bit allocated": (made(IMAGE, BitsAllocated=1, BitsStored=1), "insufficient_depth"),
    "32 bits": (made(IMAGE.astype(np.uint32)), "unsupported_format"),
    "one row short": (made(IMAGE, PixelData=IMAGE[1:].tobytes()), "pixel_length_mismatch"),
    "many rows more": (made(IMAGE, Rows=128), "pixel_length_mismatch"),
    "16 bits of 8": (made(IMAGE, BitsAllocated=16, BitsStored=16), "pixel_length_mismatch"),
    "short palette": (
        made(
            IMAGE,
            PhotometricInterpretation="PALETTE COLOR",
            RedPaletteColorLookupTableDescriptor=[256, 0, 16],
            RedPaletteColorLookupTableData=bytes(40),
        ),
        "bad_grey_scale",
    ),
    "video": (with_frame(b"video", UID("1.2.840.10008.1.2.4.100")), "unsupported_syntax"),
    "private syntax": (
        changed(made(IMAGE), b"1.2.840.10008.1.2.1\0", b"1.2.840.20008.1.2.1\0"),
        "unsupported_syntax",
    ),
    "too few plain pixels named RLE": (
        changed(
            made(IMAGE, PixelData=IMAGE[1:].tobytes()),
            b"1.2.840.10008.1.2.1\0",
            b"1.2.840.10008.1.2.5\0",
        ),
        "pixel_length_mismatch",
    ),
    "RLE named plain": (
        changed(made(IMAGE, RLELossless), b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"),
        "pixel_length_mismatch",
    ),
    "JPEG named JPEG 2000": (
        with_frame(encoded(IMAGE, "JPEG"), JPEG2000Lossless),
        "pixel_length_mismatch",
    ),
    "JPEG 2000 named JPEG": (
        with_frame(frame_of(ENCAPSULATED), JPEGBaseline8Bit),
        "pixel_length_mismatch",
    ),
    "JPEG of another size": (
        with_frame(encoded(IMAGE[1:], "JPEG"), JPEGBaseline8Bit),
        "pixel_length_mismatch",
    ),
    "colour JPEG as grey": (
        with_frame(encoded(np.dstack([IMAGE] * 3), "JPEG"), JPEGBaseline8Bit),
        "pixel_length_mismatch",
    ),
    "RLE of other segments": (
        with_frame(frame_of(made(SIXTEEN, RLELossless)), RLELossless),
        "pixel_length_mismatch",
    ),
    "PatientName alone": (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", "no_pixel_data"),
}


@pytest.mark.parametrize(("content", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_is_refused_by_its_code_and_nothing_of_its_patient(
    content, code, caplog, capfd, recwarn
):
    warnings.simplefilter("default")
    caplog.set_level(logging.DEBUG)
    assert refusal(content) == code
    said = caplog.text + "".join(capfd.readouterr()) + "".join(str(w.message) for w in recwarn)
    assert "Doe" not in said


def test_the_patient_is_in_nothing_that_is_said_of_a_good_image(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    content = made(IMAGE, WindowCenter=0, WindowWidth=0, PatientOrientation=["R", "F"])
    assert PATIENT.encode() in content
    image = decode(content)
    assert len(image.warnings) == 2
    said = repr(image.warnings) + repr(image.header) + caplog.text + "".join(capfd.readouterr())
    assert "Doe" not in said
    assert "1970" not in said


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_any_modality_can_be_asked_for(modality, tmp_path):
    content = made(IMAGE, Modality=modality, BodyPartExamined="HAND")
    assert refusal(content) == "wrong_modality"
    image = decode(content, any_modality=True)
    assert image.header == Header(modality, "PA", "HAND")
    (tmp_path / "image.dcm").write_bytes(content)
    assert read_radiograph(tmp_path / "image.dcm", any_modality=True).digest() == image.digest()


@pytest.mark.parametrize(
    "syntax", [*PLAIN, *LOSSLESS, JPEGBaseline8Bit], ids=lambda uid: UID(uid).name
)
def test_a_file_cut_off_anywhere_is_never_an_image(syntax):
    whole = made(IMAGE, syntax)
    # What may be missing is the mark of the sequence's end, and its last padding.
    for end in range(140, len(whole) - 12, 997):
        assert refusal(whole[:end]) in ("truncated_image", "no_pixel_data"), end
    in_pixels = whole[: len(whole) // 2]
    assert refusal(in_pixels) == "truncated_image"


@pytest.mark.parametrize(
    "syntax", [*LOSSLESS, JPEGBaseline8Bit, JPEGExtended12Bit], ids=lambda uid: UID(uid).name
)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["", "end marker"])
def test_a_frame_cut_short_in_a_whole_file_is_found(syntax, end):
    frame = frame_of(made(IMAGE, syntax))
    for share in (0.3, 0.9):
        cut = frame[: int(share * len(frame))] + end
        assert refusal(with_frame(cut, syntax)) in ("truncated_image", "corrupt_image")


def test_a_lossless_image_with_black_last_rows_is_whole():
    black = IMAGE.copy()
    black[-30:] = 0
    for syntax in LOSSLESS:
        assert np.array_equal(decode(made(black, syntax)).stored, black)


def test_a_missing_decoder_is_named(monkeypatch):
    for syntax, module, named in (
        (JPEG2000Lossless, "imagecodecs", "JPEG 2000.*imagecodecs"),
        (JPEGLSLossless, "imagecodecs", "JPEG-LS.*imagecodecs"),
        (JPEGLosslessSV1, "imagecodecs", "JPEG lossless.*imagecodecs"),
    ):
        content = made(IMAGE, syntax)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ImageError, match=f"{named}.*pip install") as error:
                decode(content)
            assert error.value.code == "missing_decoder"


# Bombs


def element(tag, vr, content):
    return struct.pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, vr, len(content)) + content


@functools.cache
def deflated_bomb():
    packed = zlib.compressobj(9, wbits=-15)
    pixels = b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<L", 1 << 31)
    content = packed.compress(pixels)
    for _ in range(160):  # megabytes
        content += packed.compress(NOTHING)
    content += packed.flush()
    head = made(IMAGE, DeflatedExplicitVRLittleEndian)
    length = 144 + int.from_bytes(head[140:144], "little")
    return head[:length] + content


def nested(depth):
    start = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return HEAD + start * depth


BOMBS = {
    "deflated": (deflated_bomb, "too_many_bytes"),
    "nested deeply": (lambda: nested(100_000), "too_complex"),
    "empty items": (
        lambda: (
            HEAD
            + b"\x28\x00\x00\x30SQ\0\0\xff\xff\xff\xff"
            + b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_000
        ),
        "too_complex",
    ),
    "empty items of a table": (
        lambda: (
            HEAD
            + element(0x00283010, b"SQ", b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_000)
            + made(IMAGE)[PIXELS_AT:]
        ),
        "too_complex",
    ),
    "empty elements": (lambda: HEAD + b"\x29\x00\x01\x10LO\0\0" * 1_000_000, "too_complex"),
    "no delimiter": (
        lambda: HEAD + b"\x29\x00\x01\x10OB\0\0\xff\xff\xff\xff" + bytes(1_000_000),
        "truncated_image",
    ),
    "frames announced": (lambda: made(IMAGE, NumberOfFrames=2**31 - 1), "multi_frame"),
    "size announced": (
        lambda: with_frame(frame_of(ENCAPSULATED), JPEG2000Lossless, Rows=65535, Columns=65535),
        "too_many_pixels",
    ),
    "size hidden in the frame": (
        lambda: with_frame(
            b"\xff\xd8\xff\xc3\x00\x0b\x10\xff\xff\xff\xff\x01\x01\x11\x00", JPEGLosslessSV1
        ),
        "pixel_length_mismatch",
    ),
}


@pytest.mark.parametrize(("make", "code"), BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused_soon(make, code):
    assert refusal(make()) == code


@pytest.mark.slow
def test_bombs_are_refused_in_bounded_memory(tmp_path):
    """The child may have 300 MB more than it needs to start; a bomb would unfold to more."""
    for name, (make, _) in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    (tmp_path / "image").write_bytes(ENCAPSULATED)
    script = (
        "import pathlib, resource, sys\n"
        "from cxr_transfer.errors import ImageError\n"
        "from cxr_transfer.radiograph import read_radiograph\n"
        "read_radiograph(pathlib.Path(sys.argv[1]) / 'image')\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 300_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        read_radiograph(pathlib.Path(sys.argv[1]) / name)\n"
        "    except ImageError as error:\n"
        "        print(name, error.code, sep=': ')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *BOMBS], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{name}: {code}" for name, (_, code) in BOMBS.items()]


def test_sequences_may_nest_as_deep_as_they_do_in_images():
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    image = decode(nested(30) + end * 30 + made(IMAGE)[PIXELS_AT:])
    assert np.array_equal(image.stored, IMAGE)


# What is compressed


def test_a_lossless_jpeg_of_another_structure_is_refused():
    frame = frame_of(made(TWELVE, JPEGLosslessSV1, BitsStored=12))
    scan = frame.index(b"\xff\xda")
    for broken in (
        frame[:scan] + frame[2:scan] + frame[scan:],  # two frames
        frame[: scan + 40] + b"\xff\xc4" + frame[scan + 42 :],  # a table in a scan
    ):
        content = with_frame(broken, JPEGLosslessSV1, TWELVE, BitsStored=12)
        assert refusal(content) == "corrupt_image"


def test_rle_runs_that_go_too_far_are_no_crash():
    frame = frame_of(made(SIXTEEN, RLELossless))
    overlong = with_frame(frame + b"\x81\xff" * 40, RLELossless, SIXTEEN)
    assert np.abs(decode(overlong).pixels - EXACT).max() < 1e-6
    short = with_frame(frame[:-4000] + b"\x81\xff", RLELossless, SIXTEEN)
    assert refusal(short) == "corrupt_image"
    scattered = frame[:4] + struct.pack("<2L", 4_000_000_000, 5) + frame[12:]
    assert refusal(with_frame(scattered, RLELossless, SIXTEEN)) == "corrupt_image"


def test_a_frame_in_several_fragments_is_one():
    frame = frame_of(ENCAPSULATED)
    data = dataset(IMAGE)
    data.PixelData = encapsulate([frame], fragments_per_frame=3)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    assert np.array_equal(decode(written(data, JPEG2000Lossless)).stored, IMAGE)


def test_a_codec_says_what_to_install():
    packages = {codec.package for codec in dicom_syntaxes.CODECS.values()}
    assert packages == {"pillow", "imagecodecs"}
    assert codestream.JPEG_2000.name == "JPEG 2000"


def test_8_bits_stored_in_16_are_those_8_bits():
    some = IMAGE // 2 + 20
    image = decode(made(some * np.uint16(257)))
    assert image.stored.dtype == np.uint8
    assert np.array_equal(image.stored, some)
    assert not any("values in use" in text for text in image.warnings)
    shifted = decode(made(some * np.uint16(257) + np.uint16(1)))
    assert shifted.stored.dtype == np.float32


@pytest.mark.parametrize("syntax", [b"1.2.840.10\t\n\x19\n9\0\0\0\0\0", b"1.2.840.20008.1.2.1\0"])
def test_a_transfer_syntax_that_nobody_knows_is_not_repeated(syntax):
    content = changed(made(IMAGE), b"1.2.840.10008.1.2.1\0", syntax)
    with pytest.raises(ImageError, match="an unknown one") as error:
        decode(content)
    assert error.value.message.isprintable()
