"""Images that are assessed otherwise than their file has them, because a reader says so."""

import asyncio
import io
import json

import numpy as np
import pytest
from PIL import Image

import cxr_transfer as cxr
from serving.asking import as_bytes, phantom, running, send

GREY = phantom(2)
CHANGES = [
    {"rotate": 90},
    {"rotate": 180, "flip": True},
    {"flip": True, "invert": True},
    {"rotate": 270, "flip": True, "invert": True},
]


def by_hand(rotate=0, flip=False, invert=False):
    """The same image, changed before it was saved."""
    changed = np.rot90(GREY[:, ::-1] if flip else GREY, -rotate // 90)
    return as_bytes(np.ascontiguousarray(255 - changed if invert else changed))


def answer_of(response):
    assert response.status_code == 200
    (answer,) = response.json()["answers"]
    return answer


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_that_is_changed_is_answered_as_one_that_was_saved_so(client, predictor, change):
    content = as_bytes(GREY)
    expected = predictor.predict(by_hand(**change))
    (kept,) = send(client, content, path="/v1/images").json()["images"]
    answers = [
        answer_of(send(client, content, **{name: str(one) for name, one in change.items()})),
        answer_of(client.post(f"/v1/images/{kept['sha256']}/predictions", params=change)),
        answer_of(client.post("/v1/predict", params=change, files={"files": content})),
    ]
    for answer in answers:
        assert (answer["status"], answer["code"]) == (expected.status, expected.code)
        assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
        assert answer["changed"] == {"rotate": 0, "flip": False, "invert": False} | change
        assert any("not as the file has it" in line for line in answer["warnings"])
        assert answer["sha256"] == kept["sha256"]  # of the file
    plain = answer_of(send(client, content))
    assert plain["changed"] is None
    assert answer_of(send(client, content, rotate="0", flip="false")) | {"ms": 0} == plain | {
        "ms": 0
    }


def test_the_heat_map_is_that_of_the_changed_image(client):
    change = {"flip": True}
    places = []
    for content in (as_bytes(GREY), by_hand(**change)):
        (kept,) = send(client, content, path="/v1/images").json()["images"]
        places.append(f"/v1/images/{kept['sha256']}/heatmap")
    found = client.post(places[0], params=change)
    expected = client.post(places[1])
    pictures = []
    for response in (found, expected):
        with Image.open(io.BytesIO(response.content)) as picture:
            pictures.append(np.asarray(picture).astype(int))
    assert pictures[0].any()
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).max() <= 2


@pytest.mark.parametrize("query", ["rotate=45", "rotate=", "flip=perhaps", "invert=2"])
@pytest.mark.parametrize("act", ["predictions", "heatmap"])
def test_another_change_is_refused(client, query, act):
    (kept,) = send(client, as_bytes(GREY), path="/v1/images").json()["images"]
    places = [f"/v1/images/{kept['sha256']}/{act}?{query}"]
    responses = [client.post(place) for place in places]
    if act == "predictions":
        responses.append(client.post(f"/v1/predict?{query}", files={"files": as_bytes(GREY)}))
    for response in responses:
        assert (response.status_code, response.json()["code"]) == (422, "bad_field")


def test_an_answer_for_a_changed_image_is_not_watched_as_one_for_the_file(checkpoint, tmp_path):
    with (
        running(checkpoint, CXR_SERVE_KEEP_ANSWERS=str(tmp_path)) as server,
        server.client() as client,
    ):
        send(client, as_bytes(GREY), flip="true")
        send(client, as_bytes(GREY))
    (path,) = tmp_path.glob("answers-*.jsonl")
    (line,) = path.read_text().splitlines()
    assert not any("not as the file" in one for one in json.loads(line)["warnings"])


def test_the_clients_ask_for_changes(server, predictor):
    content, change = as_bytes(GREY), cxr.Reorientation(rotate=90, flip=True)
    expected = predictor.predict(by_hand(rotate=90, flip=True))
    with cxr.Client(server.url) as client:
        (digest,) = client.upload([content])
        answers = client.predict([content], change=change)
        answers.append(client.predict_uploaded(digest, change=change))
        if expected.status == "ok":
            assert client.heat_map(digest, change=change).startswith(b"\x89PNG")
        assert client.predict_uploaded(digest).changed is None

    async def ask():
        async with cxr.AsyncClient(server.url) as client:
            answers.extend(await client.predict([content], change=change))
            answers.append(await client.predict_uploaded(digest, change=change))

    asyncio.run(ask())
    assert len(answers) == 4
    for answer in answers:
        assert (answer.status, answer.code) == (expected.status, expected.code)
        assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        assert answer.changed == {"rotate": 90, "flip": True, "invert": False}
