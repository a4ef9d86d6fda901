"""Read models: each follows the log on its own, wherever its lease is held."""

import gc
from collections.abc import Sequence

from cli.assembling import assemble
from cli.roles.choosing import chosen
from cli.roles.leaving import told, until
from cli.settings import Settings
from cli.telemetry import serve_metrics
from projections.catalog import PROJECTIONS
from projections.projection import run
from projections.sharing import SharedLog


async def serve(settings: Settings, only: Sequence[str]) -> None:
    """Keep the chosen read models up to date until told to stop."""
    known = {projection.name: projection for projection in PROJECTIONS}
    wanted = [known[name] for name in chosen(known, only)]
    leave = told()
    async with assemble(settings, "projections") as parts:
        serve_metrics(settings)
        gc.set_threshold(50_000, 20, 20)  # folding makes much that lives on, and no cycles
        log, url, epoch = SharedLog(parts.log), settings.database_url, await parts.jetstream.epoch()
        work = (run(projection, log, url, epoch=epoch) for projection in wanted)
        await until(leave, *work)
