"""Every read model there is."""

from projections import daily, event_index, job_files, jobs, tokens, weights, weights_files

PROJECTIONS = (
    jobs.projection,
    weights.projection,
    job_files.projection,
    weights_files.projection,
    tokens.projection,
    event_index.projection,
    daily.projection,
)
