"""What a name from outside may be."""

from typing import Any

import msgspec
import pytest

from schemas import names
from schemas.token import TokenId

GOOD = [
    (names.Namespace, "default"),
    (names.Namespace, "a"),
    (names.Target, "gpt2"),
    (names.Target, "org/Model-7B.v1_x"),
    (names.Repo, "org/model"),
    (names.Revision, "refs/pr/1"),
    (names.Store, "default"),
    (names.JobId, "01J00000000000000000000001"),
    (names.SecretName, "hub.token"),
    (names.Glob, "**/*.safetensors"),
    (names.Label, "slot:main"),
    (names.MaybeTarget, ""),
    (names.MaybeStore, ""),
    (names.MaybeSecretName, ""),
    (TokenId, "A1b2"),
]
BAD = [
    (names.Namespace, ["", "A", "-a", "a-", "a.b", "*", ">", "a b", "a" * 64]),
    (
        names.Target,
        ["", "..", "../x", "a/..", "/a", "a/", "a/b/c", ".a", "a.", "a\\b", "a\0", "a b"],
    ),
    (names.Repo, ["", "a/b/c", "../b", "a b"]),
    (names.Revision, ["", "-x", "/x", ".x", "a b", "x" * 201]),
    (names.Store, ["", "A", "a_b", "a/b"]),
    (names.JobId, ["", "x", "81J00000000000000000000001", "01j00000000000000000000001", "*"]),
    (names.SecretName, ["", "A", "-a", "a/b"]),
    (names.Glob, ["", "a\0b", "a\nb", "x" * 201]),
    (names.Label, ["", "a\nb", "x" * 101]),
    (names.MaybeTarget, ["..", "a/b/c"]),
    (names.MaybeStore, ["A"]),
    (names.MaybeSecretName, ["A"]),
    (TokenId, ["", "a-b", "a" * 65]),
]


@pytest.mark.parametrize(("kind", "name"), GOOD)
def test_a_good_name_is_taken_as_it_is(kind: Any, name: str) -> None:
    assert msgspec.convert(name, kind) == name


@pytest.mark.parametrize(("kind", "bad"), BAD)
def test_a_bad_name_is_refused(kind: Any, bad: list[str]) -> None:
    for name in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(name, kind)


@pytest.mark.parametrize(("kind", "name"), GOOD)
def test_no_name_ends_in_a_line_feed(kind: Any, name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{name}\n", kind)


def test_a_namespace_is_told_from_other_text() -> None:
    assert names.is_namespace("default")
    assert not names.is_namespace("default\n")
    assert not names.is_namespace(names.ALL)


@pytest.mark.parametrize("target", ["org/model", "a.b", "*", ">", "x y", "é"])
def test_the_owner_of_a_target_has_an_id_that_is_safe_anywhere(target: str) -> None:
    assert names.weights_id(target).isalnum()
    assert names.weights_id(target) == names.weights_id(target)
    assert names.weights_id(target) != names.weights_id(target + "x")
