"""The Hub's side of the conversation: one answer for each kind of URL."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import assert_never
from urllib.parse import parse_qs, quote, urlencode

from cli.loopback_hub import xet
from cli.loopback_hub.answers import Entry, Listing, model_info, refs
from cli.loopback_hub.files import serve
from cli.loopback_hub.links import Links
from cli.loopback_hub.message import Request, Response
from cli.loopback_hub.paging import flag, page_of
from cli.loopback_hub.replies import (
    Refused,
    answer,
    entry_not_found,
    page_not_found,
    redirect,
    repo_not_found,
    revision_not_found,
    unknown_account,
)
from cli.loopback_hub.repository import Commit, Repo
from cli.loopback_hub.route import Kind, Route, route_of

LARGEST_EXPANDED_PAGE = 50
SECOND_HOST: frozenset[Kind] = frozenset({"cdn", "cas", "xorb"})


class Protocol:
    """Answers as the Hub does, to clients that may see everything."""

    def __init__(self, repos: Mapping[str, Repo], page: int, links: Links) -> None:
        self._repos = repos
        self._page = page
        self._links = links
        self._listings: dict[str, Listing] = {}

    def __call__(self, request: Request) -> Response:
        route = route_of(request.path)
        try:
            if (request.host == "cdn") != (route.kind in SECOND_HOST):
                raise page_not_found()
            return self._answer(request, route)
        except Refused as refusal:
            return refusal.response()

    def _answer(self, request: Request, route: Route) -> Response:
        match route.kind:
            case "unknown" | "cas" | "xorb":
                raise page_not_found()
            case "whoami":
                raise unknown_account()
            case "cdn":
                return self._linked(request, route)
            case "refs":
                return answer(refs(self._repo(request, route)))
            case "auth":
                return answer({"repo": self._repo(request, route).id})
            case "info" | "tree" | "paths" | "xet" | "resolve" | "cache":
                repo = self._repo(request, route)
                if commit := repo.at(route.revision):
                    return self._answer_at(request, route, repo, commit)
                raise revision_not_found(route.revision)
            case _:
                assert_never(route.kind)

    def _answer_at(self, request: Request, route: Route, repo: Repo, commit: Commit) -> Response:
        match route.kind:
            case "info":
                return self._info(request, repo, commit)
            case "tree":
                return self._tree(request, route.path.rstrip("/"), self._listing(repo, commit))
            case "paths":
                return self._paths(request, self._listing(repo, commit))
            case "xet":
                return xet.token(repo, commit, self._links.host(), self._links.seconds)
            case "resolve":
                return self._resolve(request, route.path, repo, commit)
            case _:
                return self._cached(request, route.path, commit)

    def _repo(self, request: Request, route: Route) -> Repo:
        if repo := self._repos.get(route.repo):
            return repo
        raise repo_not_found(request)

    def _listing(self, repo: Repo, commit: Commit) -> Listing:
        if commit.sha not in self._listings:
            self._listings[commit.sha] = Listing(commit, repo.about.xet)
        return self._listings[commit.sha]

    def _info(self, request: Request, repo: Repo, commit: Commit) -> Response:
        info = model_info(repo, commit, blobs=flag(request, "blobs"))
        if flag(request, "securityStatus"):
            info["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
        if wanted := request.query.get("expand"):
            info = {name: info[name] for name in ("_id", "id", *wanted) if name in info}
        return answer(info)

    def _tree(self, request: Request, folder: str, listing: Listing) -> Response:
        entries = listing.under(folder, flag(request, "recursive"))
        if entries is None:
            raise entry_not_found(listing.commit)
        expand = flag(request, "expand")
        most = min(self._page, LARGEST_EXPANDED_PAGE) if expand else self._page
        page, headers = page_of(entries, request, most)
        return answer(self._shown(listing, page, expand), headers=headers)

    def _paths(self, request: Request, listing: Listing) -> Response:
        form = parse_qs(request.body.decode(errors="replace"))
        expand = form.get("expand", ["false"])[0] == "true"
        return answer(self._shown(listing, listing.at(form.get("paths", [])), expand))

    def _shown(self, listing: Listing, entries: Sequence[Entry], expand: bool) -> Sequence[Entry]:
        return listing.expanded(entries) if expand else entries

    def _resolve(self, request: Request, path: str, repo: Repo, commit: Commit) -> Response:
        """Files are served elsewhere: LFS by the second host, the rest by a cache on this one."""
        blob = commit.files.get(path)
        if blob is None:
            raise entry_not_found(commit)
        headers = {"X-Repo-Commit": commit.sha}
        if blob.sha256 is None:
            where = f"/api/resolve-cache/models/{repo.id}/{commit.sha}/{quote(path)}"
            return redirect(307, f"{where}?{urlencode({'etag': blob.oid})}", headers)
        headers |= {"X-Linked-Size": str(blob.size), "X-Linked-Etag": f'"{blob.sha256}"'}
        headers |= xet.offer(request, repo, commit, blob)
        return redirect(302, self._links.sign(repo.id, path, blob.sha256), headers)

    def _cached(self, request: Request, path: str, commit: Commit) -> Response:
        blob = commit.files.get(path)
        if blob is None or blob.sha256 is not None:
            raise entry_not_found(commit)
        headers = {"X-Repo-Commit": commit.sha, "Content-Type": "text/plain; charset=utf-8"}
        return serve(blob, request, headers | _named("inline", path))

    def _linked(self, request: Request, route: Route) -> Response:
        repo = self._repos.get(route.repo)
        blob = repo.lfs.get(PurePosixPath(request.path).name) if repo else None
        if blob is None or not self._links.opens(request.target):
            raise Refused(403, "AccessDenied", "Access Denied")
        headers = {"Content-Type": "application/octet-stream"}
        return serve(blob, request, headers | _named("attachment", route.path))


def _named(how: str, path: str) -> dict[str, str]:
    name = quote(PurePosixPath(path).name)
    return {"Content-Disposition": f"{how}; filename*=UTF-8''{name}; filename=\"{name}\";"}
