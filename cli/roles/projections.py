"""Read models: each follows the log on its own, wherever its lease is held."""

from collections.abc import Sequence

from cli.assembling import assemble
from cli.roles.choosing import chosen
from cli.roles.leaving import told, until
from cli.settings import Settings
from cli.telemetry import serve_metrics
from projections.catalog import PROJECTIONS
from projections.projection import run


async def serve(settings: Settings, only: Sequence[str]) -> None:
    """Keep the chosen read models up to date until told to stop."""
    known = {projection.name: projection for projection in PROJECTIONS}
    wanted = chosen(known, only).values()
    leave = told()
    async with assemble(settings, "projections") as parts:
        serve_metrics(settings)
        url, epoch = settings.database_url, await parts.jetstream.epoch()
        work = (run(projection, parts.log, url, epoch=epoch) for projection in wanted)
        await until(leave, *work)
