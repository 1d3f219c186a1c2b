"""The description holds: whatever is asked by it, or against it, is answered as it says."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance


def test_every_answer_is_one_that_was_described(server):
    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.as_strategy())
    def ask(case):
        # No schema can say which bytes are an image.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()


def test_answers_have_an_example(client):
    described = client.get("/openapi.json").json()
    answers = described["paths"]["/v1/predict"]["post"]["responses"]["200"]
    assert answers["content"]["application/json"]["example"]["answers"][0]["label"] == "normal"
