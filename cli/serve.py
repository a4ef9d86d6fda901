"""`mllm serve`: one role against real servers, as many replicas of each as one likes."""

from collections.abc import Sequence

import uvloop
from cyclopts import App

from cli import telemetry
from cli.config import read_settings
from cli.failures import Failure, Misused
from cli.settings import Settings
from gateway.listening import listen

app = App(name="serve", help="Run one role of the system against real servers.")


@app.command
def gateway(*, host: str | None = None, port: int | None = None) -> None:
    """Serve HTTP: the API and the live stream."""
    from cli.roles.gateway import serve

    settings = _begin("gateway", {"host": host, "port": port})
    refuse_taken(settings)
    uvloop.run(serve(settings))


@app.command
def projections(*, only: Sequence[str] = ()) -> None:
    """Keep the read models up to date.

    Parameters
    ----------
    only
        Only these read models; may be given several times.
    """
    from cli.roles.projections import serve

    settings = _begin("projections", {})
    uvloop.run(serve(settings, only))


@app.command
def processors(*, only: Sequence[str] = ()) -> None:
    """Dispatch work and do it.

    Parameters
    ----------
    only
        Only these parts: dispatch, watchdog, worker, activator; may be given several times.
    """
    from cli.roles.processors import serve

    settings = _begin("processors", {})
    if not only or "worker" in only:
        make_weights_dir(settings)
    uvloop.run(serve(settings, only))


def _begin(role: str, flags: dict[str, object]) -> Settings:
    settings = read_settings(flags)
    telemetry.configure(settings, role)
    return settings


def refuse_taken(settings: Settings) -> None:
    """Raises `Failure` when the gateway can not listen where it is to."""
    try:
        listen(settings.host, settings.port).close()
    except OSError as error:
        raise Failure(
            f"{settings.host}:{settings.port} can not be listened on: {error.strerror}",
            "choose another with --port, or stop what uses it",
        ) from error


def make_weights_dir(settings: Settings) -> None:
    """Raises `Misused` when there is no such directory, and none can be made."""
    try:
        settings.weights_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misused(
            f"MLLM_WEIGHTS_DIR can not be used: {error.filename}: {(error.strerror or '').lower()}",
            "name a directory, or where one may be made",
        ) from error
