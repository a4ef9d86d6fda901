"""The token goes to the hub and nowhere else; nothing secret is in what is said."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.loopback_hub import Source as Content
from processors.fetch.errors import FetchError, FetchFailed, NotAllowed
from processors.fetch.http import Url
from processors.fetch.source import Source
from tests.hub import Account, Hub, Refuse, Repo, generated
from tests.processors.fetch.fetching import MIB, REPO, Fetch

TOKEN = "hf_of_ann"
FILES: Mapping[str, Content] = {"config.json": b"{}", "model.safetensors": generated(9 * MIB)}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Repo(REPO, FILES), accounts=[Account("ann", TOKEN)]) as hub:
        yield hub


def test_the_token_is_sent_to_the_hub_and_never_to_the_second_host(
    hub: Hub, tmp_path: Path
) -> None:
    Fetch(hub, tmp_path / "1", token=TOKEN).run()

    by_host = {
        host: {
            exchange.carries(TOKEN) for exchange in hub.recording.exchanges if exchange.host == host
        }
        for host in ("api", "cdn")
    }
    assert by_host == {"api": {True}, "cdn": {False}}


def test_no_authorization_of_any_kind_reaches_the_second_host(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1", token=TOKEN).run()

    assert {e.authorization for e in hub.recording.select("cdn")} == {None}


def test_an_origin_is_scheme_host_and_port_together() -> None:
    home = Url.parse("https://hub.example/org/model")

    assert Url.parse("https://HUB.example:443/else").origin == home.origin
    for other in (
        "https://hub.example:8443/",
        "https://hub.example.evil/",
        "https://evil/hub.example",
        "https://hub.example@evil/",
        "http://hub.example:443/",
    ):
        assert Url.parse(other).origin != home.origin


@pytest.mark.parametrize(
    "location", ["http://hub.example/x", "ftp://hub.example/x", "https://h:port/x"]
)
def test_a_redirect_to_where_nobody_should_go_is_refused(location: str) -> None:
    with pytest.raises(FetchFailed):
        Url.parse("https://hub.example/org/model").follow(location)


def test_a_redirect_may_be_relative_and_badly_quoted() -> None:
    url = Url.parse("https://hub.example/a/b?c=d").follow("/é x/%41?name=a b&sig=x%2B/y==")

    assert url.whole == "https://hub.example/%C3%A9%20x/%41?name=a%20b&sig=x%2B/y=="


def test_what_is_said_and_raised_holds_no_token_and_no_signature(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Refuse(status=503, kinds={"cdn"}))
    fetch = Fetch(hub, tmp_path / "1", token=TOKEN)

    with pytest.raises(FetchError) as caught:
        fetch.run()

    signed = next(e.target for e in hub.recording.select("cdn"))
    signature = signed.partition("?")[2]
    for text in (*fetch.said, str(caught.value), repr(fetch.fetcher.__dict__)):
        assert TOKEN not in text
        assert signature not in text
    assert fetch.said


def test_a_token_is_not_in_the_representation_of_its_source() -> None:
    assert TOKEN not in repr(Source("https://hub.example", REPO, "main", TOKEN))


@pytest.mark.parametrize("token", ["hf_x\r\nX-Evil: 1", "hf_ü", "hf_\0"])
def test_a_token_that_would_break_a_header_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        Source("https://hub.example", REPO, "main", token)

    assert "hf_" not in str(caught.value)
