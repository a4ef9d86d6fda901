"""The configuration file: where the servers are, and who one is there. Mode 0600, it holds tokens.

current-context: local
contexts:
  local: {server: "http://127.0.0.1:8080", token: mllm_…, namespace: default}
settings:
  disk_reserve: 4GiB
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cli.failures import Misused
from cli.settings import Settings, home, hub_token, load
from cli.writing import write_private
from schemas.names import Namespace


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server, and who one is there. No token: whatever needs none."""

    server: str
    token: str = ""
    namespace: Namespace = "default"


class Config(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"
):
    current_context: str = ""
    contexts: dict[str, Context] = {}
    settings: dict[str, str | int | float | bool] = {}


def config_path(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/mllm/config.yaml`, else under `~/.config`."""
    base = Path(environ.get("XDG_CONFIG_HOME") or home(environ) / ".config")
    return base / "mllm" / "config.yaml"


def read(path: Path) -> Config:
    """What the file says; an empty configuration when there is none. Raises `Misused`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"{path} can not be read: {error}", "make it readable to you") from error
    return _parse(text, path)


def _parse(text: str, path: Path) -> Config:
    import yaml  # here, because it is slow to import and most machines have one context or none

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return msgspec.convert(yaml.load(text, loader) or {}, Config)
    except yaml.YAMLError as error:
        where = str(getattr(error, "problem_mark", "")).strip() or path
        raise Misused(f"{path} is not YAML", f"look at {where}") from error
    except msgspec.ValidationError as error:
        raise Misused(f"{path}: {error}", f"correct {path}") from error


def write(path: Path, config: Config) -> None:
    """Replace the file at once: a reader sees the old or the new one, and only its owner may.

    Raises `Misused` when it can not be written.
    """
    import yaml

    text = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False, allow_unicode=True)
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text.encode(), durable=True)
    except OSError as error:
        raise Misused(
            f"{path} can not be written: {error.strerror}", "check who owns it"
        ) from error


def exposed(path: Path) -> bool:
    """Whether others than the owner may read the file."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except FileNotFoundError:
        return False


def write_context(
    name: str,
    server: str,
    token: str,
    namespace: str = "default",
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Add or replace a context and make it the current one. Returns the file. Raises `Misused`."""
    path = config_path(environ)
    config = read(path)
    contexts = config.contexts | {name: Context(server, token, namespace)}
    write(path, msgspec.structs.replace(config, contexts=contexts, current_context=name))
    return path


def read_settings(flags: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings as flags, environment and the configuration file say. Raises `Misused`."""
    settings = load(flags, environ, read(config_path(environ)).settings)
    if settings.hf_token:
        return settings
    return msgspec.structs.replace(settings, hf_token=hub_token(environ))
