"""Rows 48 and 49: header facts that change the picture are used, one odd element refuses none."""

import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from made import full
from made_dicom import dataset, dicom, table, written

IMAGE = full()
TWELVE = np.rint(IMAGE * (4095 / 255)).astype(np.uint16)
PLAIN = decode(dicom(TWELVE, BitsStored=12))
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
STEP = 1.2e-4


def changed(content, old, new):
    assert content.count(old) == 1
    assert len(old) == len(new)
    return content.replace(old, new)


def odd(old, new, **elements):
    """A whole file of which one element reads otherwise."""
    return changed(dicom(TWELVE, BitsStored=12, **elements), old, new)


def windowed(**elements):
    """Return one item of a functional group."""
    inner = Dataset()
    for name, value in elements.items():
        setattr(inner, name, value)
    return inner


def group(**elements):
    groups = Dataset()
    groups.FrameVOILUTSequence = Sequence([windowed(**elements)])
    return Sequence([groups])


SHORT = table(0, np.arange(4095) * 16)
SHORT.LUTDescriptor = [4096, 0, 16]
EMPTY = Dataset()
READ = {
    "a decimal comma": (
        odd(b"2047.5", b"2047,5", WindowCenter="2047.5", WindowWidth="4095"),
        "Window Center (0028,1050) has a decimal comma",
    ),
    "a window in letters": (
        odd(b"2047.5", b"middle", WindowCenter="2047.5", WindowWidth="4095"),
        "Window Center (0028,1050) is no number",
    ),
    "a ratio with a colon": (
        odd(b"IS\x04\x001\\1 ", b"IS\x04\x001:1 ", PixelAspectRatio=[1, 1]),
        "Pixel Aspect Ratio (0028,0034) is no number",
    ),
    "frames in letters": (
        odd(b"IS\x02\x0077", b"IS\x02\x00xx", NumberOfFrames="77"),
        "Number of Frames (0028,0008) is no number",
    ),
    "a slope that is no number": (
        odd(b"DS\x04\x00111 ", b"DS\x04\x00nan ", RescaleSlope="111"),
        "Rescale Slope (0028,1053) is no number",
    ),
    "a slope of 0": (
        dicom(TWELVE, BitsStored=12, RescaleSlope=0, RescaleIntercept=5),
        "Rescale Slope (0028,1053) is 0",
    ),
    "a window in units of a lost rescale": (
        odd(
            b"DS\x04\x00111 ", b"DS\x04\x00nan ", RescaleSlope="111", WindowCenter=9, WindowWidth=9
        ),
        "without its rescale, a window says nothing",
    ),
    "High Bit 0": (dicom(TWELVE, BitsStored=12, HighBit=0), "High Bit (0028,0102) contradicts"),
    "High Bit 40": (dicom(TWELVE, BitsStored=12, HighBit=40), "High Bit (0028,0102) contradicts"),
    "more bits stored than allocated": (
        dicom(TWELVE, BitsStored=99, HighBit=11),
        "Bits Stored (0028,0101) does not fit",
    ),
    "an unknown function": (
        dicom(TWELVE, BitsStored=12, VOILUTFunction="LOG", **WINDOW),
        "VOI LUT Function (0028,1056) is none of the standard's",
    ),
    "a window of no width": (
        dicom(TWELVE, BitsStored=12, WindowCenter=0, WindowWidth=0),
        "its window has no width",
    ),
    "a window beside all values": (
        dicom(TWELVE, BitsStored=12, WindowCenter=60_000, WindowWidth=10),
        "shows next to nothing",
    ),
    "a table that lacks an entry, and a window": (
        dicom(TWELVE, BitsStored=12, VOILUTSequence=[SHORT], **WINDOW),
        "VOI LUT Sequence (0028,3010) lacks 1 entries; the window beside it was taken",
    ),
    "a table that lacks an entry": (
        dicom(TWELVE, BitsStored=12, VOILUTSequence=[SHORT]),
        "its VOI LUT is shorter than described, and was left out",
    ),
    "a table that is none": (
        dicom(TWELVE, BitsStored=12, VOILUTSequence=[EMPTY]),
        "VOI LUT Sequence (0028,3010) describes no table",
    ),
    "a modality table that is none": (
        dicom(TWELVE, BitsStored=12, ModalityLUTSequence=[EMPTY]),
        "Modality LUT Sequence (0028,3000) describes no table",
    ),
    "bytes behind the pixels": (
        dicom(TWELVE, BitsStored=12, PixelData=TWELVE.tobytes() + bytes(8192)),
        "Pixel Data (7FE0,0010) has 8192 bytes more",
    ),
    "a shutter without numbers": (
        dicom(TWELVE, BitsStored=12, ShutterShape="CIRCULAR"),
        "Shutter Shape (0018,1600) is not described",
    ),
    "a shutter that hides all": (
        dicom(
            TWELVE,
            BitsStored=12,
            ShutterShape="CIRCULAR",
            RadiusOfCircularShutter=1,
            CenterOfCircularShutter=[1, 1],
        ),
        "Shutter Shape (0018,1600) hides nearly all",
    ),
}


@pytest.mark.parametrize(("content", "warning"), READ.values(), ids=READ.keys())
def test_one_odd_element_refuses_no_picture_and_is_named(content, warning):
    image = decode(content)
    assert np.abs(image.pixels - PLAIN.pixels).max() < 3e-4
    assert any(warning in said for said in image.warnings)


@pytest.mark.parametrize(
    ("element", "value", "named"),
    [
        ("Rows", None, "Rows (0028,0010)"),
        ("Columns", None, "Columns (0028,0011)"),
        ("PhotometricInterpretation", None, "Photometric Interpretation (0028,0004)"),
    ],
)
def test_what_no_picture_can_do_without_is_named(element, value, named):
    with pytest.raises(ImageError) as error:
        decode(dicom(TWELVE, BitsStored=12, **{element: value}))
    assert named in error.value.message


# Facts that change the picture


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    "sequence", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
)
def test_a_window_in_the_functional_groups_is_the_images(syntax, sequence):
    window = {"WindowCenter": 1400, "WindowWidth": 2000}
    plain = decode(dicom(TWELVE, syntax, BitsStored=12, **window))
    grouped = dicom(TWELVE, syntax, BitsStored=12, **{sequence: group(**window)})
    assert decode(grouped).digest() == plain.digest()
    # Empty elements of the data set itself say nothing.
    empty = {"WindowCenter": "", "WindowWidth": ""}
    beside = dicom(TWELVE, syntax, BitsStored=12, **empty, **{sequence: group(**window)})
    assert decode(beside).digest() == plain.digest()
    assert decode(beside).warnings == ()


@pytest.mark.parametrize(
    "sequence", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
)
def test_the_window_of_the_frame_goes_before_that_of_the_data_set(sequence):
    window = {"WindowCenter": 1400, "WindowWidth": 2000}
    own = {"WindowCenter": 900, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"}
    both = decode(dicom(TWELVE, BitsStored=12, **own, **{sequence: group(**window)}))
    assert both.digest() == decode(dicom(TWELVE, BitsStored=12, **window)).digest()
    assert both.warnings == tuple(
        f"{name} is not that of the frame's functional group, which was taken"
        for name in ("Window Center (0028,1050)", "VOI LUT Function (0028,1056)")
    )
    half = group(WindowCenter=1400)  # without a width it is no window
    image = decode(dicom(TWELVE, BitsStored=12, **own, **{sequence: half}))
    assert image.digest() == decode(dicom(TWELVE, BitsStored=12, **own)).digest()


def test_a_rescale_in_the_functional_groups_is_the_images():
    groups = Dataset()
    groups.PixelValueTransformationSequence = [windowed(RescaleSlope=2, RescaleIntercept=-1000)]
    content = dicom(
        TWELVE,
        BitsStored=12,
        SharedFunctionalGroupsSequence=[groups],
        WindowCenter=2 * 2048 - 1000,
        WindowWidth=2 * 4096,
    )
    assert np.abs(decode(content).pixels - PLAIN.pixels).max() < 3e-4


@pytest.mark.parametrize("signed", [False, True])
def test_padding_outside_of_the_stored_bits_is_black(signed):
    image = (TWELVE.astype(np.int32) - (2048 if signed else 0)).astype(
        np.int16 if signed else np.uint16
    )
    value = -32_768 if signed else 65_535
    image[:, :9] = value
    content = dicom(image, BitsStored=12, PixelPaddingValue=value)
    padded = decode(content)
    assert (padded.pixels[:, :9] == 0).all()
    # Its lowest values lie under the padding.
    assert np.abs(padded.pixels - PLAIN.pixels)[:, 9:].max() < 0.02
    ranged = image.copy()
    ranged[:, :4] = value + (1 if signed else -1)
    content = dicom(
        ranged,
        BitsStored=12,
        PixelPaddingValue=value,
        PixelPaddingRangeLimit=value + (9 if signed else -9),
    )
    assert decode(content).digest() == padded.digest()


def ramps():
    rows, columns = np.mgrid[1 : IMAGE.shape[0] + 1, 1 : IMAGE.shape[1] + 1]
    return rows, columns


@pytest.mark.parametrize("inverted", [False, True])
def test_what_lies_outside_of_a_shutter_is_black_and_does_not_count(inverted):
    rows, columns = ramps()
    edges = {
        "ShutterLeftVerticalEdge": 20,
        "ShutterRightVerticalEdge": 120,
        "ShutterUpperHorizontalEdge": 15,
        "ShutterLowerHorizontalEdge": 110,
    }
    circle = {"CenterOfCircularShutter": [60, 70], "RadiusOfCircularShutter": 50}
    polygon = {"VerticesOfThePolygonalShutter": [10, 10, 10, 130, 120, 130, 120, 10]}
    shutters = {
        "RECTANGULAR": (edges, (columns >= 20) & (columns <= 120) & (rows >= 15) & (rows <= 110)),
        "CIRCULAR": (circle, (rows - 60) ** 2 + (columns - 70) ** 2 <= 50**2),
        "POLYGONAL": (polygon, (columns >= 10) & (columns <= 130) & (rows >= 10) & (rows <= 120)),
    }
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    for shape, (elements, visible) in shutters.items():
        stored = np.where(visible, TWELVE // 2 + 500, 4095).astype(np.uint16)
        common = {"BitsStored": 12, "PhotometricInterpretation": photometric}
        image = decode(dicom(stored, ShutterShape=shape, **common, **elements))
        shown = image.pixels
        assert not shown[~visible].any(), shape
        inside = shown[visible]
        assert inside.min() < 0.01, shape
        assert inside.max() > 0.99, "the bright surroundings do not count"
        assert image.warnings[0] == "what lies outside of its shutter is black"
    both = {**edges, **circle, "ShutterShape": ["RECTANGULAR", "CIRCULAR"]}
    visible = shutters["RECTANGULAR"][1] & shutters["CIRCULAR"][1]
    seen = decode(dicom(TWELVE, BitsStored=12, **both)).pixels > 0
    assert not (seen & ~visible).any()


def processed(**elements):
    dense = IMAGE / 255.0
    counts = np.rint(16_383 * np.exp(-5 * dense)).astype(np.uint16)
    return dicom(counts, BitsStored=14, PresentationIntentType="FOR PROCESSING", **elements)


def test_for_processing_is_named_and_refused_unless_it_is_asked_for():
    for content in (
        processed(),
        dicom(TWELVE, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1"),
    ):
        with pytest.raises(ImageError, match="FOR PROCESSING") as error:
            decode(content)
        assert error.value.code == "for_processing"
    image = decode(processed(PixelIntensityRelationship="LIN"), any_modality=True)
    assert np.abs(image.pixels - IMAGE / 255).max() < 0.01
    assert any("FOR PROCESSING" in said for said in image.warnings)
    logs = 4095 - TWELVE  # denser is less
    content = dicom(
        logs,
        BitsStored=12,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=1,
    )
    assert np.abs(decode(content, any_modality=True).pixels - PLAIN.pixels).max() < STEP
    assert (
        decode(dicom(TWELVE, BitsStored=12, PresentationIntentType="FOR PRESENTATION")).warnings
        == ()
    )


# Whole pixels whose surroundings are not


@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, JPEGBaseline8Bit]
)
def test_an_unmarked_end_of_whole_fragments_is_read(syntax):
    whole = dicom(IMAGE, syntax)
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert whole.endswith(end)
    image = decode(whole[:-8])
    assert image.digest() == decode(whole).digest()
    assert "the end of Pixel Data (7FE0,0010) is not marked" in image.warnings[0]
    with pytest.raises(ImageError) as error:
        decode(whole[:-10])
    assert error.value.code == "truncated_image"


@pytest.mark.parametrize(
    "syntax",
    [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, JPEGBaseline8Bit, JPEGExtended12Bit],
)
def test_a_frame_without_its_end_marker_is_read_where_its_pixels_are_whole(syntax):
    whole = dicom(IMAGE, syntax)
    frame = next(generate_frames(dcmread(DicomBytesIO(whole)).PixelData, number_of_frames=1))
    plain = frame.rstrip(b"\0")
    assert plain.endswith(b"\xff\xd9")

    def holding(content):
        data = dataset(IMAGE)
        data.PixelData = encapsulate([content])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        return written(data, syntax)

    image = decode(holding(plain[:-2]))
    assert image.digest() == decode(whole).digest()
    assert any("end marker" in said for said in image.warnings)
    with pytest.raises(ImageError) as error:
        decode(holding(plain[: len(plain) * 9 // 10]))
    assert error.value.code in ("truncated_image", "corrupt_image")


def test_a_frame_in_the_place_of_the_table_of_offsets_is_read():
    whole = dicom(IMAGE, JPEG2000Lossless)
    table_at = whole.index(b"\xfe\xff\x00\xe0")
    length = struct.unpack("<L", whole[table_at + 4 : table_at + 8])[0]
    without = whole[:table_at] + whole[table_at + 8 + length :]
    image = decode(without)
    assert np.array_equal(image.stored, IMAGE)
    assert "lacks its table of offsets" in image.warnings[0]


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGBaseline8Bit])
def test_compressed_pixels_with_a_length_or_without_a_capsule_are_read(syntax):
    data = dcmread(DicomBytesIO(dicom(IMAGE, syntax)))
    capsule = data.PixelData
    frame = next(generate_frames(capsule, number_of_frames=1))
    plain = decode(dicom(IMAGE, syntax))
    for content, warning in ((capsule, "has a length"), (frame, "not encapsulated")):
        head = dicom(IMAGE, syntax)
        start = head.index(b"\xe0\x7f\x10\x00OB\0\0")
        image = decode(head[: start + 8] + struct.pack("<L", len(content)) + content)
        assert image.digest() == plain.digest()
        assert warning in image.warnings[0]


def test_native_422_is_read_where_it_is_grey():
    colours = np.full((IMAGE.shape[0], IMAGE.shape[1] // 2, 2), 128, np.uint8)
    pairs = np.concatenate([IMAGE.reshape(IMAGE.shape[0], -1, 2), colours], axis=2)
    elements = {
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "PhotometricInterpretation": "YBR_FULL_422",
    }
    image = decode(dicom(IMAGE, PixelData=pairs.tobytes(), **elements))
    assert np.array_equal(image.stored, IMAGE)
    pairs[50, 50, 2] = 90
    with pytest.raises(ImageError) as error:
        decode(dicom(IMAGE, PixelData=pairs.tobytes(), **elements))
    assert error.value.code == "colour_dicom"


@pytest.mark.parametrize("lie", [{"Columns": 147}, {"Columns": 140}, {"Rows": 130}, {"Rows": 129}])
def test_rows_that_the_header_does_not_tell_of_are_no_surplus(lie):
    with pytest.raises(ImageError) as error:
        decode(dicom(TWELVE, BitsStored=12, **lie))
    assert error.value.code == "pixel_length_mismatch"


@pytest.mark.parametrize("surplus", [bytes(2), bytes(100), bytes(8192), b"\x20\0" * 700])
def test_bytes_behind_the_pixels_are_surplus(surplus):
    image = decode(dicom(TWELVE, BitsStored=12, PixelData=TWELVE.tobytes() + surplus))
    assert image.digest() == PLAIN.digest()
    with pytest.raises(ImageError) as error:
        decode(dicom(TWELVE, BitsStored=12, PixelData=TWELVE.tobytes() * 2))
    assert error.value.code == "pixel_length_mismatch"
