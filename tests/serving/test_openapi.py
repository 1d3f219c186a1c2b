"""The description holds: whatever is asked by it, or against it, is answered as it says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cxr_transfer.serving.middleware import PROTECTED
from cxr_transfer.serving.settings import Settings
from serving.asking import as_bytes, phantom, running

TOKEN = "0123456789abcdef"
ABSENT = "0" * 64


@pytest.fixture(scope="module")
def described(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_that_was_described(described, mode):
    # What has no parameters cannot be asked against its description.
    asked = described.include(method=["POST", "DELETE"]) if mode.is_negative else described

    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=asked.as_strategy(generation_mode=mode))
    def ask(case):
        # No schema can say which bytes are an image.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()


def test_answers_have_an_example(client):
    described = client.get("/openapi.json").json()
    answers = described["paths"]["/v1/predict"]["post"]["responses"]["200"]
    assert answers["content"]["application/json"]["example"]["answers"][0]["label"] == "normal"


def check(described, method, path, response):
    """Hold an answer to its description: status, type, schema, and the headers it promises."""
    operation = described[path][method]
    promised = operation.definition.raw["responses"][str(response.status_code)]
    absent = {name for name in promised["headers"] if name not in response.headers}
    assert not absent
    kinds = [kind.partition(";")[0] for kind in promised.get("content", {})]
    kind = response.headers.get("content-type", "").partition(";")[0]
    assert kind in (kinds or [""])
    operation.validate_response(response)


IMAGE = {"content": as_bytes(phantom()), "headers": {"content-type": "image/png"}}
PROVOKED = [
    ("POST", "/v1/predict", IMAGE, 200),
    ("POST", "/v1/predict", IMAGE | {"params": {"model": "none"}}, 404),
    ("POST", "/v1/predict", IMAGE | {"content": bytes(64 * 2**20 + 1)}, 413),
    ("POST", "/v1/predict", IMAGE | {"content": b"no image"}, 415),
    ("POST", "/v1/predict", {"content": b"no image"}, 415),
    ("POST", "/v1/predict", IMAGE | {"content": b""}, 422),
    ("POST", "/v1/predict", IMAGE | {"params": {"jane": "1"}}, 422),
    ("POST", "/v1/image", IMAGE, 200),
    ("POST", "/v1/image", IMAGE | {"content": b"no image"}, 415),
    ("POST", "/v1/report", IMAGE, 200),
    ("POST", "/v1/reports", IMAGE, 202),
    ("GET", "/v1/reports/{number}", {}, 404),
    ("GET", "/v1/reports/{number}/pdf", {}, 404),
    ("DELETE", "/v1/reports/{number}", {}, 404),
    ("POST", "/v1/images", IMAGE, 201),
    ("POST", "/v1/images/{sha256}/predictions", {}, 404),
    ("POST", "/v1/images/{sha256}/predictions", {"content": b"x"}, 415),
    ("POST", "/v1/images/{sha256}/heatmap", {}, 404),
    ("GET", "/v1/images/{sha256}/facts", {}, 404),
    ("GET", "/v1/images/{sha256}/facts", {"params": {"jane": "1"}}, 422),
    ("GET", "/v1/images/{sha256}/samples", {"params": {"scale": 2}}, 404),
    ("GET", "/v1/images/{sha256}/samples", {"params": {"jane": "1"}}, 422),
    ("DELETE", "/v1/images/{sha256}", {}, 404),
    ("GET", "/v1/models", {}, 200),
    ("GET", "/v1/models", {"headers": {"host": "other.example"}}, 400),
    ("GET", "/v1/models", {"headers": {"origin": "http://other.example"}}, 403),
    ("GET", "/v1/models", {"params": {"jane": "1"}}, 422),
    ("GET", "/v1/models/{name}/card", {}, 404),
    ("GET", "/v1/models/{name}/audit", {}, 404),
    ("GET", "/readyz", {}, 200),
    ("GET", "/healthz", {}, 200),
    ("GET", "/metrics", {}, 200),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), PROVOKED)
def test_status_headers_type_and_schema_are_as_described(
    described, client, method, path, options, status
):
    response = client.request(
        method, path.format(sha256=ABSENT, number=ABSENT[:32], name="random"), **options
    )
    assert response.status_code == status
    check(described, method, path, response)


def test_the_token_is_described_where_it_is_needed(checkpoint):
    with running(checkpoint, CXR_TOKEN=TOKEN) as server, server.client() as client:
        assert client.get("/openapi.json").status_code == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        content = client.get("/openapi.json", headers=bearer).json()
        described = schemathesis.openapi.from_dict(content)
        assert content["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        for path, methods in content["paths"].items():
            for method, operation in methods.items():
                address = path.format(sha256=ABSENT, number=ABSENT[:32], name="random")
                response = client.request(method, address)
                check(described, method, path, response)
                assert (response.status_code == 401) == path.startswith(PROTECTED), path
                assert ("security" in operation) == path.startswith(PROTECTED), path


def test_a_description_that_does_not_hold_is_noticed(described, client):
    """What the tests above rest on."""
    del (answer := client.get("/healthz")).headers["x-intended-use"]
    with pytest.raises(AssertionError):
        check(described, "GET", "/healthz", answer)
    with pytest.raises(Failure):
        check(described, "GET", "/v1/models", client.get("/healthz"))
    with pytest.raises(KeyError):
        check(described, "GET", "/metrics", client.get("/v1/nothing"))


def test_every_route_has_its_place_and_every_limit_is_told(client):
    content = client.get("/openapi.json").json()
    assert content["servers"][0]["url"] == "/"
    tags = {tag["name"] for tag in content["tags"]}
    limits, chosen = content["x-limits"], Settings()
    assert limits["file_bytes"] == chosen.upload_bytes
    assert limits["request_bytes"] == chosen.body_bytes
    assert limits["request_files"] == chosen.files
    for methods in content["paths"].values():
        for operation in methods.values():
            assert set(operation["tags"]) <= tags
            for status, response in operation["responses"].items():
                assert {"X-Request-ID", "X-Intended-Use"} <= response["headers"].keys()
                assert status != "503" or "Retry-After" in response["headers"]
            assert ("408" in operation["responses"]) == ("requestBody" in operation)
    begun = content["paths"]["/v1/jobs"]["post"]["parameters"]
    (kind,) = [one for one in begun if one["name"] == "kind"]
    assert "100 images at most" in kind["description"]
    predict = content["paths"]["/v1/predict"]["post"]
    assert "32 images at most, of 64 MB each and 128 MB" in predict["requestBody"]["description"]
