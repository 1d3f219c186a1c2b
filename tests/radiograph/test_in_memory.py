"""An image is the same one in whatever form a program has it; what is none is named."""

import io
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import JPEG2000Lossless

from cxr_transfer.errors import ImageError, UsageError
from cxr_transfer.radiograph import decode, dicom_dataset
from cxr_transfer.radiograph.in_memory import check_images, read_image
from cxr_transfer.radiograph.quality_control import quality_issues
from cxr_transfer.radiograph.radiograph import MAX_BYTES, Radiograph
from made import encoded, full, grey
from made_dicom import LOSSLESS, PATIENT, PLAIN, dataset, dicom

DEEP = np.rint(full().astype(np.float64) * 4095 / 255).astype(np.uint16)
"""Twelve bits, all of them in use."""


def refused(act, code, kind=ImageError):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code
    assert "\n" not in raised.value.message
    return raised.value.message


def same(one, other):
    return (
        one.stored.dtype == other.stored.dtype
        and np.array_equal(one.stored, other.stored)
        and one.warnings == other.warnings
        and one.header == other.header
        and one.colour == other.colour
    )


# Files.


def test_a_path_and_the_content_of_a_file_in_every_form_are_one_image(tmp_path):
    path = tmp_path / "image.png"
    content = encoded(grey())
    path.write_bytes(content)
    expected = decode(content)
    for given in (str(path), path, content, bytearray(content), memoryview(content), expected):
        assert same(read_image(given), expected)
    with path.open("rb") as handle, path.open("rb", buffering=0) as raw:
        assert same(read_image(handle), expected)
        assert same(read_image(raw), expected)
    with tempfile.TemporaryFile() as handle:
        handle.write(b"before" + content)
        handle.seek(6)
        assert same(read_image(handle), expected)  # from where it stands
        refused(lambda: read_image(handle), "empty_file")


def test_a_file_that_gives_little_at_a_time_is_read_whole():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 100))

    assert same(read_image(Slow(encoded(grey()))), decode(encoded(grey())))


def test_no_more_is_read_of_a_file_than_an_image_may_have():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            self.given += size
            return bytes(size)

    file = Endless()
    refused(lambda: read_image(file), "too_many_bytes")
    assert file.given == MAX_BYTES + 1


def test_a_file_that_cannot_be_read_is_a_fault_of_the_file():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    assert "Input/output error" in refused(lambda: read_image(Broken()), "unreadable")
    closed = io.BytesIO(encoded(grey()))
    closed.close()
    refused(lambda: read_image(closed), "unreadable")


# Arrays.


def test_an_array_of_8_bits_is_the_image_that_a_png_of_it_is():
    found = read_image(grey())
    assert found.stored.dtype == np.uint8
    assert np.array_equal(found.stored, decode(encoded(grey())).stored)
    assert found.warnings == ()
    floats = np.asfortranarray(grey().astype(np.float32))
    assert np.abs(read_image(floats, value_range=(0, 255)).pixels - found.pixels).max() < 1e-6
    turned = np.asfortranarray(grey())[::-1, ::-1]
    assert np.array_equal(read_image(turned).stored, grey()[::-1, ::-1])


def test_an_array_of_16_bits_is_the_image_that_a_png_and_a_dicom_of_it_are():
    found = read_image(DEEP, value_range=(0, 4095)).stored
    assert found.dtype == np.float32
    assert np.array_equal(found, decode(encoded(Image.fromarray(DEEP))).stored)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    shown = decode(dicom(DEEP, BitsStored=12, **window)).stored
    assert np.abs(found - shown).max() < 1e-6
    assert np.array_equal(read_image(DEEP.astype(">u2"), value_range=(0, 4095)).stored, found)


def test_a_floating_point_array_is_the_image_of_its_integers():
    expected = read_image(DEEP, value_range=(0, 4095)).stored
    for low, high in ((0, 1), (-1, 1), (-1024, 3071)):
        floats = (DEEP.astype(np.float64) / 4095 * (high - low) + low).astype(np.float32)
        found = read_image(floats, value_range=(low, high)).stored
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-6
        assert found.min() >= 0
        assert found.max() <= 1


def test_the_stated_range_is_from_black_to_white():
    levels = np.tile(np.array([100, 150, 300], np.uint16), (150, 50))
    found = read_image(levels, value_range=(100, 300)).stored
    assert found[0, :3].tolist() == [0.0, 0.25, 1.0]
    few = np.tile(np.array([0, 1], np.uint8), (150, 75))
    assert read_image(few, value_range=(0, 1)).stored[0, :2].tolist() == [0.0, 1.0]


def test_rounding_does_not_leave_the_range():
    array = np.linspace(0, 1, 150 * 150, dtype=np.float32).reshape(150, 150)
    array[-1, -1] = np.nextafter(np.float32(1), np.float32(2))
    assert read_image(array, value_range=(0, 1)).stored.max() == 1


def test_an_image_is_not_changed_with_the_array_that_it_came_from():
    array = grey()
    found = read_image(array)
    array[:] = 0
    assert np.array_equal(found.stored, grey())


@pytest.mark.parametrize("array", [DEEP, DEEP.astype(np.float32)])
def test_without_a_range_nothing_says_what_the_values_mean(array):
    with pytest.raises(TypeError, match=rf"value_range.* array of {array.dtype}"):
        read_image(array)
    with pytest.raises(TypeError, match="value_range"):
        check_images([grey(), array])
    check_images([grey(), array], (0, 4095))


@pytest.mark.parametrize(
    "value_range",
    [(1, 0), (0, 0), (0, float("nan")), (0, float("inf")), (0,), (0, 1, 2), 255, "ab", ("a", "b")],
)
def test_a_range_that_is_none_is_refused_whatever_the_image(value_range):
    for given in (DEEP, encoded(grey())):

        def read(given=given):
            read_image(given, value_range=value_range)

        refused(read, "bad_value_range", UsageError)


def test_values_outside_of_the_range_are_told():
    said = refused(lambda: read_image(DEEP, value_range=(0, 255)), "outside_value_range")
    assert "0 to 255" in said
    assert "0 to 4095" in said
    refused(lambda: read_image(DEEP, value_range=(1, 4095)), "outside_value_range")
    refused(lambda: read_image(-DEEP.astype(np.float32), value_range=(0, 1)), "outside_value_range")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_grey_value(value):
    array = DEEP.astype(np.float32)
    array[5, 7] = value
    refused(lambda: read_image(array, value_range=(0, 4095)), "not_finite")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 150, 150), np.uint8),
        np.zeros((150, 150, 3), np.uint8),
        np.zeros(150, np.uint8),
        np.zeros((), np.uint8),
        *(np.zeros((150, 150), kind) for kind in (bool, np.int16, np.uint32, np.int64)),
        *(np.zeros((150, 150), kind) for kind in (np.float16, np.float64, complex, object, "S1")),
        np.ma.masked_array(grey(), grey() > 100),
    ],
    ids=lambda array: f"{array.ndim}-D {array.dtype}",
)
def test_an_array_of_another_kind_is_a_type_error_that_says_what_is_expected(array):
    with pytest.raises(TypeError, match=r"Expected a.* array"):
        read_image(array, value_range=(0, 1))


def test_an_array_has_the_sizes_that_an_image_has():
    for shape, code in (((127, 150), "too_small"), ((0, 0), "too_small"), ((0, 9), "bad_aspect")):
        refused(lambda shape=shape: read_image(np.zeros(shape, np.uint8)), code)
    huge = np.broadcast_to(np.uint8(0), (100_000, 100_000))  # takes a byte
    refused(lambda: read_image(huge), "too_many_pixels")


# Pillow's images.


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "La", "P", "CMYK", "YCbCr"])
def test_an_image_of_pillows_is_the_one_that_its_file_is(mode):
    plain = Image.fromarray(np.stack([grey(), grey(1), grey(2)], axis=2))
    plain.putalpha(Image.fromarray(grey(3)))
    image = plain.convert("LA").convert("La") if mode == "La" else plain.convert(mode)
    # What a file cannot hold is what it is turned into by whoever saves it.
    saved = image.convert({"La": "LA", "YCbCr": "RGB"}.get(mode, mode))
    before = image.copy()
    assert same(read_image(image), decode(encoded(saved, "TIFF" if mode == "CMYK" else "PNG")))
    assert image == before


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_an_image_of_pillows_with_more_than_8_bits_is_the_one_that_its_file_is(kind):
    image = Image.fromarray((DEEP + 500).astype(kind))
    assert image.mode == {np.uint16: "I;16", np.int32: "I"}[kind]
    assert same(read_image(image), decode(encoded(Image.fromarray(DEEP + 500))))


def test_a_floating_point_image_of_pillows_needs_a_range():
    image = Image.fromarray(DEEP.astype(np.float32))
    with pytest.raises(TypeError, match=r"value_range.* mode 'F'"):
        read_image(image)
    found = read_image(image, value_range=(0, 4095)).stored
    assert np.abs(found - read_image(DEEP, value_range=(0, 4095)).stored).max() < 1e-6


def test_an_image_that_pillow_opened_is_turned_as_its_file_is(tmp_path):
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[274] = orientation
        for kind in ("PNG", "JPEG", "TIFF"):
            content = encoded(grey(), kind, exif=exif)
            with Image.open(io.BytesIO(content)) as image:
                found = read_image(image)
            expected = decode(content)
            assert np.array_equal(found.stored, expected.stored), (orientation, kind)


def test_a_transparent_colour_travels_along():
    image = Image.fromarray(grey())
    image.info["transparency"] = int(grey()[0, 0])
    found = read_image(image)
    assert found.stored[0, 0] == 0
    assert found.warnings == ("transparent parts were laid on black",)


def test_what_an_image_of_pillows_lacks_is_what_its_file_lacks(tmp_path):
    radiograph = Image.fromarray(grey())
    refused(lambda: read_image(radiograph.convert("1")), "insufficient_depth")
    refused(lambda: read_image(radiograph.resize((20, 20))), "too_small")
    refused(lambda: read_image(radiograph.convert("RGB").convert("HSV")), "unsupported_format")
    refused(lambda: read_image(Image.new("RGBA", (150, 150))), "blank_image")
    moving = encoded(radiograph, "GIF", save_all=True, append_images=[radiograph.rotate(9)])
    refused(lambda: read_image(Image.open(io.BytesIO(moving))), "multi_frame")
    content = encoded(radiograph)
    cut = Image.open(io.BytesIO(content[: len(content) // 2]))
    refused(lambda: read_image(cut), "truncated_image")
    large = Image.fromarray(DEEP.astype(np.int32) * 100)
    refused(lambda: read_image(large), "unsupported_format")


def test_a_huge_image_is_refused_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    content = encoded(Image.new("L", (9000, 9000)), compress_level=9)
    with Image.open(io.BytesIO(content)) as image:
        refused(lambda: read_image(image), "too_many_pixels")
        image.fp.seek(0)  # nobody has loaded it, which closes it


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value_range", [(0, 250), (0, 700), (-100, 400.5)])
def test_a_grey_image_of_pillows_with_a_range_is_the_array_that_it_is(kind, value_range):
    # As often as not the stated range is not that of the kind of numbers.
    values = np.rint(full() * (250 / 255)).astype(kind)
    array = values.astype(np.uint16 if kind is np.int32 else kind)
    found = read_image(Image.fromarray(values), value_range=value_range)
    assert same(found, read_image(array, value_range=value_range))
    refused(lambda: read_image(Image.fromarray(values), value_range=(0, 9)), "outside_value_range")


def test_numbers_of_32_bits_may_lie_below_0_and_above_16_bits():
    values = DEEP.astype(np.int32) * 100 - 1000
    found = read_image(Image.fromarray(values), value_range=(-1000, 408_500)).stored
    assert np.abs(found - DEEP / 4095).max() < 1e-6


def test_an_image_that_pillow_opened_is_turned_where_a_range_is_stated_too():
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[274] = orientation
        with Image.open(io.BytesIO(encoded(grey(), exif=exif))) as image:
            found = read_image(image, value_range=(0, 255))
            assert np.array_equal(found.stored, read_image(image).stored), orientation


@pytest.mark.parametrize(
    "given",
    [
        "image.png",
        b"abc",
        io.BytesIO(b"abc"),
        dataset(grey()),
        Image.fromarray(grey()).convert("RGB"),
        Image.fromarray(grey()).convert("P"),
        decode(encoded(grey())),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_range_is_refused_for_what_says_itself_what_its_values_mean(given):
    for act in (read_image, lambda one, **stated: check_images([one], **stated)):
        with pytest.raises(TypeError, match="Expected value_range only for arrays"):
            act(given, value_range=(0, 4095))


@pytest.mark.parametrize(
    ("values", "stated"),
    [
        (DEEP, (0, 65535)),
        (Image.fromarray(DEEP), (0, 65535)),
        (np.asarray(DEEP / 4095, np.float32), (0, 255)),
    ],
    ids=["12 bits of 16", "the same of Pillow's", "shares of 255"],
)
def test_a_range_of_which_little_is_used_is_named_with_the_values_found(values, stated):
    found = read_image(values, value_range=stated)
    (warning,) = found.warnings
    assert warning.startswith(f"value_range states 0 to {stated[1]}, but the values are 0 to ")
    (concern,) = quality_issues(found)
    assert concern.code == "blank_or_noise"
    assert "value_range" in concern.message
    assert "anew" not in concern.message


def test_a_range_of_which_much_is_used_is_not_remarked_on():
    for most in (4095, 8191, 16000):
        assert read_image(DEEP, value_range=(0, most)).warnings == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_closed_image_of_pillows_is_not_called_damaged(kind):
    content = encoded(grey(), kind)
    with Image.open(io.BytesIO(content)) as left:
        pass
    closed = Image.open(io.BytesIO(content))
    closed.load()
    closed.close()
    file = io.BytesIO(content)
    of_closed_file = Image.open(file)
    file.close()
    for image in (left, closed, of_closed_file):
        for stated in (None, (0, 255)):
            said = refused(lambda one=image, r=stated: read_image(one, value_range=r), "unreadable")
            assert "closed" in said


# pydicom's data sets.


@pytest.mark.parametrize("syntax", [*PLAIN, *LOSSLESS])
def test_a_data_set_that_was_read_is_the_image_that_its_file_is(syntax):
    content = dicom(DEEP, syntax, BitsStored=12, WindowCenter=2000, WindowWidth=3000)
    expected = decode(content)
    data = dcmread(io.BytesIO(content))
    assert same(read_image(data), expected)
    list(data.iterall())  # every element parsed
    assert same(read_image(data), expected)
    assert data == dcmread(io.BytesIO(content))


def test_a_data_set_that_was_made_needs_no_file_around_it():
    data = dataset(grey())
    assert same(read_image(data), decode(dicom(grey())))
    data.file_meta = FileMetaDataset()
    assert same(read_image(data), decode(dicom(grey())))
    data.WindowCenter, data.WindowWidth = 100, 50
    assert same(read_image(data), decode(dicom(grey(), WindowCenter=100, WindowWidth=50)))


def test_a_data_set_that_was_changed_is_read_as_it_is_now():
    data = dcmread(io.BytesIO(dicom(DEEP, JPEG2000Lossless, BitsStored=12)))
    data.decompress()
    data.PhotometricInterpretation = "MONOCHROME1"
    expected = decode(dicom(DEEP, BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    assert same(read_image(data), expected)


def test_the_same_is_refused_of_a_data_set_as_of_a_file():
    refused(lambda: read_image(Dataset()), "no_pixel_data")
    refused(lambda: read_image(dataset(grey(), PixelData=None)), "no_pixel_data")
    refused(lambda: read_image(dataset(grey(), Modality="CT")), "wrong_modality")
    assert read_image(dataset(grey(), Modality="CT"), any_modality=True).header.modality == "CT"
    refused(lambda: read_image(dataset(grey(), NumberOfFrames=2)), "multi_frame")
    short = dataset(grey(), Rows=200)
    refused(lambda: read_image(short), "pixel_length_mismatch")
    odd = dataset(grey())
    odd["Rows"]._value = object()
    said = refused(lambda: read_image(odd), "unreadable")
    assert PATIENT not in said


def test_a_data_set_is_copied_only_where_it_can_be_an_image(monkeypatch):
    monkeypatch.setattr(dicom_dataset, "MAX_INFLATED", 1000)
    refused(lambda: read_image(dataset(grey())), "too_many_bytes")


def test_nothing_of_a_patient_is_copied():
    assert b"Doe" not in dicom_dataset.written(dataset(grey()))


# What is no image.


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        1.5,
        True,
        [grey()],
        (grey(),),
        {"a": 1},
        {1},
        object(),
        Radiograph,
        io.StringIO("a"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_image_is_a_type_error_that_says_what_is_meant(given):
    with pytest.raises(TypeError, match=r"Expected an image .*, but got") as raised:
        read_image(given)
    assert "\n" not in str(raised.value)


def test_a_file_opened_as_text_is_told_how_to_open_it(tmp_path):
    (tmp_path / "image.png").write_bytes(encoded(grey()))
    with (tmp_path / "image.png").open() as handle, pytest.raises(TypeError, match="'rb'"):
        read_image(handle)
    with tempfile.NamedTemporaryFile("w+") as handle, pytest.raises(TypeError, match="'rb'"):
        read_image(handle)


def test_one_image_is_no_list_of_them(tmp_path):
    one = (
        "a.png",
        tmp_path,
        b"abc",
        bytearray(b"abc"),
        grey(),
        Image.fromarray(grey()),
        dataset(grey()),
        decode(encoded(grey())),
        io.BytesIO(b"abc"),
    )
    for given in one:
        with pytest.raises(TypeError, match=r"Expected a list of images.* put it into a list"):
            check_images(given)
        check_images([given])
    for given in (None, 7):
        with pytest.raises(TypeError, match="Expected a list of images"):
            check_images(given)
    check_images(np.zeros((2, 150, 150), np.uint8))  # one after the other
    check_images(iter("ab"))
    with pytest.raises(TypeError, match="but got int"):
        check_images(["a.png", 7])


def test_pydicom_is_not_imported_for_other_images():
    script = (
        "import sys, numpy\n"
        "from cxr_transfer.radiograph.in_memory import read_image\n"
        "read_image(numpy.zeros((150, 150), numpy.uint8))\n"
        "print('pydicom' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
