"""Where files differ from what is registered: the server says whether, lines say where."""

import difflib

from cli.applying import Wanted, from_source
from cli.client import Gateway, segment
from cli.manifests import Read, yaml_of
from cli.session import Session
from cli.tables import printable
from schemas.api.models import DiffAnswer, DiffBody
from schemas.manifest import Manifest
from schemas.manifest_reading import written

COLOURS = {"+": 32, "-": 31, "@": 36}


def compared(session: Session, wanted: Wanted, one: Read) -> DiffAnswer:
    """Have the server compare a manifest as it would be applied, and print where it differs."""
    gateway = session.gateway
    manifest = from_source(gateway, one.manifest, wanted.source)
    answer = gateway.send("POST", "/catalog/diff", DiffAnswer, DiffBody(written(manifest)))
    if answer.same or session.printer.structured:
        return answer
    before = _registered(gateway, manifest.id, answer.version)
    lines = difflib.unified_diff(
        before.splitlines(),
        yaml_of(manifest).splitlines(),
        f"model/{manifest.id}",
        one.where,
        lineterm="",
    )
    for line in lines:
        print(_coloured(line) if session.printer.colour else printable(line))
    return answer


def _registered(gateway: Gateway, model: str, version: int) -> str:
    """The manifest of this version; nothing for version 0."""
    if not version:
        return ""
    path = f"/models/{segment(model)}/manifest"
    return yaml_of(gateway.get(path, Manifest, as_of=f"seq:{version}"))


def _coloured(line: str) -> str:
    colour = COLOURS.get(line[:1])
    return f"\x1b[{colour}m{printable(line)}\x1b[0m" if colour else printable(line)
