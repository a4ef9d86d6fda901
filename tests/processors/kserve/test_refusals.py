"""What servers say when they refuse, as codes. The bodies are recorded."""

import msgspec
import pytest

from processors.kserve.refusals import refusal

PATH = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
DENIED = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request'
FAILURE: dict[str, object] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
}


def status(code: int, message: str, **more: object) -> bytes:
    return msgspec.json.encode({**FAILURE, "message": message, "code": code, **more})


@pytest.mark.parametrize(
    ("code", "body", "path", "expected"),
    [
        (401, status(401, "Unauthorized"), PATH, "forbidden_cluster"),
        (403, status(403, "is forbidden"), PATH, "forbidden_cluster"),
        (403, b"<html>", PATH, "forbidden_cluster"),
        (404, status(404, "not found"), PATH, "not_found"),
        (404, b"404 page not found\n", PATH, "kserve_missing"),
        (404, b"404 page not found\n", "/api/v1/pods", "cluster_unreachable"),
        (409, status(409, "the object has been modified"), PATH, "conflict"),
        (410, status(410, "too old"), PATH, "expired"),
        (422, status(422, "is invalid"), PATH, "invalid"),
        (400, status(400, "bad request"), PATH, "invalid"),
        (429, status(429, "too many requests"), PATH, "cluster_unreachable"),
        (500, status(500, "failed to create typed patch object (/x): y"), PATH, "invalid"),
        (500, status(500, "etcdserver: request timed out"), PATH, "cluster_unreachable"),
        (503, b"<html>no backend</html>", PATH, "cluster_unreachable"),
        (502, b'{"error": "bad gateway"}', PATH, "cluster_unreachable"),
        (429, b"Too many requests, please try again later.\n", PATH, "cluster_unreachable"),
        (403, status(403, f"{DENIED}: no runtime"), PATH, "invalid"),
        (500, status(500, 'failed calling webhook "x": EOF'), PATH, "cluster_unreachable"),
    ],
)
def test_every_refusal_has_a_code(code: int, body: bytes, path: str, expected: str) -> None:
    assert refusal(code, body, path).code == expected


@pytest.mark.parametrize("code", [429, 502, 503])
def test_what_can_not_answer_now_is_still_taken_for_a_cluster(code: int) -> None:
    assert str(refusal(code, b"service unavailable\n", PATH)).endswith(f"now: HTTP {code}")


def test_a_conflict_names_its_fields() -> None:
    causes = [{"reason": "FieldManagerConflict", "message": "", "field": ".spec.predictor.model"}]

    error = refusal(409, status(409, "Apply failed", details={"causes": causes}), PATH)

    assert error.fields == (".spec.predictor.model",)


def test_an_api_that_is_not_served_is_named() -> None:
    assert "serving.kserve.io/v1beta1" in str(refusal(404, b"404 page not found\n", PATH))


@pytest.mark.parametrize(
    ("code", "body", "remedy"),
    [
        (503, b"", "kubectl cluster-info"),
        (403, status(403, "is forbidden"), "kserve-rbac.yaml"),
        (404, b"404 page not found\n", "install KServe"),
    ],
)
def test_a_cluster_that_can_not_be_used_comes_with_what_to_do(
    code: int, body: bytes, remedy: str
) -> None:
    assert remedy in str(refusal(code, body, PATH).details["remedy"])
