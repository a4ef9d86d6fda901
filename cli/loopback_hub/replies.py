"""The forms an answer of the Hub takes: JSON, a redirect, a refusal."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

import msgspec

from cli.loopback_hub.message import Request, Response, whole
from cli.loopback_hub.repository import Commit


class Refused(Exception):
    """An answer other than the one hoped for; `code` is what clients tell the cases apart by."""

    def __init__(self, status: int, code: str, message: str, commit: Commit | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message}
        if code:
            self.headers["X-Error-Code"] = code
        if commit:
            self.headers["X-Repo-Commit"] = commit.sha

    def response(self) -> Response:
        return answer({"error": str(self)}, self.status, self.headers)


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    data = msgspec.json.encode(body)
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Response(status, {**kind, **(headers or {})}, len(data), whole(data))


def redirect(status: int, location: str, headers: Mapping[str, str]) -> Response:
    text = f"{HTTPStatus(status).phrase}. Redirecting to {location}".encode()
    return Response(status, {**headers, "Location": location}, len(text), whole(text))


def repo_not_found(request: Request) -> Refused:
    """To an anonymous client the Hub says less: it asks who they are."""
    if "authorization" in request.headers:
        return Refused(404, "RepoNotFound", "Repository not found")
    return Refused(401, "RepoNotFound", "Invalid username or password.")


def revision_not_found(revision: str) -> Refused:
    return Refused(404, "RevisionNotFound", f"Invalid rev id: {quote(revision)}")


def entry_not_found(commit: Commit) -> Refused:
    return Refused(404, "EntryNotFound", "Entry not found", commit)


def page_not_found() -> Refused:
    return Refused(404, "", "Sorry, we can't find the page you are looking for.")


def unknown_account() -> Refused:
    return Refused(401, "", "Invalid username or password.")
