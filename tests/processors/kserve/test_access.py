"""How a cluster is found, and what is said when it is not."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from processors.kserve.access import Access, connect
from processors.kserve.cluster import Cluster
from processors.kserve.facts import ClusterFacts
from processors.kserve.refusals import ClusterError
from tests.kube.authority import certified
from tests.kube.conftest import kubeconfig
from tests.kube.server import TOKEN, kube_server
from tests.support import PATIENCE, eventually


async def test_a_pod_uses_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, _ = certified(tmp_path)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text("default\n")
    async with kube_server(tls) as (_, url):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", urlsplit(url).hostname or "")
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(urlsplit(url).port))
        cluster = Cluster(Access(account=tmp_path))

        assert not await ClusterFacts(cluster).has_claim("none")
        assert (await cluster.namespace(), await cluster.inside()) == ("default", True)
        await cluster.close()


async def test_a_kubeconfig_names_server_token_and_namespace(tmp_path: Path) -> None:
    async with kube_server() as (_, url):
        path = kubeconfig(tmp_path / "config", url)
        said = yaml.safe_load(path.read_text())
        said["contexts"][0]["context"]["namespace"] = "default"
        path.write_text(yaml.safe_dump(said))
        cluster = Cluster(Access(str(path)))

        assert not await ClusterFacts(cluster).has_claim("none")
        assert (await cluster.namespace(), await cluster.inside()) == ("default", False)
        await cluster.close()


async def test_kubeconfig_means_what_it_does_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kube_server() as (_, url):
        path = kubeconfig(tmp_path / "config", url)
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}{os.pathsep}{path}")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        cluster = Cluster(namespace="default")

        assert not await ClusterFacts(cluster).has_claim("none")
        await cluster.close()


async def test_a_token_that_a_plugin_gives_is_used(tmp_path: Path) -> None:
    given = f'{{"apiVersion":"v1","kind":"ExecCredential","status":{{"token":"{TOKEN}"}}}}'
    async with kube_server() as (_, url):
        path = kubeconfig(tmp_path / "config", url)
        said = yaml.safe_load(path.read_text())
        plugin = {"apiVersion": "v1", "command": "echo", "args": [given]}
        said["users"][0]["user"] = {"exec": plugin}
        path.write_text(yaml.safe_dump(said))
        cluster = Cluster(Access(str(path)), "default")

        assert not await ClusterFacts(cluster).has_claim("none")
        await cluster.close()


async def test_a_plugin_that_does_not_answer_any_more_holds_up_no_request_for_ever(
    tmp_path: Path,
) -> None:
    given = f'{{"apiVersion":"v1","kind":"ExecCredential","status":{{"token":"{TOKEN}"}}}}'
    asked, goes_on = tmp_path / "asked", tmp_path / "goes-on"
    script = f"""
        if [ -e {asked} ]; then until [ -e {goes_on} ]; do sleep 0.05; done; fi
        touch {asked}; echo '{given}'"""

    async def answered() -> bool:
        return not any("load_and_set" in repr(task) for task in asyncio.all_tasks())

    async with kube_server() as (_, url):
        path = kubeconfig(tmp_path / "config", url)
        said = yaml.safe_load(path.read_text())
        plugin = {"apiVersion": "v1", "command": "sh", "args": ["-c", script]}
        said["users"][0]["user"] = {"exec": plugin}
        path.write_text(yaml.safe_dump(said))

        class Impatient(Access):
            """While the plugin hangs, and only then: a busy machine may take long to run it."""

            @property
            def patience(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
                return 0.5 if asked.exists() and not goes_on.exists() else PATIENCE

        cluster = Cluster(Impatient(str(path), refresh=0), "default")

        with pytest.raises(ClusterError, match="no answer in time"):
            await ClusterFacts(cluster).has_claim("none")
        assert not await ClusterFacts(cluster).has_claim("none")  # with what it gave before
        goes_on.touch()
        await eventually(answered)
        assert not await ClusterFacts(cluster).has_claim("none")
        await cluster.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no cluster"),
        ("{not yaml: [hidden-token", "ParserError"),
        (
            "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n",
            "current-context",
        ),
    ],
)
async def test_a_kubeconfig_that_is_none_is_named_and_not_quoted(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(ClusterError, match=why) as refused:
        await connect(Access(str(path)))

    assert refused.value.code == "cluster_unreachable"
    assert str(path) in str(refused.value)
    assert "hidden-token" not in str(refused.value)


async def test_a_plugin_that_fails_is_not_quoted(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    said = yaml.safe_load(path.read_text())
    words = "echo hidden-token >&2; exit 3"
    plugin = {"apiVersion": "v1", "command": "sh", "args": ["-c", words]}
    said["users"][0]["user"] = {"exec": plugin}
    path.write_text(yaml.safe_dump(said))

    with pytest.raises(ClusterError, match="process returned 3") as refused:
        await connect(Access(str(path)))

    assert "hidden-token" not in str(refused.value)


async def test_a_server_that_is_not_there_is_named_with_the_reason(tmp_path: Path) -> None:
    cluster = Cluster(Access(str(kubeconfig(tmp_path / "config", "http://127.0.0.1:1"))), "default")

    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1 can not be reached") as refused:
        await ClusterFacts(cluster).has_claim("none")
    await cluster.close()

    assert refused.value.code == "cluster_unreachable"
    assert TOKEN not in str(refused.value)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    tls, _ = certified(tmp_path)
    async with kube_server(tls) as (_, url):
        cluster = Cluster(Access(str(kubeconfig(tmp_path / "config", url))), "default")

        with pytest.raises(ClusterError) as refused:
            await ClusterFacts(cluster).has_claim("none")
        await cluster.close()

    assert refused.value.code == "cluster_unreachable"
