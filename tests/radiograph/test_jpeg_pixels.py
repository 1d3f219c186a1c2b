"""Pixels of a JPEG in another file: whole, of the announced size, and compared band by band."""

import numpy as np
import pytest
from pydicom.uid import JPEGBaseline8Bit

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.jpeg_pixels import decode_jpeg
from made import encoded, full
from made_bombs import in_dicom

LARGE = full(height=1300, width=1000)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_whole_jpeg_of_several_bands_is_read_and_a_cut_one_is_not(options):
    whole = encoded(LARGE, "JPEG", quality=90, **options)
    samples, is_ended = decode_jpeg(whole)
    assert is_ended
    assert np.abs(samples.astype(int) - LARGE).mean() < 2
    for share in (0.5, 0.95):  # what is missing lies in the first band, or in the last
        with pytest.raises(OSError, match="truncated"):
            decode_jpeg(whole[: int(share * len(whole))] + b"\xff\xd9")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_missing_end_marker_is_all_that_may_be_missing(progressive):
    whole = encoded(LARGE, "JPEG", quality=90, progressive=progressive)
    samples, is_ended = decode_jpeg(whole[:-2])
    assert not is_ended
    assert np.array_equal(samples, decode_jpeg(whole)[0])
    with pytest.raises(OSError, match="truncated"):
        decode_jpeg(whole[: len(whole) * 9 // 10])
    image = decode(in_dicom(whole[:-2], *LARGE.shape, JPEGBaseline8Bit))
    assert np.array_equal(image.stored, samples)
    assert [text for text in image.warnings if "end marker" in text]
    for missing in range(4, 40, 5):  # the last byte may be nothing but filling
        with pytest.raises(ImageError) as error:
            decode(in_dicom(whole[:-missing], *LARGE.shape, JPEGBaseline8Bit))
        assert error.value.code == "truncated_image", missing


def test_a_second_size_is_damage():
    whole = encoded(LARGE, "JPEG", quality=90, progressive=True)
    at, last = whole.index(b"\xff\xc2"), whole.rindex(b"\xff\xda")
    other = whole[at : at + 5] + (500).to_bytes(2) + (400).to_bytes(2) + whole[at + 9 : at + 13]
    with pytest.raises(OSError, match="second frame"):
        decode_jpeg(whole[:last] + other + whole[last:])
