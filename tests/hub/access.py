"""Who may see what: tokens, gated and private repositories."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cli.loopback_hub.message import Handler, Request, Response
from cli.loopback_hub.replies import Refused, answer, repo_not_found, unknown_account
from cli.loopback_hub.repository import Repo
from cli.loopback_hub.route import Kind, Route, route_of

CONTENT: frozenset[Kind] = frozenset({"resolve", "cache", "auth", "xet"})


@dataclass(frozen=True)
class Account:
    name: str
    token: str
    repos: frozenset[str] = frozenset()  # gated and private ones it was let into


class Access:
    """Stands before a handler and answers as the Hub does to those it does not let in.

    A private repository looks unknown. A gated one shows everything but its files' content.
    """

    def __init__(
        self, handler: Handler, repos: Mapping[str, Repo], accounts: Iterable[Account]
    ) -> None:
        self._handler = handler
        self._repos = repos
        self._accounts = {f"Bearer {account.token}": account for account in accounts}

    def __call__(self, request: Request) -> Response:
        if request.host == "cdn":
            return self._handler(request)  # its links are their own authorization
        route = route_of(request.path)
        try:
            account = self._account(request)
            if route.kind == "whoami":
                return _whoami(account)
            if repo := self._repos.get(route.repo):
                _admit(account, repo, route, request)
        except Refused as refusal:
            return refusal.response()
        return self._handler(request)

    def _account(self, request: Request) -> Account | None:
        credentials = request.headers.get("authorization")
        if credentials is None:
            return None
        if account := self._accounts.get(credentials):
            return account
        raise Refused(401, "", "Invalid credentials in Authorization header")


def _whoami(account: Account | None) -> Response:
    if account is None:
        raise unknown_account()
    token = {"displayName": "test", "role": "read"}
    return answer(
        {
            "type": "user",
            "id": account.name,
            "name": account.name,
            "fullname": account.name,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def _admit(account: Account | None, repo: Repo, route: Route, request: Request) -> None:
    if account and repo.id in account.repos:
        return
    if repo.about.private:
        raise repo_not_found(request)
    if repo.about.gated and route.kind in CONTENT:
        raise _gated(account, repo.id)


def _gated(account: Account | None, repo: str) -> Refused:
    restricted = f"Access to model {repo} is restricted"
    if account is None:
        needed = "You must have access to it and be authenticated to access it. Please log in."
        return Refused(401, "GatedRepo", f"{restricted}. {needed}")
    ask = f"Visit https://huggingface.co/{repo} to ask for access."
    return Refused(403, "GatedRepo", f"{restricted} and you are not in the authorized list. {ask}")
