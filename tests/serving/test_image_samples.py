"""Uploaded images at full depth: facts, samples and the picture that the model sees are one."""

import asyncio
import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxr_transfer.radiograph import decode
from cxr_transfer.serving.image_facts import ImageFacts
from cxr_transfer.serving.sample_store import Decoded, SampleStore
from serving.asking import as_bytes, phantom, running, send

REAL = Path(get_testdata_file("RG1_UNCR.dcm", download=False))
GREY = phantom(3)[:300, :300]
DEEP = np.rint(GREY.astype(np.float64) * 3.9).astype(np.uint16) + 1000


def dicom(samples=DEEP, **elements):
    """A DICOM file of these samples; None takes an element away."""
    dataset = dcmread(REAL)
    dataset.Rows, dataset.Columns = samples.shape
    dataset.PixelData = samples.astype("<u2").tobytes()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    for name in (
        "WindowCenter",
        "WindowWidth",
        "WindowCenterWidthExplanation",
        "PatientOrientation",
    ):
        if name in dataset:
            delattr(dataset, name)
    for name, value in elements.items():
        if value is None:
            del dataset[name]
        elif name == "PixelPaddingValue":  # pydicom cannot tell whether it has a sign
            dataset.add_new(name, "US", value)
        else:
            setattr(dataset, name, value)
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def table(first, entries, **more):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, 16]
    item.LUTData = entries.astype("<u2").tobytes()
    for name, value in more.items():
        setattr(item, name, value)
    return Sequence([item])


RISING = np.linspace(0, 4095, 4096).astype(np.uint16)
SHUTTER = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 40}
SHUTTER |= {"ShutterRightVerticalEdge": 260, "ShutterUpperHorizontalEdge": 30}
SHUTTER |= {"ShutterLowerHorizontalEdge": 280}
TRANSPARENT = np.dstack([GREY, np.tile(np.arange(300) % 256, (300, 1)).astype(np.uint8)])
FILES = {
    "real": REAL.read_bytes(),
    "8 bits": as_bytes(GREY),
    "jpeg": as_bytes(GREY, "JPEG"),
    "alpha": as_bytes(Image.fromarray(TRANSPARENT, "LA")),
    "tiff": as_bytes(Image.fromarray(DEEP), "TIFF"),
    "png": as_bytes(Image.fromarray(DEEP), "PNG"),
    "times 257": as_bytes(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"),
    "range": dicom(),
    "window": dicom(WindowCenter=["1500", "1800"], WindowWidth=["600", "900"]),
    "sigmoid": dicom(WindowCenter="1500", WindowWidth="600", VOILUTFunction="SIGMOID"),
    "exact": dicom(WindowCenter="1500", WindowWidth="600", VOILUTFunction="LINEAR_EXACT"),
    "inverse": dicom(
        PhotometricInterpretation="MONOCHROME1", WindowCenter="1500", WindowWidth="700"
    ),
    "rescale": dicom(RescaleSlope="0.5", RescaleIntercept="-1024"),
    "falling": dicom(RescaleSlope="-2", RescaleIntercept="9000", RescaleType="US"),
    "modality": dicom(ModalityLUTSequence=table(0, np.sqrt(RISING * 4000.0).astype(np.uint16))),
    "voi": dicom(VOILUTSequence=table(900, RISING[::2], LUTExplanation="HARDER, of Doe^Jane")),
    "shutter": dicom(**SHUTTER, WindowCenter="1500", WindowWidth="600"),
    "padding": dicom(np.where(DEEP > 1900, 4000, DEEP), PixelPaddingValue=4000),
    "turned": dicom(PatientOrientation=["F", "L"], PixelSpacing=["0.2", "0.1"]),
}


def kept(client, content):
    response = send(client, content, path="/v1/images")
    return f"/v1/images/{response.json()['images'][0]['sha256']}"


def facts_of(client, place):
    return ImageFacts.model_validate(client.get(f"{place}/facts").json())


def samples_of(client, place, **part):
    response = client.get(f"{place}/samples", params=part)
    assert response.headers["content-type"] == "application/octet-stream"
    shape = int(response.headers["x-cxr-rows"]), int(response.headers["x-cxr-columns"])
    return np.frombuffer(response.content, "<u2").reshape(shape)


def whole(client, place, facts):
    """All samples, cut out of the image in parts."""
    rows = range(0, facts.height, 700)
    parts = [samples_of(client, place, y=y, height=min(700, facts.height - y)) for y in rows]
    return np.vstack(parts)


def shown(samples, facts, preset):
    """What a viewer shows: DICOM PS3.3, C.11.2, written here once more."""
    values = samples * facts.slope + facts.intercept
    if preset.table is not None:
        greys = np.frombuffer(base64.b64decode(preset.table.greys), np.uint8)
        at = np.clip(np.floor(values - preset.table.first), 0, len(greys) - 1).astype(int)
        grey = greys[at].astype(float)
    elif preset.function == "SIGMOID":
        grey = 255 / (1 + np.exp(-4 * (values - preset.centre) / preset.width))
    elif preset.function == "LINEAR_EXACT":
        grey = 255 * np.clip((values - preset.centre) / preset.width + 0.5, 0, 1)
    else:
        part = (values - (preset.centre - 0.5)) / (preset.width - 1) + 0.5
        grey = 255 * np.clip(part, 0, 1)
    return 255 - grey if facts.inverted else grey


@pytest.mark.parametrize("name", FILES)
def test_samples_as_assessed_are_the_picture_that_the_model_sees(client, name):
    place = kept(client, FILES[name])
    facts = facts_of(client, place)
    samples = whole(client, place, facts)
    radiograph = decode(FILES[name])
    assert samples.shape == (facts.height, facts.width) == radiograph.stored.shape
    assert facts.presets[0].name == "as assessed"
    expected = 255 * radiograph.pixels.astype(float)
    assert np.abs(shown(samples, facts, facts.presets[0]) - expected).max() <= 1.01
    response = send(client, FILES[name], path="/v1/image", field="file")
    with Image.open(io.BytesIO(response.content)) as picture:
        if picture.size == (facts.width, facts.height):
            grey = np.rint(shown(samples, facts, facts.presets[0]))
            assert np.abs(grey - np.asarray(picture)).max() <= 1


def test_every_level_of_the_file_is_there(client):
    for name in ("tiff", "png", "range"):
        place = kept(client, FILES[name])
        facts = facts_of(client, place)
        assert (whole(client, place, facts) * facts.slope + facts.intercept == DEEP).all()
        assert (facts.lowest, facts.highest) == (DEEP.min(), DEEP.max())


def test_the_windows_and_tables_of_the_file_are_told_in_its_units(client):
    window = facts_of(client, kept(client, FILES["window"]))
    assert [(one.centre, one.width) for one in window.presets[1:]] == [(1500, 600), (1800, 900)]
    voi = facts_of(client, kept(client, FILES["voi"]))
    assert voi.presets[1].function == "TABLE"
    assert voi.presets[1].name == "HARDER OF DOEJANE"  # no signs that a page could stumble over
    sigmoid = facts_of(client, kept(client, FILES["sigmoid"]))
    assert {one.function for one in sigmoid.presets} == {"SIGMOID"}
    rescale = facts_of(client, kept(client, FILES["rescale"]))
    assert rescale.slope == 0.5
    assert rescale.presets[0].centre == pytest.approx((DEEP.min() + DEEP.max()) / 4 - 1023.5)


def test_the_pixel_spacing_has_its_source(client):
    def spacing(**elements):
        none = dict.fromkeys(("PixelSpacing", "ImagerPixelSpacing"))
        dataset = dcmread(REAL, stop_before_pixels=True)
        gone = {name: value for name, value in none.items() if name in dataset}
        return facts_of(client, kept(client, dicom(**gone | elements))).spacing

    assert spacing() is None
    imager = spacing(
        ImagerPixelSpacing=["0.2", "0.1"], EstimatedRadiographicMagnificationFactor="1.1"
    )
    assert (imager.row, imager.column, imager.source) == (0.2, 0.1, "ImagerPixelSpacing")
    assert imager.magnification == 1.1
    both = {"ImagerPixelSpacing": ["0.2", "0.2"], "PixelSpacing": ["0.2", "0.2"]}
    assert spacing(**both).source == "ImagerPixelSpacing"
    pixel = spacing(**both, PixelSpacingCalibrationType="FIDUCIAL")
    assert (pixel.source, pixel.calibration) == ("PixelSpacing", "FIDUCIAL")
    scanned = spacing(NominalScannedPixelSpacing=["0.3", "0.3"])
    assert scanned.source == "NominalScannedPixelSpacing"
    assert spacing(PixelSpacing=["0", "0.2"]) is None
    turned = facts_of(client, kept(client, FILES["turned"])).spacing
    assert (turned.row, turned.column) == (0.1, 0.2)
    assert facts_of(client, kept(client, FILES["png"])).spacing is None


def test_facts_hold_nothing_of_a_patient(client):
    content = dicom(PatientName="SECRET^JANE", PatientID="SECRET", ImageComments="SECRET")
    place = kept(client, content)
    response = client.get(f"{place}/facts")
    assert "SECRET" not in response.text
    facts = response.json()
    assert (facts["format"], facts["modality"]) == ("DICOM", "CR")
    assert facts_of(client, kept(client, FILES["jpeg"])).lossy is True
    lossy = dicom(LossyImageCompression="01", LossyImageCompressionRatio="12", ImageLaterality="L")
    told = facts_of(client, kept(client, lossy))
    assert (told.lossy, told.lossy_ratio, told.laterality) == (True, 12, "L")


@pytest.mark.parametrize("scale", [1, 2, 3, 7, 300])
def test_a_smaller_picture_has_the_means_of_squares(client, scale):
    place = kept(client, FILES["tiff"])
    part = DEEP[10:, 20:221]
    found = samples_of(client, place, x=20, y=10, width=201, scale=scale)
    expected = [
        [part[y : y + scale, x : x + scale].mean() for x in range(0, part.shape[1], scale)]
        for y in range(0, part.shape[0], scale)
    ]
    assert found.shape == np.shape(expected)
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("x=300", "bad_field"),
        ("x=-1", "bad_field"),
        ("width=0", "bad_field"),
        ("x=10&width=291", "bad_field"),
        ("scale=0", "bad_field"),
        ("scale=two", "bad_field"),
        ("y=1.5", "bad_field"),
        ("y=" + "9" * 5000, "bad_field"),
        ("scales=2", "unknown_field"),
        ("x=1&x=2", "repeated_field"),
    ],
)
def test_a_part_that_is_not_of_the_image_is_refused(client, query, code):
    place = kept(client, FILES["tiff"])
    response = client.get(f"{place}/samples?{query}")
    assert (response.status_code, response.json()["code"]) == (422, code)


def test_an_answer_has_no_more_samples_than_were_promised(client):
    content = as_bytes(np.tile(np.arange(2500, dtype=np.uint8), (2000, 1)))
    place = kept(client, content)
    response = client.get(f"{place}/samples")
    assert (response.status_code, response.json()["code"]) == (422, "too_many_samples")
    most = client.get("/openapi.json").json()["x-limits"]["samples"]
    assert samples_of(client, place, scale=2).size == 2500 * 2000 / 4 < most


def test_what_is_not_there_or_cannot_be_read_has_no_samples(client):
    for act in ("facts", "samples"):
        response = client.get(f"/v1/images/{'0' * 64}/{act}")
        assert (response.status_code, response.json()["code"]) == (404, "unknown_image")
        place = kept(client, b"no image")
        response = client.get(f"{place}/{act}")
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_format")


def test_samples_go_with_the_image_that_they_are_of(checkpoint):
    with running(checkpoint) as server, server.client() as client:
        place = kept(client, FILES["tiff"])
        client.get(f"{place}/samples")
        assert server.counted("cxr_samples_bytes") == DEEP.nbytes
        kept(client, FILES["tiff"])
        assert server.counted("cxr_samples_bytes") == DEEP.nbytes
        client.delete(place)
        assert server.counted("cxr_samples_bytes") == 0
        assert client.get(f"{place}/samples").status_code == 404


def test_a_store_decodes_an_image_once_and_holds_no_more_than_it_may():
    async def check():
        store, decoded = SampleStore(10), []

        async def decode(name):
            await asyncio.sleep(0)
            decoded.append(name)
            return Decoded(np.zeros((2, 2), np.uint8), {"name": name})

        async def get(name):
            return (await store.get(name, lambda: decode(name))).facts["name"]

        assert await asyncio.gather(*(get("a") for _ in range(5))) == ["a"] * 5
        assert decoded == ["a"]
        await get("b")
        await get("a")
        await get("c")
        assert store.size == 8
        await get("a")
        assert decoded == ["a", "b", "c"]
        await get("b")
        assert decoded == ["a", "b", "c", "b"]
        store.forget("b")
        assert store.size == 4

        async def fail():
            raise ValueError

        for _ in range(2):
            with pytest.raises(ValueError, match=r"^$"):
                await store.get("d", fail)
        coming = asyncio.create_task(get("e"))
        await asyncio.sleep(0)
        store.forget("e")
        assert await coming == "e"
        assert store.size == 4

    asyncio.run(check())
