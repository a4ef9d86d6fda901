"""What mllm is told from outside: flags, then `MLLM_*` variables, then the configuration file.

A name nobody knows, or a value that can not be, is an error that says which; nothing falls back
to a default in silence.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo, fields

from cli.failures import Misused
from cli.quantities import parse_size
from schemas.engine import EngineTemplate, read_engines
from schemas.names import Namespace, Store

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86400 * 365)]
Count = Annotated[int, Meta(ge=1, le=10_000)]

FOREIGN = {
    "hf_endpoint": "HF_ENDPOINT",
    "hf_token": "HF_TOKEN",
    "otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
}
"""Settings whose variable means the same to other programs."""

SIZES = frozenset({"disk_reserve", "bandwidth"})
PATHS = frozenset({"data_dir", "weights_dir"})
SHAPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
ADDRESSES = frozenset({"server", "hf_endpoint", "otlp_endpoint"})
NATS_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
SECRETS = frozenset({"api_token", "secret_key", "hf_token", "token"})
LOCATED_SECRETS = frozenset({"nats_url", "database_url", "server", "hf_endpoint", "otlp_endpoint"})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. Each field's variable is `MLLM_` and its name in capitals,
    unless another is given here.

    Servers
      nats_url           where NATS listens; empty: not set
      database_url       Postgres; empty: not set
      stream_prefix      put before the names of all streams, so that several mllm share a NATS
      host, port         where the gateway listens (127.0.0.1, 8080)
      metrics_port       on which port of host the other roles serve Prometheus metrics, to whoever
                         reaches it (9464; 0: any free port)
      api_token          the first administrator's token
      secret_key         encrypts stored secrets
      runtime            what serves models: process or kserve
      kube_namespace     where kserve objects live; empty: the namespace of the context
      drift              what becomes of what others change in our objects: report, or correct
      engines            more engines, in YAML or JSON: {name: {command: [...], health, formats}}
      grace_seconds      how long a served model may take to stop before it is killed
      restart_cap_seconds   the longest wait before a served model that died is started again
      log_level          debug, info, warning or error
      log_format         text or json
      otlp_endpoint      where traces go (OTEL_EXPORTER_OTLP_ENDPOINT); empty: no tracing

    Disk
      data_dir           all state of the embedded stack ($XDG_DATA_HOME/mllm)
      weights_dir        where weights are installed (data_dir/weights)
      store              which weights volume a worker mounts
      disk_reserve       bytes kept free on every file system used (2GiB)

    Workers
      slots              jobs at once
      streams            connections at once for one job
      bandwidth          bytes a second of one worker; 0: no cap
      xet                auto, or off: fetch over plain HTTP only
      hf_endpoint        the Hub (HF_ENDPOINT; https://huggingface.co)
      hf_token           a token for the Hub (HF_TOKEN, or what `hf auth login` left)
      lease_seconds      silence after which a worker is replaced
      heartbeat_seconds  how often a worker shows that it lives, and how far it is
      stall_seconds      silence of the Hub after which a connection is given up
      backoff_seconds, backoff_cap_seconds   the first and the longest wait between attempts
      attempts           how often a job is tried
      watchdog_seconds   how often lost jobs are looked for

    The command line
      server, token      the gateway to talk to, and as whom, instead of a context's
      context, namespace which context and namespace, instead of the current ones
      debug              show tracebacks
    """

    nats_url: str = ""
    database_url: str = ""
    stream_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,32}$")] = ""
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Port = 8080
    metrics_port: Port = 9464
    api_token: str = ""
    secret_key: str = ""
    runtime: Literal["process", "kserve"] = "process"
    kube_namespace: Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")] = ""
    drift: Literal["report", "correct"] = "report"
    engines: Mapping[str, EngineTemplate] = {}
    grace_seconds: Seconds = 15.0
    restart_cap_seconds: Seconds = 60.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    otlp_endpoint: str = ""

    data_dir: Path
    weights_dir: Path
    store: Store = "default"
    disk_reserve: int = 2 << 30

    slots: Count = 2
    streams: Count = 16
    bandwidth: int = 0
    xet: Literal["auto", "off"] = "auto"
    hf_endpoint: str = "https://huggingface.co"
    hf_token: str = ""
    lease_seconds: Seconds = 60.0
    heartbeat_seconds: Seconds = 0.4
    stall_seconds: Seconds = 30.0
    backoff_seconds: Seconds = 2.0
    backoff_cap_seconds: Seconds = 300.0
    attempts: Count = 5
    watchdog_seconds: Seconds = 15.0

    server: str = ""
    token: str = ""
    context: str = ""
    namespace: Namespace | Literal[""] = ""
    debug: bool = False

    def __repr__(self) -> str:
        shown = (f"{name}={_shown(name, getattr(self, name))}" for name in FIELDS)
        return f"Settings({', '.join(shown)})"

    def require(self, *names: str) -> None:
        """Raises `Misused` naming the first of `names` that is not set."""
        for name in names:
            if not getattr(self, name):
                raise Misused(f"{variable(name)} is not set", f"set {variable(name)}")


FIELDS: Mapping[str, FieldInfo] = {field.name: field for field in fields(Settings)}


class Given(NamedTuple):
    """A value from outside, and where it was found, for people."""

    name: str
    value: object
    source: str


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return FOREIGN.get(name, f"MLLM_{name.upper()}")


VARIABLES: Mapping[str, str] = {variable(name): name for name in FIELDS}


def load(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    file: Mapping[str, object],
) -> Settings:
    """The settings that flags, environment and the file's `settings` say, the first that speaks.

    A flag that is None was not given. Raises `Misused`.
    """
    values: dict[str, Any] = {}
    for given in (*_from_file(file), *_from_environment(environ), *_from_flags(flags)):
        values[given.name] = _parse(given)
    values.setdefault("data_dir", data_home(environ) / "mllm")
    values.setdefault("weights_dir", values["data_dir"] / "weights")
    settings = Settings(**values)
    _check_together(settings)
    return settings


def file_settings(file: Mapping[str, object]) -> Mapping[str, Any]:
    """What the file's `settings` say. Raises `Misused`."""
    return {given.name: _parse(given) for given in _from_file(file)}


def check_names(environ: Mapping[str, str]) -> None:
    """Raises `Misused` for the first `MLLM_*` variable that is no setting."""
    for name in environ:
        if name.startswith("MLLM_") and name not in VARIABLES:
            raise Misused(f"{name} is not a setting", _remedy(name, environ[name], VARIABLES))


def data_home(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME`, or where it is by custom."""
    return Path(environ.get("XDG_DATA_HOME") or home(environ) / ".local" / "share")


def home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def hub_token(environ: Mapping[str, str]) -> str:
    """The Hub's token as its own programs find it: `HF_TOKEN`, else the file they keep it in."""
    if environ.get("HF_TOKEN"):
        return environ["HF_TOKEN"].strip()
    cache = Path(environ.get("XDG_CACHE_HOME") or home(environ) / ".cache")
    folder = Path(environ.get("HF_HOME") or cache / "huggingface")
    try:
        return Path(environ.get("HF_TOKEN_PATH") or folder / "token").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _from_file(file: Mapping[str, object]) -> Iterator[Given]:
    for name, value in file.items():
        if name not in FIELDS:
            raise Misused(f"settings.{name} is not a setting", _nearest(name, FIELDS))
        if isinstance(value, bool) and FIELDS[name].type is not bool:
            value = "on" if value else "off"  # to YAML, `off` is a boolean
        yield Given(name, value, f"settings.{name}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    check_names(environ)
    for name, text in environ.items():
        if name in VARIABLES and not (name in FOREIGN.values() and not text):
            yield Given(VARIABLES[name], text, name)


def _from_flags(flags: Mapping[str, object]) -> Iterator[Given]:
    for name, value in flags.items():
        if value is not None:
            yield Given(name, value, f"--{name.replace('_', '-')}")


def _parse(given: Given) -> object:
    try:
        return _parser(given.name)(given.value)
    except (ValueError, TypeError) as error:  # msgspec's ValidationError is a ValueError
        shown = "" if given.name in SECRETS | LOCATED_SECRETS else f": {given.value!r}"
        raise Misused(
            f"{given.source} is malformed{shown}",
            _remedy(given.source, str(given.value), VARIABLES, _expected(given.name, str(error))),
        ) from error


def _expected(name: str, told: str) -> str:
    """What a setting may be: msgspec tells it in patterns and types."""
    type = FIELDS[name].type
    if get_origin(type) is Literal:
        return f"use {' or '.join(get_args(type))}"
    if "matching regex" in told:
        letters = "letters" if name == "stream_prefix" else "lower-case letters"
        return f"use {letters}, digits and dashes"
    for shape, text in SHAPES.items():
        told = told.replace(f"`{shape}`", text)
    return told.partition(", got")[0]


def _parser(name: str) -> Callable[[object], object]:
    if name in SIZES:
        return _size
    if name in PATHS:
        return _path
    if name in ADDRESSES:
        return _address
    if name == "api_token":
        return _bearer
    if name == "nats_url":
        return _nats
    if name == "database_url":
        return _database
    if name == "engines":
        return _engines
    return lambda value: msgspec.convert(value, FIELDS[name].type, strict=False)


def _size(value: object) -> int:
    return parse_size(str(value))


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("Expected a path")
    return Path(value).expanduser().absolute()


def sendable(token: str) -> bool:
    """Whether a header can hold a token as it is."""
    return token.isascii() and token.isprintable() and " " not in token


def _bearer(value: object) -> str:
    token = str(value).strip()
    if not sendable(token):
        raise ValueError("Expected a token without spaces or line breaks, in ASCII")
    return token


def _address(value: object) -> str:
    return _located(value, frozenset({"http", "https"}), "http://127.0.0.1:8080")


def _nats(value: object) -> str:
    return _located(value, NATS_SCHEMES, "nats://127.0.0.1:4222")


def _located(value: object, schemes: Collection[str], example: str) -> str:
    text = str(value).rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:  # its text shows what stands where the port should be
        usable = False
    if text and not usable:
        raise ValueError(f"Expected an address such as {example}")
    return text


def _database(value: object) -> str:
    from psycopg import ProgrammingError  # here, because it is slow to import
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(str(value))
    except ProgrammingError:
        raise ValueError("Expected an address such as postgresql://127.0.0.1/mllm") from None
    return str(value)


def _engines(value: object) -> Mapping[str, EngineTemplate]:
    if not isinstance(value, str):
        return read_engines(value)
    import yaml  # here, because it is slow to import

    try:
        return read_engines(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise ValueError("Expected YAML or JSON: {name: {command: [...]}}") from error


def _check_together(settings: Settings) -> None:
    if settings.heartbeat_seconds * 2 > settings.lease_seconds:
        raise Misused(
            "MLLM_HEARTBEAT_SECONDS must be at most half of MLLM_LEASE_SECONDS",
            "a worker has to show twice within its lease that it lives",
        )


def _remedy(source: str, value: str, known: Mapping[str, object], otherwise: str = "") -> str:
    """Kubernetes puts variables like `MLLM_PORT=tcp://…` into the pods beside a Service."""
    if re.match(r"(tcp|udp|sctp)://", value) or "_SERVICE_" in source:
        return "Kubernetes set it for a Service: give the pod enableServiceLinks: false"
    return otherwise or _nearest(source, known)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "remove it"


def _shown(name: str, value: object) -> str:
    if name in SECRETS and value:
        return "'…'"
    if name in LOCATED_SECRETS:
        return repr(re.sub(r"//[^/@]*@", "//…@", str(value)))
    return repr(value)
