"""Where models came from: the label that says which directory of manifests brought them.

A git checkout goes by its remote and the place inside the repository, so an engineer's and CI's are
the same directory; any other by this machine's name and its path. Labels are short, so they hold
the last part of that, for people, and a digest of all of it.
"""

import hashlib
import os
import platform
import re
import subprocess
from pathlib import Path

import msgspec

from cli.manifests import STDIN, existing
from schemas.manifest import Manifest

SOURCE = "mllm/source"

ADDRESS = re.compile(
    r"(?:[\w+]+://(?:[^/]*@)?([^/:@]+)(?::\d+)?/|(?:[^/:]*@)?([^/:@]+):(?!//))(.+)"
)
"""Of a repository elsewhere: `https://user:token@host/path`, `ssh://…` or `git@host:path`."""

ELSEWHERE = frozenset({"GIT_DIR", "GIT_WORK_TREE"})
"""What hooks of git set: asked with these, it tells of another repository."""

NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9._-]+")


def source_of(place: str) -> str:
    """What a directory is called in labels; empty for what is none.

    Raises `Misused` when there is no such place.
    """
    if place == STDIN or not (path := existing(place)).is_dir():
        return ""
    whole = _in_repository(path) or f"{platform.node()}:{path.resolve()}"
    last = whole.rstrip("/").rpartition("/")[2]
    name = NOT_IN_LABELS.sub("-", last)[:50].strip("._-")
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]
    return f"{name}-{digest}" if name else digest


def labelled(manifest: Manifest, source: str) -> Manifest:
    """The manifest with where it came from, if that is a directory."""
    if not source:
        return manifest
    return msgspec.structs.replace(manifest, labels={**manifest.labels, SOURCE: source})


def _in_repository(directory: Path) -> str:
    """The repository and the place in it; empty when it is in none, or in one with no remote."""
    urls = dict(
        line.split(" ", 1)
        for line in _git(directory, "config", "--get-regexp", r"^remote\..*\.url$").splitlines()
    )
    url = urls.get("remote.origin.url") or next(iter(urls.values()), "")
    repository = _repository(url)
    inside = _git(directory, "rev-parse", "--show-prefix").strip("/\n")
    return f"{repository}//{inside}" if repository else ""


def _repository(url: str) -> str:
    """The same for everyone, however they get there: by https or by ssh, and as whom."""
    if found := ADDRESS.fullmatch(url):
        host, path = found[1] or found[2], found[3]
        return f"{host.lower()}/{path.strip('/').removesuffix('.git')}"
    path = url.removeprefix("file://")
    return f"{platform.node()}:{path}" if path.startswith("/") else ""


def _git(directory: Path, *words: str) -> str:
    """What git says, which runs nothing of the repository's for such questions: so whoever owns it,
    as somebody else does in CI, it may be asked. Empty when it has no answer."""
    command = ("git", "-c", "safe.directory=*", "-C", str(directory), *words)
    env = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        said = subprocess.run(command, env=env, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return os.fsdecode(said.stdout)
