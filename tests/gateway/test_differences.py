"""Where two manifests differ."""

from gateway.differences import differences
from schemas.api.models import FieldChange
from schemas.manifest import EngineArguments, EnvVar, Manifest, SecretKey, WeightsSource

BASE = Manifest("small", WeightsSource("org/model"))


def other(**fields: object) -> Manifest:
    return Manifest("small", WeightsSource("org/model"), **fields)  # type: ignore[arg-type]


def test_the_same_manifest_differs_nowhere() -> None:
    assert differences(BASE, other()) == ()
    assert differences(None, None) == ()


def test_a_field_is_told_by_its_path_with_both_values() -> None:
    changed = other(license="mit", engine=EngineArguments(max_model_len=8))
    assert differences(BASE, changed) == (
        FieldChange("engine.maxModelLen", None, 8),
        FieldChange("license", "", "mit"),
    )


def test_items_of_a_list_are_compared_one_by_one() -> None:
    one = other(env=(EnvVar("A", "1"), EnvVar("B", "2")))
    two = other(env=(EnvVar("A", "1"), EnvVar("B", secret=SecretKey("s"))))
    paths = [change.path for change in differences(one, two)]
    assert paths == ["env[1].secret.key", "env[1].secret.name", "env[1].value"]
    gone = differences(one, BASE)
    assert {change.after for change in gone} == {None}
    assert "env[0].name" in {change.path for change in gone}


def test_a_labels_key_keeps_its_dots() -> None:
    changed = other(labels={"example.com/team": "search", "tier": "one"})
    paths = [change.path for change in differences(BASE, changed)]
    assert paths == ["labels[example.com/team]", "labels.tier"]


def test_beside_no_manifest_every_field_that_is_said_differs() -> None:
    paths = {change.path for change in differences(None, BASE)}
    assert {"id", "weights.target"} <= paths
