"""A Hub on loopback: what a client of the Hugging Face Hub needs to download a model.

It speaks enough of the Hub's protocol for the `hf` command and `huggingface_hub`: model info,
paged trees, refs, revisions, and files served in ranges, those in LFS from a second host.
"""

from cli.loopback_hub.demo import DEMO_MODEL, demo_model
from cli.loopback_hub.hub import HubSettings, LoopbackHub
from cli.loopback_hub.repository import About, Blob, Commit, Repo, Source

__all__ = [
    "DEMO_MODEL",
    "About",
    "Blob",
    "Commit",
    "HubSettings",
    "LoopbackHub",
    "Repo",
    "Source",
    "demo_model",
]
