from typing import Any

import pytest

from cli.exits import Exit
from cli.failures import Misused
from cli.jsonpath import Template

JOBS: Any = {
    "items": [
        {"id": "a", "status": "failed", "code": "gated", "bytes": 10, "tags": {"x-y": "z"}},
        {"id": "b", "status": "completed", "code": "", "bytes": 2000},
        {"id": "c", "status": "failed", "code": "no_space", "bytes": 30, "of": {"id": "deep"}},
    ],
    "nextCursor": None,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].id}", "a b c"),
        (".items[*].id", "a b c"),
        ("{$.items[0].id}", "a"),
        ("{.items[-1].id}", "c"),
        ("{.items[0:2].id}", "a b"),
        ("{.items[1:].id}", "b c"),
        ("{.items[0]['status']}", "failed"),
        ("{.items[0].tags.x-y}", "z"),
        ("{.items[0].tags['x-y']}", "z"),
        ('{.items[?(@.status=="failed")].id}', "a c"),
        ("{.items[?(@.status=='failed')].id}", "a c"),
        ('{.items[?(@.code != "")].id}', "a c"),
        ("{.items[?(@.bytes>20)].id}", "b c"),
        ("{.items[?(@.bytes <= 30)].id}", "a c"),
        ("{.items[?(@.tags)].id}", "a"),
        ('{.items[?(@.tags.x-y=="z")].id}', "a"),
        ("{.items[?(@.code > 3)].id}", ""),
        ("{..id}", "a b c deep"),
        ("{.items[0].bytes}", "10"),
        ("{.items[0].tags}", '{"x-y":"z"}'),
        ("{.items[0].*}", 'a failed gated 10 {"x-y":"z"}'),
        ('{.items[0].id}{"\\n"}{.items[1].id}', "a\nb"),
        ("first: {.items[0].id}\\n", "first: a\n"),
        ("{.nothing.there[3]}", ""),
        ("{.items[7].id}", ""),
        ("{.nextCursor}", ""),
        ("{.items[0].id[0]}", ""),
    ],
)
def test_it_finds_what_kubectl_would(template: str, text: str) -> None:
    assert Template(template).render(JOBS) == text


@pytest.mark.parametrize(
    "template", ["", "{.items[*}", "{.items[?(@.x=)]}", "{.a", "{.a b}", "{range .items[*]}", "}"]
)
def test_what_can_not_be_read_is_misuse(template: str) -> None:
    with pytest.raises(Misused) as raised:
        Template(template)

    assert raised.value.exit == Exit.USAGE
    assert raised.value.remedy


def test_the_whole_document_is_a_path_too() -> None:
    assert Template("{}").render({"a": 1}) == '{"a":1}'
    assert Template("{.}").render({"a": 1}) == '{"a":1}'
