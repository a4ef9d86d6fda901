"""Every read model there is."""

from projections import (
    activations,
    aliases,
    daily,
    event_index,
    job_files,
    jobs,
    models,
    runtime,
    statuses,
    tokens,
    weights,
    weights_files,
)

PROJECTIONS = (
    jobs.projection,
    weights.projection,
    job_files.projection,
    weights_files.projection,
    models.projection,
    aliases.projection,
    runtime.projection,
    activations.projection,
    statuses.projection,
    tokens.projection,
    event_index.projection,
    daily.projection,
)
