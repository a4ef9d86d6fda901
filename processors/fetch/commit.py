"""The end of an install, in steps that anyone may repeat: seal what was fetched, rename it into
place, and remove what it replaces.

A crash leaves one of four things, and the same call made again finishes each of them:

- nothing sealed: the attempt goes on, or another takes over;
- sealed, not in place: `commit` renames;
- in place: `committed` says so, and `commit` has nothing left to do;
- in place, with the old weights still in staging: whoever discards the staging removes them.

Installed files are never written again, so that they can be shared by hard links later.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from processors.fetch import kernel
from processors.fetch.errors import Conflict, FetchFailed, VerificationFailed
from processors.fetch.gate import Fence
from processors.fetch.layout import manifest_path
from processors.fetch.manifest import Manifest, digest, digest_of, encode
from processors.fetch.tree import Tree


def seal(content: Path, manifest: Manifest, fence: Fence) -> str:
    """Put the manifest beside the files in `content` and make all of it survive a crash.

    Returns the manifest's sha256. Raises `VerificationFailed` if a file is not what it says.
    """
    tree = Tree(content)
    try:
        for file in manifest.files:
            if tree.size(file.path) != file.size:
                raise VerificationFailed(file.path, f"it does not have {file.size:,} bytes")
    finally:
        tree.close()
    raw = encode(manifest)
    path = manifest_path(content)
    fresh = path.with_suffix(".new")
    fence()
    path.parent.mkdir(exist_ok=True)
    fresh.write_bytes(raw)
    fresh.chmod(0o444)
    fence()
    os.replace(fresh, path)
    kernel.flush(content)
    return digest(raw)


def committed(target: Path, sha256: str) -> bool:
    """Whether the weights whose manifest has this hash are in place."""
    return digest_of(target) == sha256 and _enclosing(target) is None


def commit(
    content: Path,
    target: Path,
    sha256: str,
    fence: Fence,
    *,
    replace: bool = False,
    exchange: Callable[[Path, Path], bool] = kernel.exchange,
) -> None:
    """Make the sealed `content` the weights at `target`, in one step; nothing if it is done.

    With `replace`, old weights give way and are left in or beside `content`, to be discarded with
    the staging directory; `exchange` swaps two directories in one step or says that it cannot.
    Raises `Conflict` when something else is there, above or below; nothing has changed then.
    """
    if committed(target, sha256):
        return
    if digest_of(content) != sha256:
        raise FetchFailed(f"{content} does not hold what is to be installed", retryable=False)
    _refuse_nesting(target)
    fence()
    target.parent.mkdir(parents=True, exist_ok=True)
    if manifest_path(target).exists():
        if not replace:
            raise Conflict(f"other weights are installed in {target.name}")
        fence()
        if not exchange(content, target):
            _replace(content, target, fence)
    else:
        _move(content, target, fence)
    _sync_folders(target.parent, target.parent.parent, content.parent)


def remove(target: Path, trash: Path, fence: Fence) -> None:
    """Delete installed weights: gone in one step, unlinked afterwards; nothing if there are none.

    Raises `Conflict` if `target` holds something else than weights.
    """
    if not target.exists():
        return
    if not manifest_path(target).exists() and any(target.iterdir()):
        raise Conflict(f"{target.name} holds something else than weights")
    discard(target, trash, fence)


def discard(directory: Path, trash: Path, fence: Fence) -> None:
    """Delete a directory of ours, whatever it holds; nothing if it is not there."""
    trash.mkdir(parents=True, exist_ok=True)
    aside = trash / uuid.uuid4().hex
    fence()
    try:
        os.rename(directory, aside)
    except FileNotFoundError:
        return
    _sync_folders(directory.parent)
    shutil.rmtree(aside, ignore_errors=True)


def empty(trash: Path) -> None:
    """Unlink what a crash has left in the trash."""
    with suppress(FileNotFoundError):
        for left in trash.iterdir():
            shutil.rmtree(left, ignore_errors=True)


def _move(content: Path, target: Path, fence: Fence) -> None:
    fence()
    try:
        os.rename(content, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Conflict(f"something else than weights is in {target.name}") from error
        raise
    # Looked at again: weights may have been put where our parent was still an empty directory.
    if (above := _enclosing(target)) is not None:
        fence()
        os.rename(target, content)
        raise Conflict(f"{target.name} would lie inside the weights in {above.name}")


def _replace(content: Path, target: Path, fence: Fence) -> None:
    """Where two directories cannot be exchanged, there is a moment without weights."""
    fence()
    os.rename(target, content.with_name("replaced"))
    fence()
    os.rename(content, target)


def _refuse_nesting(target: Path) -> None:
    if (above := _enclosing(target)) is not None:
        raise Conflict(f"{target.name} would lie inside the weights in {above.name}")


def _enclosing(target: Path) -> Path | None:
    """The weights that `target` lies in."""
    return next((above for above in target.parents if manifest_path(above).exists()), None)


def _sync_folders(*folders: Path) -> None:
    for folder in folders:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
