"""`mllm serve`: one role against real servers, as many replicas of each as one likes."""

from collections.abc import Sequence

import uvloop
from cyclopts import App

from cli import telemetry
from cli.config import read_settings
from cli.settings import Settings

app = App(name="serve", help="Run one role of the system against real servers.")


@app.command
def gateway(*, host: str | None = None, port: int | None = None) -> None:
    """Serve HTTP: the API and the live stream."""
    from cli.roles.gateway import serve

    settings = _begin("gateway", {"host": host, "port": port})
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
    uvloop.run(serve(settings, only))


def _begin(role: str, flags: dict[str, object]) -> Settings:
    settings = read_settings(flags)
    telemetry.configure(settings, role)
    return settings
