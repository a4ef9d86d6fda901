"""How a cluster is reached, and as whom: a kubeconfig, or the account of the pod we run in."""

import asyncio
import os
import time
from pathlib import Path
from ssl import SSLError
from typing import NamedTuple

import msgspec
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.incluster_config import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)
from kubernetes_asyncio.config.kube_config import KubeConfigLoader, KubeConfigMerger
from yaml import YAMLError

from processors.kserve.refusals import ClusterError

REFRESH_SECONDS = 60.0
PLUGIN_SECONDS = 30.0
ACCOUNT = Path(SERVICE_TOKEN_FILENAME).parent
HOME_CONFIG = str(Path.home() / ".kube/config")
UNUSABLE = (
    ConfigException,
    YAMLError,
    SSLError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    RuntimeError,
)
"""What a configuration that is not one makes the client library stumble into."""


class Access(NamedTuple):
    """Where the configuration is. Empty: `KUBECONFIG`, the pod's own account, or `~/.kube/config`.

    `kubeconfig` may be several paths, as that variable. `context`: not the current one.
    `account` is where a pod finds what its account has. `refresh`: seconds after which tokens are
    read again; `patience`: for a plugin that gives one.
    """

    kubeconfig: str = ""
    context: str = ""
    account: Path = ACCOUNT
    refresh: float = REFRESH_SECONDS
    patience: float = PLUGIN_SECONDS


class Connected(NamedTuple):
    """`namespace` is that of the context, or of the pod. `inside`: we run in the cluster."""

    client: ApiClient
    namespace: str
    inside: bool


class ContextPlace(msgspec.Struct):
    namespace: str = ""


class ChosenContext(msgspec.Struct):
    """An entry of a kubeconfig's `contexts`, as far as we look at it ourselves."""

    context: ContextPlace


async def connect(access: Access) -> Connected:
    """Raises `ClusterError` (`cluster_unreachable`) without a usable configuration."""
    paths = access.kubeconfig or os.environ.get("KUBECONFIG", "")
    try:
        if not paths and os.environ.get(SERVICE_HOST_ENV_NAME):
            return _inside(access.account)
        async with asyncio.timeout(access.patience):
            return await _outside(paths or HOME_CONFIG, access)
    except UNUSABLE as error:
        where = paths or "the default kubeconfig"
        raise ClusterError(
            "cluster_unreachable", f"{where} names no cluster that can be used: {_why(error)}"
        ) from error


def _inside(account: Path) -> Connected:
    configuration = _configuration()
    loader = InClusterConfigLoader(str(account / "token"), str(account / "ca.crt"))
    loader.load_and_set(configuration)
    namespace = (account / "namespace").read_text().strip()
    return Connected(_client(configuration), namespace, inside=True)


async def _outside(paths: str, access: Access) -> Connected:
    if not any(Path(path).expanduser().exists() for path in paths.split(os.pathsep)):  # noqa: ASYNC240
        raise ConfigException("no such file")
    configuration = _configuration()
    merged = KubeConfigMerger(paths).config
    loader = KubeConfigLoader(merged, active_context=access.context or None, config_base_path=None)
    await loader.load_and_set(configuration)
    _keep_fresh(loader, configuration, access)
    return Connected(_client(configuration), _namespace(loader), inside=False)


def _keep_fresh(loader: KubeConfigLoader, configuration: Configuration, access: Access) -> None:
    """Read tokens again now and then: files are rotated, and what a plugin gave ends. One that does
    not answer in time fails the request that waits for it, and is not asked again until it has: the
    others go on with what it gave before."""
    read = time.monotonic()
    reading: asyncio.Task[None] | None = None

    async def refresh(_: Configuration) -> None:
        nonlocal read, reading
        under_way = reading is not None and not reading.done()
        if under_way or time.monotonic() - read < access.refresh:
            return
        read = time.monotonic()
        reading = asyncio.create_task(loader.load_and_set(configuration))
        reading.add_done_callback(_heard)
        done, _others = await asyncio.wait({reading}, timeout=access.patience)
        if not done:
            raise TimeoutError
        reading.result()

    configuration.refresh_api_key_hook = refresh


def _heard(task: "asyncio.Task[None]") -> None:
    """Nobody may be waiting for it any more: then what it failed of is nobody's either."""
    if not task.cancelled():
        task.exception()


def _namespace(loader: KubeConfigLoader) -> str:
    chosen = msgspec.convert(loader.current_context, ChosenContext)
    return chosen.context.namespace or "default"


def _configuration() -> Configuration:
    configuration = Configuration()
    # Logs that are followed each hold a connection: they shall not use up those of the others.
    configuration.connection_pool_maxsize = 0
    return configuration


def _client(configuration: Configuration) -> ApiClient:
    client = ApiClient(configuration)
    client.user_agent = "mllm"
    return client


def _why(error: Exception) -> str:
    """Only what the library wrote itself: parsers quote what they read, and plugins what they
    like, and secrets may be in either."""
    if not isinstance(error, ConfigException):
        return type(error).__name__
    text = str(error)[:300]
    return text.partition(".")[0] if text.startswith("exec") else text
