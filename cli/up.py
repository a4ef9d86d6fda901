"""`mllm up` and `mllm down`: everything on one machine, in the foreground or detached."""

import asyncio
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from ulid import ULID

from cli import migrate
from cli.config import Config, config_path, read, read_settings, write_context
from cli.embedded.child import Part
from cli.embedded.datadir import StackError, blamed_on
from cli.embedded.nats import free_ports
from cli.embedded.stack import Plan, Urls, open_stack
from cli.embedded.status import read_status
from cli.failures import Failure
from cli.roles.leaving import told
from cli.serve import refuse_taken
from cli.settings import Settings
from processors.process.stopping import stop_all
from schemas.bearer import bearer_of

CONTEXT = "local"
PATIENCE = 60.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def up(
    *,
    data_dir: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    detach: Annotated[bool, Parameter(name=["--detach", "-d"], negative="")] = False,
    detached: Annotated[bool, Parameter(negative="", show=False)] = False,
) -> None:
    """Start everything on this machine: NATS, Postgres, gateway, read models and workers.

    Parameters
    ----------
    data_dir
        Where all state is kept (MLLM_DATA_DIR).
    host
        Address the gateway listens on (MLLM_HOST).
    port
        Port the gateway listens on (MLLM_PORT).
    detach
        Return as soon as everything is ready; stop it with `mllm down`.
    detached
        Nobody is there to press Ctrl-C.
    """
    settings = read_settings({"data_dir": data_dir, "host": host, "port": port})
    try:
        if detach:
            _detach(settings)
        else:
            stops = _down(settings) if detached else "Ctrl-C"
            asyncio.run(_until_told(_up(settings, stops)))
    except StackError as error:
        raise Failure(error.message, error.remedy) from error


def down(*, data_dir: Path | None = None) -> None:
    """Stop what `mllm up` started.

    Parameters
    ----------
    data_dir
        The data directory it was started on (MLLM_DATA_DIR).
    """
    settings = read_settings({"data_dir": data_dir})
    status = read_status(settings.data_dir)
    if status is None or not status.is_up():
        left = _stop_served(settings)  # what served outlives everything else that is killed
        what = f"stopped {', '.join(left)}" if left else f"nothing is up on {settings.data_dir}"
        print(what, file=sys.stderr)
        return
    os.kill(status.process.pid, signal.SIGTERM)
    if not _wait(lambda: not status.is_up()):
        raise Failure(f"process {status.process.pid} does not stop", "look at its logs, or kill it")
    print("stopped", file=sys.stderr)


def _stop_served(settings: Settings) -> list[str]:
    try:
        return stop_all(settings.data_dir, settings.grace_seconds)
    except (OSError, TimeoutError) as error:
        raise Failure(f"what is served can not be stopped: {error}", "stop it by hand") from error


async def _until_told(body: Coroutine[Any, Any, None]) -> None:
    """Run `body` until it ends or the process is asked to stop; then let it clean up."""
    leave = told()
    work, asked = asyncio.create_task(body), asyncio.create_task(leave.wait())
    await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if leave.is_set():
        work.cancel()
        await asyncio.wait({work})
    if not work.cancelled():
        work.result()


def _down(settings: Settings) -> str:
    """The verb that stops it, as one who has set nothing else has to type it."""
    if read_settings({}).data_dir == settings.data_dir:
        return "`mllm down`"
    return f"`mllm down --data-dir {shlex.quote(str(settings.data_dir.absolute()))}`"


async def _up(settings: Settings, stops: str) -> None:
    refuse_taken(settings)
    token = settings.api_token or _token_of(read(config_path(os.environ)), settings)

    async def prepare(urls: Urls) -> None:
        await migrate.everything(_embedded(settings, urls, token), [settings.store])

    plan = Plan(roles=_roles(settings), migrate=prepare, on_ready=_say_ready)
    began = time.monotonic()
    try:
        async with open_stack(settings.data_dir, plan) as stack:
            write_context(CONTEXT, address(settings), token)
            print(f"ready in {time.monotonic() - began:.1f} s: {address(settings)}/")
            print(f"the context `{CONTEXT}` is set: try `mllm status`; {stops} stops everything")
            sys.stdout.flush()
            await stack.run()
    except asyncio.CancelledError:
        # told to stop, and not killed: then what is served goes, too, and comes back with the next
        await asyncio.to_thread(_stop_served, settings)
        raise


def _say_ready(part: str, seconds: float) -> None:
    print(f"{part:<12} ready in {seconds:.1f} s", flush=True)


def address(settings: Settings) -> str:
    """Where clients on this machine find the gateway."""
    host = ANYWHERE.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _token_of(config: Config, settings: Settings) -> str:
    """The token of last time, as the context remembers it, or a new one."""
    context = config.contexts.get(CONTEXT)
    if context is not None and context.token:
        return context.token
    return bearer_of(str(ULID()), secrets.token_hex(32))


def _embedded(settings: Settings, urls: Urls, token: str) -> Settings:
    return msgspec.structs.replace(
        settings, nats_url=urls.nats, database_url=urls.database, api_token=token
    )


def _roles(settings: Settings) -> list[Part]:
    """The three roles, as processes that find their servers in the environment."""
    env = {name: value for name, value in os.environ.items() if name != "MLLM_API_TOKEN"}
    env["MLLM_DATA_DIR"] = str(settings.data_dir)
    env["MLLM_HOST"], env["MLLM_PORT"] = settings.host, str(settings.port)
    roles = [_role("gateway", env, address(settings) + "/healthz")]
    watched_roles = ("projections", "processors")
    for name, port in zip(watched_roles, free_ports(len(watched_roles)), strict=True):
        # nobody has to log in to read metrics: only the gateway listens where others can ask
        own = {"MLLM_HOST": "127.0.0.1", "MLLM_METRICS_PORT": str(port)}
        roles.append(_role(name, env | own, f"http://127.0.0.1:{port}/metrics"))
    return roles


def _role(name: str, env: Mapping[str, str], health: str) -> Part:
    argv = (sys.executable, "-P", "-m", "cli", "serve", name)
    return Part(name, argv, lambda: asyncio.to_thread(_answers, health), env)


def _answers(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    assert scheme == "http"
    place, _, path = rest.partition("/")
    connection = HTTPConnection(place, timeout=2)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == 200
    except HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def _detach(settings: Settings) -> None:
    log = settings.data_dir / "logs" / "up.log"
    with blamed_on(settings.data_dir):
        log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-P", "-m", "cli", "up", "--detached"]
    argv += ["--data-dir", str(settings.data_dir)]
    argv += ["--host", settings.host, "--port", str(settings.port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    if not _wait(lambda: process.poll() is not None or b"\nready in" in log.read_bytes()):
        raise Failure("the stack is not ready yet", f"read {log}")
    sys.stdout.write(log.read_text())
    if process.poll() is not None:
        raise Failure("the stack did not start", f"read {log}")


def _wait(over: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not over():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
