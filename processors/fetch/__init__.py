"""Weights on disk: fetched into a staging directory, sealed, renamed into place, verified, removed.

    fetcher = Fetcher(source, layout.attempt(namespace, job, attempt), fence)
    files = fetcher.run(planned, layout.earlier(namespace, job, attempt))
    sha256 = seal(content(directory), Manifest(...), fence)
    commit(content(directory), layout.target(namespace, target), sha256, fence)

Everything here blocks, and is meant for threads.
"""
