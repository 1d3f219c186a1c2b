"""One server, asked as a client asks: answers, refusals, and what must be in neither."""

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import random
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from cxr_transfer import INTENDED_USE, __version__
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.radiograph import decode
from cxr_transfer.serving.service import Read
from cxr_transfer.serving.worker_process import told
from serving.asking import alike, as_bytes, phantom, send, send_patiently, until

ASKED = (("/v1/predict", "files"), ("/v1/image", "file"), ("/v1/report", "files"))


def image_of_pydicom(name):
    return Path(get_testdata_file(name, download=False)).read_bytes()


FORMATS = {
    "jpeg": lambda: as_bytes(phantom(), "JPEG", quality=90),
    "png": lambda: as_bytes(phantom()),
    "png of 16 bits": lambda: as_bytes(phantom().astype(np.uint16) * 257),
    "tiff": lambda: as_bytes(phantom(), "TIFF"),
    "colour": lambda: as_bytes(Image.fromarray(phantom()).convert("RGB"), "JPEG"),
    "dicom": lambda: image_of_pydicom("RG1_UNCR.dcm"),
    "shin bone": lambda: image_of_pydicom("RG3_UNCR.dcm"),
    "blank": lambda: as_bytes(np.zeros((200, 200), np.uint8)),
}
BROKEN = {
    "empty": (b"", 422, "empty_file"),
    "text": (b"<html>hello</html>", 415, "unsupported_format"),
    "zip": (b"PK\x03\x04" + bytes(300), 415, "unsupported_format"),
    "truncated": (as_bytes(phantom(), "JPEG")[:4000], 422, "truncated_image"),
    "small": (as_bytes(np.zeros((20, 20), np.uint8)), 422, "too_small"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_is_answered_as_the_predictor_answers_it(client, predictor, kind):
    content = FORMATS[kind]()
    expected = predictor.predict(content)
    expected = dataclasses.replace(expected, message=told(expected.code, expected.message))
    response = send(client, content)
    body = response.json()
    assert response.status_code == (200 if expected.status != "error" else 422)
    (answer,) = body["answers"]
    assert alike(answer, expected)
    assert answer["file"] == "image"
    assert body["intended_use"] == INTENDED_USE == response.headers["x-intended-use"]
    assert body["version"] == __version__
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["model"] == predictor.model


def test_many_at_once_each_get_their_own_answer(server, predictor):
    images = {f"{seed}.png": as_bytes(phantom(seed, pixels=160)) for seed in range(24)}
    expected = {name: predictor.predict(content) for name, content in images.items()}
    spread = {tuple(answer.probabilities.values()) for answer in expected.values()}
    assert len(spread) == len(images), "images of equal scores could be swapped unnoticed"

    def ask(name):
        with server.client() as client:
            (answer,) = send_patiently(client, images[name], name=name).json()["answers"]
        return name, answer

    asked = random.Random(0).sample([*images] * 3, 3 * len(images))
    with ThreadPoolExecutor(12) as pool:
        for name, answer in pool.map(ask, asked):
            assert answer["file"] == name
            assert alike(answer, expected[name])


def test_many_images_in_one_request_keep_their_order(client, predictor):
    contents = [as_bytes(phantom(seed)) for seed in range(5)]
    contents[2] = b"no image"
    response = send(client, *contents)
    assert response.status_code == 200
    answers = response.json()["answers"]
    assert [answer["status"] for answer in answers] == [*["ok"] * 2, "error", *["ok"] * 2]
    assert all(alike(*pair) for pair in zip(answers, map(predictor.predict, contents), strict=True))


@pytest.mark.parametrize("name", ["image.jpg", "C:\\images\\1.DCM", "x" * 300 + ".tif"])
def test_a_name_that_promises_another_format_is_warned_of(
    server, client, predictor, name, tmp_path
):
    path = tmp_path / f"image{name[-4:]}"
    path.write_bytes(as_bytes(phantom()))
    expected = predictor.predict(path)
    assert any("the content is PNG" in warning for warning in expected.warnings)
    (answer,) = send(client, path.read_bytes(), name=name).json()["answers"]
    assert alike(answer, expected)
    shown = send(client, path.read_bytes(), path="/v1/image", field="file", name=name)
    assert json.loads(shown.headers["x-cxr-warnings"]) == [expected.warnings[0]]
    until(lambda: shown.headers["x-request-id"] in "".join(server.lines))
    assert name[-4:] not in "".join(server.lines)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_single_bad_image_has_its_status(client, kind):
    content, status, code = BROKEN[kind]
    response = send(client, content)
    (answer,) = response.json()["answers"]
    assert (response.status_code, answer["status"], answer["code"]) == (status, "error", code)
    assert answer["label"] is None
    assert answer["probabilities"] == {}
    assert answer["message"].startswith("Expected ")


def test_a_bomb_is_refused_by_its_header(client):
    header = b"IHDR" + struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    content += struct.pack(">I", zlib.crc32(header))
    content += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    response = send(client, content)
    assert response.status_code == 413
    assert response.json()["answers"][0]["code"] == "too_many_pixels"


def test_a_heat_map_fits_over_its_image(client):
    content = as_bytes(phantom())
    (answer,) = send(client, content, heat_map="true").json()["answers"]
    kind, _, encoded = answer["heat_map"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as overlay:
        assert overlay.mode == "RGBA"
        radiograph = decode(content)
        assert overlay.width / overlay.height == pytest.approx(
            radiograph.width / radiograph.height, rel=0.02
        )
    assert answer["lung_share"] is None or 0 <= answer["lung_share"] <= 1
    assert 0 < answer["lung_area"] < 1


def test_an_answer_tells_which_part_of_the_image_the_model_sees(client):
    height, width = phantom().shape
    answers = send(client, as_bytes(phantom()), b"no image").json()["answers"]
    assert [answer["crop"] for answer in answers] == [[0, 0, width, height], None]


def test_the_part_that_a_model_sees_is_told_in_pixels_of_the_image():
    image = np.zeros((4, 4), np.uint8)
    box = (0.1, 0.25, 0.9, 1.0)
    read = Read((Prepared("", image, box=box), Prepared("", None)), height=200, width=300)
    assert [read.crop(0), read.crop(1)] == [[30, 50, 270, 200], None]


def test_an_image_comes_back_to_be_looked_at(client):
    content = as_bytes(Image.fromarray(phantom()).resize((2400, 2100)))
    response = send(client, content, path="/v1/image", field="file")
    assert response.headers["content-type"] == "image/png"
    assert json.loads(response.headers["x-cxr-warnings"]) == []
    with Image.open(io.BytesIO(response.content)) as radiograph:
        assert radiograph.mode == "L"
        assert max(radiograph.size) == 2048
    small = as_bytes(phantom())
    with Image.open(
        io.BytesIO(send(client, small, path="/v1/image", field="file").content)
    ) as radiograph:
        assert (np.asarray(radiograph) == phantom()).all()


def test_an_image_that_cannot_be_read_cannot_be_looked_at(client):
    response = send(client, b"no image", path="/v1/image", field="file")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_format")


def test_a_report_is_a_pdf(client):
    response = send(client, as_bytes(phantom()), b"no image", path="/v1/report")
    assert response.headers["content-type"] == "application/pdf"
    assert response.content.startswith(b"%PDF-")
    assert (
        response.content.count(b"/Type /Page\n") + response.content.count(b"/Type /Page ") == 3
    ), "a summary, and a page each"


def test_models_are_told(client, predictor):
    told = client.get("/v1/models").json()
    assert told["default"] == "random"
    (model,) = told["models"]
    assert model["labels"] == list(predictor.card.labels)
    assert model["weights_sha256"] == predictor.card.weights_sha256
    assert model["audit"] == "not done"
    assert model["card"] is False
    assert model["size"] == [48, 48]
    assert model["score_scale"] == predictor.score_scale


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\images\\one.dcm", "one.dcm"),
        ("ab\u202ec.png", "abc.png"),
        ("x" * 300, "x" * 120),
        ("=cmd()", "=cmd()"),
        ("фильм.png", "фильм.png"),
    ],
)
def test_names_are_never_paths(client, name, shown):
    (answer,) = send(client, as_bytes(phantom()), name=name).json()["answers"]
    assert answer["file"] == shown


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": b"image"}, 415, "not_a_form"),
        ({"json": {"files": 1}}, 415, "not_a_form"),
        ({"data": {"model": "random"}, "files": {"other": b"x"}}, 422, "unknown_field"),
        ({"data": {"model": "random"}, "files": {}}, 415, "not_a_form"),
        ({"files": {"files": (None, "text")}}, 422, "not_a_file"),
        ({"files": {"model": (None, "random")}}, 422, "no_files"),
        ({"files": {"files": b"x"}, "data": {"heatmap": "true"}}, 422, "unknown_field"),
        ({"files": {"files": b"x"}, "data": {"model": ["random"] * 2}}, 422, "repeated_field"),
        ({"files": {"files": b"x"}, "params": {"heatmap": "true"}}, 422, "unknown_field"),
        ({"content": b"", "params": {"model": "none"}}, 404, "unknown_model"),
        ({"files": {"files": b"x"}, "data": {"model": "none"}}, 404, "unknown_model"),
        ({"files": {"files": b"x"}, "data": {"heat_map": "perhaps"}}, 422, "bad_field"),
        (
            {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}},
            422,
            "bad_form",
        ),
        (
            {"content": b"xx", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            422,
            "bad_form",
        ),
        ({"files": [("files", b"x")] * 33}, 422, "too_many_files"),
        ({"files": [("files", b"x")], "data": {f"f{n}": "1" for n in range(20)}}, 422, None),
        ({"files": {"files": b"x"}, "headers": {"origin": "http://other.example"}}, 403, None),
        ({"files": {"files": b"x"}, "headers": {"origin": "http://["}}, 403, "other_site"),
        ({"files": {"files": b"x"}, "headers": {"host": "other.example"}}, 400, "unknown_host"),
        (
            {
                "content": b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--b--',
                "headers": {"content-type": "multipart/form-data; boundary=b; charset=undefined"},
            },
            422,
            "bad_form",
        ),
    ],
)
def test_what_is_no_request_for_images_is_refused(client, options, status, code):
    response = client.post("/v1/predict", **options)
    body = response.json()
    assert response.status_code == status
    assert code is None or body["code"] == code
    assert body["message"].startswith("Expected ")
    assert body["intended_use"] == INTENDED_USE
    assert body["request_id"] == response.headers["x-request-id"]
    assert is_problem(response)


def is_problem(response):
    """Tell whether a refusal is what RFC 9457 calls problem details, beside fields of our own."""
    body = response.json()
    return (
        response.headers["content-type"] == "application/problem+json"
        and body["status"] == response.status_code
        and body["type"] == f"urn:cxr-transfer:error:{body['code']}"
        and body["title"][0].isupper()
        and body["detail"] == body["message"]
        and response.headers["x-request-id"] in body["instance"]
    )


def test_every_refusal_is_a_problem(client):
    refusals = {
        404: client.get("/v1/nothing"),
        405: client.get("/v1/predict"),
        400: client.get("/healthz", headers={"host": "other.example"}),
        403: client.get("/", headers={"origin": "http://other.example"}),
        415: client.post("/v1/image", content=b"x", headers={"content-type": "image/png"}),
        422: send(client, b""),
    }
    for status, response in refusals.items():
        assert response.status_code == status
        assert is_problem(response), status
    assert refusals[405].headers["allow"] == "POST"
    assert refusals[422].json()["answers"][0]["code"] == refusals[422].json()["code"]


def test_an_unknown_parameter_is_refused_with_what_is_expected(client):
    body = client.get("/v1/models", params={"limit": 3}).json()
    assert "Expected nothing in the query, but got 'limit'" in body["message"]
    body = client.post("/v1/predict?heatmap=true", files={"files": b"x"}).json()
    assert "did you mean 'heat_map'?" in body["message"]
    assert client.get("/?from=a-link").status_code == 200


@pytest.mark.parametrize("field", [{"model": "random"}, {"heat_map": "true"}, {"rotate": "90"}])
def test_a_value_in_the_query_and_in_the_form_is_refused_even_if_it_is_the_same(client, field):
    image = as_bytes(phantom())
    assert send(client, image, **field).status_code == 200
    refused = client.post("/v1/predict", files={"files": image}, data=field, params=field)
    assert (refused.status_code, refused.json()["code"]) == (422, "repeated_field")
    assert next(iter(field)) in refused.json()["message"]


@pytest.mark.parametrize("query", ["flip", "flip=", "heat_map", "invert=", "rotate"])
def test_a_parameter_without_a_value_is_refused_with_its_values(client, query):
    name = query.removesuffix("=")
    values = "0, 90, 180 or 270" if name == "rotate" else "true or false"
    image = as_bytes(phantom())
    for refused in (
        client.post(f"/v1/predict?{query}", files={"files": image}),
        send(client, image, **{name: ""}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_field")
        assert f"Expected {values} in {name}, but got no value" in refused.json()["message"]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, "for_processing"),
        ({"Modality": "CT"}, "wrong_modality"),
        ({"BodyPartExamined": "HAND"}, "wrong_modality"),
    ],
)
def test_what_to_do_about_a_header_can_be_done_by_whoever_sends_the_image(client, facts, code):
    radiograph = pydicom.dcmread(io.BytesIO(image_of_pydicom("RG1_UNCR.dcm")))
    for name, value in facts.items():
        setattr(radiograph, name, value)
    radiograph.save_as(content := io.BytesIO())
    (answer,) = send(client, content.getvalue()).json()["answers"]
    shown = send(client, content.getvalue(), path="/v1/image", field="file").json()
    assert (answer["code"], shown["code"]) == (code, code)
    for message in (answer["message"], shown["message"]):
        assert message.startswith("Expected ")
        assert "'cxr predict --any-modality' on a command line" in message
        assert "any_modality=True" not in message


@pytest.mark.parametrize("kind", ["image/png", "application/dicom", "image/x-unknown; a=b"])
def test_an_image_may_be_sent_as_it_is(client, predictor, kind):
    content = as_bytes(phantom())
    response = client.post("/v1/predict", content=content, headers={"content-type": kind})
    (answer,) = response.json()["answers"]
    assert alike(answer, predictor.predict(content))
    assert answer["file"] == "image 1"
    shown = client.post("/v1/image", content=content, headers={"content-type": kind})
    assert shown.headers["x-cxr-format"] == "PNG"


def test_several_images_where_one_is_meant_are_refused(client):
    response = send(client, as_bytes(phantom()), b"x", path="/v1/image", field="file")
    assert (response.status_code, response.json()["code"]) == (422, "too_many_files")


def test_each_answer_has_its_index_and_the_hash_of_what_was_sent(client):
    contents = [as_bytes(phantom()), b"no image", as_bytes(phantom(1, pixels=700), "TIFF")]
    answers = send(client, *contents).json()["answers"]
    assert len(contents[2]) > 256 * 1024
    assert [answer["index"] for answer in answers] == [0, 1, 2]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    assert [answer["sha256"] for answer in answers] == hashes


def test_a_client_may_name_its_request(server, client):
    given = client.get("/healthz", headers={"x-request-id": "seen-0001"})
    assert given.headers["x-request-id"] == "seen-0001"
    odd = client.get("/healthz", headers={"x-request-id": "a b<script>"})
    assert "script" not in odd.headers["x-request-id"]
    until(lambda: odd.headers["x-request-id"] in "".join(server.lines))
    assert "seen-0001" not in "".join(server.lines)


def test_a_link_from_another_site_may_be_followed(client):
    other = {"sec-fetch-site": "cross-site"}
    assert client.get("/", headers=other | {"sec-fetch-mode": "navigate"}).status_code == 200
    assert client.get("/", headers=other | {"sec-fetch-mode": "no-cors"}).status_code == 403
    posted = other | {"sec-fetch-mode": "navigate", "origin": "http://other.example"}
    assert client.post("/v1/predict", headers=posted).status_code == 403


def test_the_page_may_load_nothing_from_elsewhere(client):
    for path in ("/", "/docs", "/no-such-file.js", "/v1/models"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert client.get("/..%2fapi.py").status_code == 404
    assert client.get(f"/{'a' * 300}.js").status_code == 404


def test_other_web_sites_get_no_leave_to_read(client):
    response = client.options(
        "/v1/predict",
        headers={"origin": "http://other.example", "access-control-request-method": "POST"},
    )
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_metrics_count(client):
    def images():
        lines = client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith('cxr_images_total{code="",status="ok"}')]
        return float(found[0].split()[1]) if found else 0

    before = images()
    send(client, as_bytes(phantom()))
    assert images() == before + 1


def readable(content):
    """An answer, and what stands in the streams of a PDF."""
    parts = content.split(b"stream\n")[1:] if content.startswith(b"%PDF-") else []
    for part in parts:
        with contextlib.suppress(zlib.error):
            content += zlib.decompressobj().decompress(part)
    return content


def test_no_identity_of_a_dicom_is_answered_or_logged(server, client):
    import pydicom

    radiograph = pydicom.dcmread(get_testdata_file("RG1_UNCR.dcm", download=False))
    secrets = {
        "PatientName": "SECRETNAME^ZEBRA",
        "PatientID": "SECRETID4711",
        "AccessionNumber": "SECRETACC",
        "InstitutionName": "SECRETPLACE",
        "PatientBirthDate": "19010203",
    }
    for tag, value in secrets.items():
        setattr(radiograph, tag, value)
    content = io.BytesIO()
    radiograph.save_as(content)
    whole = content.getvalue()
    for one in (whole, whole[: len(whole) // 2], whole[:4000]):
        said = b""
        for path, field in (
            ("/v1/predict", "files"),
            ("/v1/image", "file"),
            ("/v1/report", "files"),
        ):
            response = send(client, one, path=path, field=field, name="SECRETFILE.dcm")
            assert response.status_code in (200, 415, 422)
            headers = json.dumps(dict(response.headers)).encode()
            said += readable(response.content).replace(b"SECRETFILE.dcm", b"") + headers
        said += client.get("/metrics").content
        assert not any(value.encode() in said for value in secrets.values())
        last = response.headers["x-request-id"]
    until(lambda: last in "".join(server.lines))
    logged = "".join(server.lines)
    assert '"route": "/v1/report"' in logged
    assert "SECRET" not in logged
    assert "19010203" not in logged


def test_a_storm_of_bad_images_does_no_harm(server, predictor):
    good = as_bytes(phantom(), "JPEG")
    expected = predictor.predict(good)
    rng = np.random.default_rng(0)

    def radiograph(number):
        if number % 2:
            return good
        damaged = bytearray(good)
        for place in rng.integers(0, len(damaged), 20):
            damaged[place] = rng.integers(0, 256)
        cut = [bytes(damaged), good[: len(good) // 2], b"", bytes(rng.bytes(2000)), b"PK\x03\x04"]
        return cut[number // 2 % 5]

    images = [radiograph(number) for number in range(60)]

    def ask(content):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            return send_patiently(client, content)

    with ThreadPoolExecutor(8) as pool:
        for content, response in zip(images, pool.map(ask, images), strict=True):
            assert response.status_code < 500
            if content is good:
                assert alike(response.json()["answers"][0], expected)
