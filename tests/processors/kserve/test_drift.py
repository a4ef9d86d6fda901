"""Where two states of an object differ, as paths."""

from processors.kserve.cluster import Object
from processors.kserve.drift import drift


def said(predictor: Object, labels: Object | None = None) -> Object:
    return {"metadata": {"labels": labels or {}}, "spec": {"predictor": predictor}}


def test_equal_objects_do_not_differ() -> None:
    assert drift(said({"args": ["a"]}), said({"args": ["a"]})) == ()


def test_fields_that_were_changed_added_or_taken_away_are_named() -> None:
    found = said({"args": ["b"], "added": 1}, {"kept": "x"})
    corrected = said({"args": ["a"], "gone": {"deep": 1}}, {"kept": "x", "lost": "y"})

    assert drift(found, corrected) == (
        "metadata.labels.lost",
        "spec.predictor.added",
        "spec.predictor.args",
        "spec.predictor.gone",
    )


def test_status_and_version_are_no_drift() -> None:
    found, corrected = said({}), said({})
    found |= {"status": {"ready": True}}
    found["metadata"]["resourceVersion"] = "1"

    assert drift(found, corrected) == ()
