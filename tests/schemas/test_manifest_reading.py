"""Manifests as people write them."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.manifest import (
    MAX_MANIFEST_BYTES,
    EngineArguments,
    EnvVar,
    Manifest,
    Resources,
    SecretKey,
    WeightsSource,
)
from schemas.manifest_reading import manifest_schema, read_manifest, written
from schemas.manifest_words import FIELDS, KINDS, OTHER_KINDS
from schemas.message import Rejected

WHOLE: dict[str, Any] = {
    "id": "llama-3-8b",
    "displayName": "Llama 3, 8B",
    "weights": {"repo": "meta/llama-3-8b", "revision": "v1"},
    "runtime": "vllm",
    "engine": {
        "tensorParallelSize": 2,
        "dtype": "bfloat16",
        "maxModelLen": 8192,
        "gpuMemoryUtilization": 0.9,
        "extra": ["--enable-prefix-caching", "--max-logprobs=5", "--seed", "-1"],
    },
    "env": [
        {"name": "EMPTY", "value": ""},
        {"name": "HF_TOKEN", "secret": {"name": "hub", "key": "token"}},
        {"name": "MODE", "configMap": {"name": "modes", "key": "fast"}},
    ],
    "resources": {"cpu": "4", "memory": "16Gi", "gpus": 2},
    "nodeSelector": {"example.com/pool": "gpu"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "volumes": [
        {"name": "shm", "mountPath": "/dev/shm", "memory": "2Gi"},
        {"name": "cache", "mountPath": "/cache", "claim": "cache", "readOnly": True},
    ],
    "replicas": {"min": 2, "max": 3},
    "labels": {"mllm/source": "team-a"},
    "description": "For chat.\nAnd for nothing else.",
    "license": "llama3",
    "aliases": ["chat", "default-chat"],
}
LEAST: dict[str, Any] = {"id": "m", "weights": {"target": "org/m"}}

SCHEMA = jsonschema_rs.Draft202012Validator(manifest_schema())


def errors_of(data: object) -> list[str]:
    with pytest.raises(Rejected) as refused:
        read_manifest(data)
    assert refused.value.code == "invalid_manifest"
    return msgspec.convert(refused.value.details["errors"], list[str])


def with_(**fields: object) -> dict[str, Any]:
    return LEAST | fields


@pytest.mark.parametrize("data", [WHOLE, LEAST])
def test_what_is_valid_is_read_and_written_again_as_it_was(data: dict[str, Any]) -> None:
    manifest = read_manifest(data)

    assert written(manifest) == data
    assert read_manifest(msgspec.to_builtins(manifest)) == manifest
    assert SCHEMA.is_valid(data)


LINES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=20)
NAMES = st.from_regex(re.compile(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", re.ASCII), fullmatch=True)
MANIFESTS = st.builds(
    Manifest,
    id=NAMES,
    weights=st.builds(WeightsSource, target=NAMES, file=LINES.filter(lambda t: "/" not in t))
    | st.builds(WeightsSource, repo=NAMES, revision=NAMES),
    display_name=LINES,
    runtime=st.just("") | NAMES,
    engine=st.builds(
        EngineArguments,
        tensor_parallel_size=st.integers(1, 8),
        max_model_len=st.none() | st.integers(1, 10**6),
        gpu_memory_utilization=st.none() | st.floats(0.01, 1),
        trust_remote_code=st.booleans(),
    ),
    env=st.lists(
        st.builds(EnvVar, name=NAMES.map(lambda t: t.replace("-", "_")), value=LINES)
        | st.builds(EnvVar, name=st.just("S"), secret=st.builds(SecretKey, name=NAMES)),
        unique_by=lambda variable: variable.name,
        max_size=5,
    ).map(tuple),
    resources=st.builds(Resources, gpus=st.integers(0, 8), memory=st.sampled_from(["", "16Gi"])),
    labels=st.dictionaries(NAMES, NAMES, max_size=3),
    description=LINES,
).filter(lambda manifest: manifest.weights.file != "..")


@given(MANIFESTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_manifest_survives_being_written_and_read(manifest: Manifest) -> None:
    assert read_manifest(written(manifest)) == manifest
    assert read_manifest(msgspec.json.decode(msgspec.json.encode(manifest))) == manifest
    assert SCHEMA.is_valid(written(manifest))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(FIELDS["Manifest"])), JSON)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_in_a_field_is_read_or_complained_about(field: str, data: object) -> None:
    whole = with_(**{field: data})
    if SCHEMA.is_valid(whole):
        with suppress(Rejected):  # by a rule between fields
            read_manifest(whole)
    else:
        assert errors_of(whole)


MISTAKES: list[tuple[object, str]] = [
    ([], "has to be fields and their values, not a list"),
    ("id: m", "has to be fields and their values, not text"),
    ({"id": "m"}, "weights: is missing"),
    (with_(id=7), "id: has to be text, not a number: put it in quotes"),
    (with_(id=""), "id: has to be letters, digits, dots, dashes and underscores, as in llama-3-8b"),
    (with_(id="a" * 64), "id: has 64 characters, and 63 is the most"),
    (with_(id="m\n"), "id: has to be letters, digits, dots, dashes and underscores, as in llama"),
    (with_(licence="mit"), "licence: there is no such field; did you mean license?"),
    (with_(display_name="M"), "display_name: there is no such field; did you mean displayName?"),
    (with_(maxModelLen=8), "maxModelLen: there is no such field; did you mean engine.maxModelLen?"),
    (with_(zzz=1), "zzz: there is no such field"),
    (with_(license=None), "license: is empty: give it a value, or leave it out"),
    (with_(license="\ud800"), "license: has half a character in it (a lone surrogate)"),
    (with_(license="a\nb"), "license: has to be one line of text"),
    (with_(license=date(2026, 1, 1)), "license: has to be text, not a date"),
    (with_(runtime="../sh"), "runtime: has to be an engine's name, as in vllm or llamacpp"),
    (with_(weights={}), "weights: either target or repo has to be given"),
    (
        with_(weights={"target": "a", "repo": "b"}),
        "weights: either target or repo has to be given, not both",
    ),
    (with_(weights={"target": "../a"}), "weights.target: has to be a name or org/name"),
    (with_(weights={"repo": "a/b/c"}), "weights.repo: has to be a repository of the Hub"),
    (
        with_(weights={"target": "a", "revision": "v2"}),
        "weights.revision: only a repo has revisions; installed weights are what they are",
    ),
    (
        with_(weights={"target": "a", "file": "../b.gguf"}),
        "weights.file: has to be a path within the weights",
    ),
    (
        with_(engine={"tensorParalel": 2}),
        "engine.tensorParalel: there is no such field; did you mean tensorParallelSize?",
    ),
    (with_(engine={"dtype": "bf16"}), "engine.dtype: has to be one of auto, bfloat16"),
    (
        with_(engine={"dtype": "bfloat"}),
        "engine.dtype: has to be one of auto, bfloat16, float16, float32; did you mean bfloat16?",
    ),
    (with_(engine={"threads": 0}), "engine.threads: has to be from 1 to 4096"),
    (with_(engine={"threads": True}), "engine.threads: has to be a whole number, not true or"),
    (with_(engine={"threads": 1.5}), "engine.threads: has to be a whole number, not a number"),
    (with_(engine={"trustRemoteCode": 1}), "engine.trustRemoteCode: has to be true or false"),
    (
        with_(engine={"gpuMemoryUtilization": float("nan")}),
        "engine.gpuMemoryUtilization: has to be more than 0 and at most 1",
    ),
    (with_(engine={"extra": "--x"}), "engine.extra: has to be a list, not text"),
    (with_(engine={"extra": [""]}), "engine.extra[0]: can not be empty"),
    (with_(engine={"extra": ["-x"] * 101}), "engine.extra: has 101 entries, and 100 is the most"),
    (with_(env=[{"name": "A"}]), "env[0]: one of value, secret and configMap has to be given"),
    (
        with_(env=[{"name": "A", "value": "x", "secret": {"name": "s"}}]),
        "env[0]: only one of value, secret and configMap can be given",
    ),
    (with_(env=[{"name": "A-B", "value": ""}]), "env[0].name: has to be letters, digits and"),
    (with_(env=[{"name": "A", "value": "x"}] * 2), "env: more than one has the name A"),
    (with_(resources={"cpu": 4}), "resources.cpu: has to be text, not a number: put it in quotes"),
    (with_(resources={"memory": "16GB"}), "resources.memory: has to be a quantity such as 500m"),
    (with_(labels={"a b": "c"}), "labels[a b]: its name has to be a label's name"),
    (with_(labels={"a": "c d"}), "labels[a]: has to be a label's value"),
    (with_(labels={1: "c"}), "labels[1]: its name has to be text"),
    (with_(labels=["a"]), "labels: has to be names and their values, not a list"),
    (
        with_(volumes=[{"name": "v", "mountPath": "/v"}]),
        "volumes[0]: exactly one of claim, configMap, secret and memory has to be given",
    ),
    (
        with_(volumes=[{"name": "v", "mountPath": "/a/../..", "claim": "c"}]),
        "volumes[0].mountPath: has to be a path below /, without any ..",
    ),
    (
        with_(
            volumes=[
                {"name": "a", "mountPath": "/v", "claim": "c"},
                {"name": "b", "mountPath": "/v/", "claim": "c"},
            ]
        ),
        "volumes: more than one has the mountPath /v",
    ),
    (
        with_(volumes=[{"name": "a", "mountPath": f"/{n}", "claim": "c"} for n in "xy"]),
        "volumes: more than one has the name a",
    ),
    (
        with_(tolerations=[{"effect": ""}]),
        "tolerations[0].key: has to be given, unless the operator is Exists",
    ),
    (
        with_(tolerations=[{"operator": "Exists", "value": "x"}]),
        "tolerations[0].value: says nothing with the operator Exists",
    ),
    (
        with_(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
        "tolerations[0].tolerationSeconds: says something with the effect NoExecute alone",
    ),
    (
        with_(tolerations=[{"key": "a", "effect": "NoExecute", "tolerationSeconds": 2**70}]),
        "tolerations[0].tolerationSeconds: has to be from",
    ),
    (with_(replicas={"min": 3, "max": 2}), "replicas: min is 3 and max 2: there is nothing"),
    (with_(replicas={"max": 0}), "replicas.max: has to be from 1 to 1000"),
    (with_(aliases=["m"]), "aliases: m is the model's own id"),
    (with_(id="status"), "id: status is what the list of models itself answers to"),
    (with_(aliases=["a", "a"]), "aliases: a is there more than once"),
]


@pytest.mark.parametrize(("data", "message"), MISTAKES, ids=[text for _, text in MISTAKES])
def test_each_mistake_has_its_message(data: object, message: str) -> None:
    [error] = errors_of(data)

    assert error.startswith(message)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--max-model-len", "--max-model-len is engine.maxModelLen: say it there"),
        ("--max_model_len=4096", "--max_model_len is engine.maxModelLen: say it there"),
        ("-ngl", "-ngl is engine.gpuLayers: say it there"),
        ("--trust-remote-code", "--trust-remote-code is engine.trustRemoteCode"),
        ("--trust_remote_code=true", "--trust_remote_code is engine.trustRemoteCode"),
        ("--trust-rem", "--trust-rem is engine.trustRemoteCode"),
        ("--no-trust-remote-code", "--no-trust-remote-code is engine.trustRemoteCode"),
        ("--port=80", "--port is not a manifest's to say"),
        ("--config", "--config is not a manifest's to say"),
        ("--seed 7", "a flag and its value are two entries"),
    ],
)
def test_extra_arguments_say_nothing_that_is_said_elsewhere(argument: str, message: str) -> None:
    [error] = errors_of(with_(engine={"extra": ["--ok", argument]}))

    assert error.startswith(f"engine.extra[1]: {message}")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    errors = errors_of(
        {
            "weights": {"target": "a", "fiel": "b"},
            "engine": {"dtype": "half", "extra": ["--port", "1"]},
            "env": [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}],
            "labels": {"a": 1, "b": 2},
        }
    )

    assert {error.partition(":")[0] for error in errors} == {
        "id", "weights.fiel", "engine.dtype", "engine.extra[0]", "env", "labels[a]", "labels[b]",
    }  # fmt: skip


def test_a_manifest_that_is_too_long_to_be_kept_is_refused() -> None:
    env = [{"name": f"A{n}", "value": "é" * 4000} for n in range(40)]

    [error] = errors_of(with_(env=env))

    assert error.startswith("it is too long: ")
    assert str(MAX_MANIFEST_BYTES) in error


def test_nobody_is_told_a_thousand_mistakes() -> None:
    assert len(errors_of(with_(labels={str(n): n for n in range(1000)}))) == 100


@pytest.mark.parametrize(
    "wrong",
    [
        {f"{number}field": 1 for number in range(50_000)},
        {"labels": {f"!{number}": "!" for number in range(50_000)}},
        {"env": [{f"{number}field": 1 for number in range(500)} for _ in range(100)]},
    ],
    ids=["fields", "labels", "variables"],
)
def test_a_thousand_mistakes_cost_no_more_than_a_few(wrong: dict[str, Any]) -> None:
    begun = time.process_time()

    with pytest.raises(Rejected):
        read_manifest({"id": "m", "weights": {"target": "a"}} | wrong)

    assert time.process_time() - begun < 0.3


def test_the_schema_refuses_what_it_does_not_know_at_any_depth() -> None:
    for data in (with_(x=1), with_(engine={"x": 1}), with_(env=[{"name": "A", "x": 1}])):
        assert not SCHEMA.is_valid(data)


def test_the_schema_tells_editors_what_each_field_is() -> None:
    schema = manifest_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "urn:mllm:schema:model-manifest"
    for definition in (schema, *schema["$defs"].values()):
        assert definition["title"]
        assert all(field["description"] for field in definition["properties"].values())
    jsonschema_rs.meta.validate(schema)


def patterns(schema: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Every pattern, and the field it belongs to."""
    if isinstance(schema, list):
        for entry in msgspec.convert(schema, list[Any]):
            yield from patterns(entry, field)
    elif isinstance(schema, dict):
        for key, value in msgspec.convert(schema, dict[str, Any]).items():
            if key == "pattern" and isinstance(value, str):
                yield field, value
            else:
                yield from patterns(value, key if key not in STRUCTURE else field)


STRUCTURE = {"anyOf", "items", "propertyNames", "additionalProperties"}


def test_every_pattern_has_words() -> None:
    found = list(patterns(manifest_schema()))

    assert len(found) > 20
    for field, pattern in found:
        assert field in OTHER_KINDS or pattern in KINDS
