"""Images that are uploaded once, and asked for by their hash."""

import asyncio
import hashlib
import io

import pytest
from PIL import Image

from cxr_transfer.serving.image_store import ImageStore, Upload
from cxr_transfer.serving.schemas import ApiError, Kept
from serving.asking import alike, as_bytes, phantom, send


def uploaded(content):
    return Upload("name", content, "PNG", hashlib.sha256(content).hexdigest())


def test_an_uploaded_image_is_answered_as_the_same_image_sent_again(server, client, predictor):
    contents = [as_bytes(phantom()), as_bytes(phantom(1))]
    response = send(client, *contents, path="/v1/images", name="SECRET.png")
    assert response.status_code == 201
    kept = Kept.model_validate(response.json())
    assert kept.kept_s == 600
    assert [(one.index, one.bytes) for one in kept.images] == [
        (index, len(content)) for index, content in enumerate(contents)
    ]
    assert server.counted("cxr_kept_bytes") >= sum(map(len, contents))
    for one, content in zip(kept.images, contents, strict=True):
        assert one.sha256 == hashlib.sha256(content).hexdigest()
        # Some systems write hashes in capitals.
        body = client.post(f"/v1/images/{one.sha256.upper()}/predictions").json()
        (answer,) = body["answers"]
        assert alike(answer, predictor.predict(content))
        assert (answer["index"], answer["sha256"], answer["file"]) == (0, *[one.sha256] * 2)
        assert "SECRET" not in str(body)


def test_a_heat_map_is_a_picture(client):
    content = as_bytes(phantom())
    (kept,) = send(client, content, path="/v1/images").json()["images"]
    place = f"/v1/images/{kept['sha256']}"
    response = client.post(f"{place}/heatmap", params={"model": "random"})
    (answer,) = client.post(f"{place}/predictions?heat_map=true").json()["answers"]
    assert answer["heat_map"]
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-cxr-heat-map-of"] == f'"{answer["label"]}"'
    with Image.open(io.BytesIO(response.content)) as overlay:
        assert overlay.mode == "RGBA"


def test_an_image_that_cannot_be_read_has_no_heat_map(client):
    (kept,) = send(client, b"no image", path="/v1/images").json()["images"]
    response = client.post(f"/v1/images/{kept['sha256']}/heatmap")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_format")


@pytest.mark.parametrize("act", ["predictions", "heatmap"])
def test_what_was_not_uploaded_or_would_have_no_effect_is_refused(client, act):
    place = f"/v1/images/{'0' * 64}/{act}"
    response = client.post(place)
    assert (response.status_code, response.json()["code"]) == (404, "unknown_image")
    response = client.post(place, data={"model": "random"})
    assert (response.status_code, response.json()["code"]) == (415, "unexpected_body")
    response = client.post(f"{place}?models=random")
    assert (response.status_code, response.json()["code"]) == (422, "unknown_field")
    response = client.post(place.replace("000", "xyz"))
    assert (response.status_code, response.json()["code"]) == (422, "bad_field")


def test_an_image_is_forgotten_when_that_is_asked(client):
    content = as_bytes(phantom(7))
    (kept,) = send(client, content, path="/v1/images").json()["images"]
    place = f"/v1/images/{kept['sha256']}"
    assert client.delete(place).status_code == 204
    assert client.delete(place).status_code == 404
    assert client.post(f"{place}/predictions").status_code == 404


def test_a_store_holds_no_more_than_it_may_and_lets_the_least_used_go():
    async def check():
        store = ImageStore(10, 60)
        first, second, third = (uploaded(bytes([number]) * 4) for number in range(3))
        store.keep([first, second])
        store.keep([first])
        assert store.size == 8
        store.upload(second.sha256)
        store.keep([third])
        assert store.size == 8
        with pytest.raises(ApiError) as refused:
            store.upload(first.sha256)
        assert refused.value.code == "unknown_image"
        assert store.upload(second.sha256).content == second.content
        with pytest.raises(ApiError) as refused:
            store.keep([uploaded(bytes(11))])
        assert (refused.value.status_code, refused.value.code) == (413, "too_many_bytes")
        assert store.size == 8

    asyncio.run(check())


def test_an_image_is_gone_when_its_time_is_over_though_nobody_asks():
    async def check():
        store = ImageStore(10, 0.01)
        store.keep([uploaded(b"image")])
        async with asyncio.timeout(30):
            while store.size:
                await asyncio.sleep(0.01)

    asyncio.run(check())
