"""What the Hub says to clients that could fetch a file from Xet storage instead."""

import time

from cli.loopback_hub.message import Request, Response
from cli.loopback_hub.replies import answer, page_not_found
from cli.loopback_hub.repository import Blob, Commit, Repo


def offer(request: Request, repo: Repo, commit: Commit, blob: Blob) -> dict[str, str]:
    """Headers that name a file's Xet hash and the place that hands out tokens to read it."""
    if not repo.about.xet:
        return {}
    where = f"http://{request.headers['host']}/api/models/{repo.id}/xet-read-token/{commit.sha}"
    return {"X-Xet-Hash": blob.xet_hash, "Link": f'<{where}>; rel="xet-auth"'}


def token(repo: Repo, commit: Commit, storage: str, seconds: float) -> Response:
    """A token to read from `storage` for a while; nothing is kept there."""
    if not repo.about.xet:
        return page_not_found().response()
    expires = int(time.time() + seconds)
    secret = f"xet-{repo.id}-{commit.sha}"
    headers = {
        "X-Xet-Cas-Url": storage,
        "X-Xet-Access-Token": secret,
        "X-Xet-Token-Expiration": str(expires),
    }
    return answer({"casUrl": storage, "accessToken": secret, "exp": expires}, headers=headers)
