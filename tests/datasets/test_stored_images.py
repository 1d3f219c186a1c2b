"""Which objects of a bucket are taken for images: by name, and what is passed over is counted."""

import pytest

from cxr_transfer.datasets.image_files import LeftOut, Why
from cxr_transfer.datasets.stored_images import images_at
from made_store import BUCKET, connected, made_store

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

IMAGES = ("a.png", "b/c.dcm", "b/1.2.840.17", "b/IM000001", "d [1].jpg", "picture.gif.dcm")
OTHERS = {
    "labels.csv": Why.NO_IMAGE,
    "README.md": Why.NO_IMAGE,
    "b/DICOMDIR": Why.NO_IMAGE,
    "b/all.parquet": Why.NO_IMAGE,
    "b/all.tar.gz": Why.NO_IMAGE,
    "movie.gif": Why.OTHER_FORMAT,
    ".hidden/e.png": Why.HIDDEN,
    "b/._c.dcm": Why.HIDDEN,
    "Thumbs.db": Why.HIDDEN,
}


@pytest.fixture(scope="module")
def made():
    with made_store() as store:
        for name in (*IMAGES, *OTHERS):
            store.put(f"set/{name}", b"content")
        store.put("set/folder/", b"")
        store.put("set-2/other.png", b"content")
        yield store


@pytest.fixture
def listed(made, monkeypatch):
    with connected(made.environment, monkeypatch):

        def names(address, **options):
            found = list(images_at(f"s3://{BUCKET}{address}", **options))
            return [name.removeprefix(f"s3://{BUCKET}/") for name in found]

        yield names


@pytest.mark.parametrize("address", ["/set", "/set/"])
def test_images_below_a_prefix_sorted_and_the_others_counted(listed, address):
    left_out = LeftOut()
    assert listed(address, left_out=left_out) == sorted(f"set/{name}" for name in IMAGES)
    assert left_out.total == len(OTHERS)
    for why in Why:
        assert left_out.counts[why] == list(OTHERS.values()).count(why), why
    assert f"s3://{BUCKET}/set/labels.csv" in left_out.notices()[0]


def test_objects_patterns_and_buckets(listed):
    assert listed("/set/labels.csv") == ["set/labels.csv"], "what is named is meant"
    assert listed("/set/d [1].jpg") == ["set/d [1].jpg"], "a name may look like a pattern"
    assert listed("/set/*.png") == ["set/a.png"]
    assert listed("/absent.png") == ["absent.png"], "its row says that it is absent"
    assert listed("/absent/") == []
    assert "set-2/other.png" in listed("")


def test_what_a_run_writes_is_no_image(listed):
    own = [f"s3://{BUCKET}/set/b", f"s3://{BUCKET}/set/a.png"]
    assert listed("/set", leave_out=own) == ["set/d [1].jpg", "set/picture.gif.dcm"]
