"""Real clients of the Hub, the `hf` command and `huggingface_hub`, find ours to be one."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from cli.loopback_hub import demo_model
from tests.hub import About, Account, Cut, Hub, HubSettings, Repo, generated
from tests.hub.command import hf_environment, run_hf

TOKEN = "hf_of_ann"
ANN = Account("ann", TOKEN, frozenset({"org/gated", "org/private"}))
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# A model\n",
    "config.json": b'{"model_type": "llama"}',
    "empty.txt": b"",
    "empty.bin": b"",
    "model.safetensors": bytes(range(256)) * 1000,
    "deep/er/still/notes.txt": b"far down",
    "deep/weights.bin": b"pickled",
    "odd name [1] %41+&é.txt": "ü".encode(),
}
BIG = generated(12_000_001)


@pytest.fixture
def hub() -> Iterator[Hub]:
    repos = [
        Repo("org/model", FILES | {"big.safetensors": BIG}, About(license="mit", likes=3)),
        Repo("org/gated", FILES, About(gated="manual")),
        Repo("org/private", FILES, About(private=True)),
    ]
    with Hub(*repos, accounts=[ANN], settings=HubSettings(page=4)) as hub:
        yield hub


def downloaded(directory: Path) -> dict[str, str]:
    """sha256 by path of what `hf` left behind, without its own notes."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def test_hf_downloads_every_file_as_it_is(hub: Hub, tmp_path: Path) -> None:
    environment = hf_environment(hub.url, tmp_path / "home")

    done = run_hf(environment, "download", "org/model", "--local-dir", str(tmp_path / "model"))

    assert done.returncode == 0, done.stderr
    expected = hashes(FILES) | {"big.safetensors": str(BIG.sha256)}
    assert downloaded(tmp_path / "model") == expected


def test_hf_downloads_to_its_cache_and_again_without_fetching(hub: Hub, tmp_path: Path) -> None:
    environment = hf_environment(hub.url, tmp_path / "home")

    for _ in range(2):
        assert run_hf(environment, "download", "org/model").returncode == 0

    [snapshot] = tmp_path.glob("home/hub/models--org--model/snapshots/*")
    assert snapshot.name == hub.repos["org/model"].head.sha
    assert hub.recording.sent("big.safetensors") == BIG.size


def test_hf_sends_its_token_to_the_hub_and_never_to_the_second_host(
    hub: Hub, tmp_path: Path
) -> None:
    environment = hf_environment(hub.url, tmp_path / "home", token=TOKEN)

    done = run_hf(environment, "download", "org/gated", "--local-dir", str(tmp_path / "model"))

    assert done.returncode == 0, done.stderr
    assert downloaded(tmp_path / "model") == hashes(FILES)
    sent_to = {
        host: {e.carries(TOKEN) for e in hub.recording.select() if e.repo and e.host == host}
        for host in ("api", "cdn")
    }
    assert sent_to == {"api": {True}, "cdn": {False}}


def test_hf_says_that_a_gated_model_requires_approval(hub: Hub, tmp_path: Path) -> None:
    done = run_hf(hf_environment(hub.url, tmp_path), "download", "org/gated")

    assert done.returncode == 1
    assert "Access denied. Model 'org/gated' requires approval." in done.stderr


@pytest.mark.parametrize("id", ["org/private", "org/unknown"])
def test_hf_does_not_find_what_it_may_not_see(hub: Hub, tmp_path: Path, id: str) -> None:
    done = run_hf(hf_environment(hub.url, tmp_path), "download", id)

    assert done.returncode == 1
    assert f"Model '{id}' not found." in done.stderr


def test_hf_does_not_find_an_unknown_revision(hub: Hub, tmp_path: Path) -> None:
    done = run_hf(hf_environment(hub.url, tmp_path), "download", "org/model", "--revision", "v9")

    assert done.returncode == 1
    assert "Revision" in done.stderr
    assert "not found" in done.stderr


def test_hf_downloads_a_tag_after_main_has_moved_on(hub: Hub, tmp_path: Path) -> None:
    hub.repos["org/model"].tag("v1")
    hub.repos["org/model"].push({"config.json": b"{}", "model.safetensors": b"another"})
    words = ["download", "org/model", "model.safetensors", "config.json", "--revision", "v1"]

    done = run_hf(hf_environment(hub.url, tmp_path / "home"), *words, "--local-dir", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "config.json").read_bytes() == FILES["config.json"]
    assert (tmp_path / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_hf_resumes_what_was_cut(hub: Hub, tmp_path: Path) -> None:
    cut = hub.faults.add(Cut(path="big.safetensors", times=1, after=(11_000_000, 12_000_000)))
    words = ["download", "org/model", "big.safetensors", "--local-dir", str(tmp_path)]

    done = run_hf(hf_environment(hub.url, tmp_path / "home"), *words)

    assert done.returncode == 0, done.stderr
    assert cut.strikes == 1
    assert downloaded(tmp_path)["big.safetensors"] == BIG.sha256
    first, second = hub.recording.select("cdn", method="GET")
    assert first.range is None
    assert second.range == f"bytes={10 << 20}-"  # it keeps chunks of 10 MiB, and loses the rest


def test_model_info_tells_the_facts_and_the_files(hub: Hub) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info("org/model", files_metadata=True)

    repo = hub.repos["org/model"]
    assert (info.id, info.sha, info.likes) == ("org/model", repo.head.sha, 3)
    assert (info.private, info.gated) == (False, False)
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert info.last_modified is not None
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert siblings.keys() == repo.head.files.keys()
    assert siblings["config.json"].size == len(FILES["config.json"])
    assert siblings["config.json"].lfs is None
    assert siblings["big.safetensors"].lfs is not None
    assert siblings["big.safetensors"].lfs.sha256 == BIG.sha256


def test_model_info_can_be_asked_for_less(hub: Hub) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info("org/model", expand=["sha", "likes"])

    assert info.sha == hub.repos["org/model"].head.sha
    assert info.siblings is None


def test_model_info_of_a_gated_model_is_public(hub: Hub) -> None:
    assert HfApi(endpoint=hub.url, token=False).model_info("org/gated").gated == "manual"


def test_a_tree_is_listed_page_by_page(hub: Hub) -> None:
    entries = list(HfApi(endpoint=hub.url, token=False).list_repo_tree("org/model", recursive=True))

    files = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    folders = [entry.path for entry in entries if isinstance(entry, RepoFolder)]
    assert files.keys() == hub.repos["org/model"].head.files.keys()
    assert folders == ["deep", "deep/er", "deep/er/still"]
    assert files["config.json"].blob_id == hub.repos["org/model"].head.files["config.json"].oid
    assert len(hub.recording.select("tree")) == 3


def test_a_folder_is_listed_alone(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url, token=False)

    assert [e.path for e in api.list_repo_tree("org/model", "deep")] == [
        "deep/er",
        "deep/weights.bin",
    ]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("org/model", "nowhere"))


def test_an_expanded_tree_names_the_last_commit(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url, token=False)

    for entry in api.list_repo_tree("org/model", recursive=True, expand=True):
        assert entry.last_commit is not None
        assert entry.last_commit.oid == hub.repos["org/model"].head.sha


def test_paths_are_looked_up_and_unknown_ones_left_out(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url, token=False)

    found = api.get_paths_info("org/model", ["big.safetensors", "deep", "nowhere"])

    file, folder = found
    assert isinstance(file, RepoFile)
    assert file.lfs is not None
    assert (file.size, file.lfs.sha256) == (BIG.size, BIG.sha256)
    assert isinstance(folder, RepoFolder)


def test_branches_and_tags_name_commits(hub: Hub) -> None:
    repo = hub.repos["org/model"]
    first = repo.head.sha
    repo.tag("v1")
    second = repo.push({"config.json": b"{}"})
    third = repo.push({"config.json": None}, branch="feature/x")

    refs = HfApi(endpoint=hub.url, token=False).list_repo_refs("org/model")

    branches = {ref.name: ref.target_commit for ref in refs.branches}
    assert branches == {"main": second, "feature/x": third}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": first}


def test_old_commits_and_branches_with_slashes_stay_readable(hub: Hub) -> None:
    repo = hub.repos["org/model"]
    first = repo.head.sha
    branched = repo.push({"config.json": None}, branch="feature/x")
    api = HfApi(endpoint=hub.url, token=False)

    assert api.model_info("org/model", revision=first).sha == first
    assert api.model_info("org/model", revision="feature/x").sha == branched
    assert not api.file_exists("org/model", "config.json", revision="feature/x")
    assert api.file_exists("org/model", "config.json", revision=first)
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/model", revision="0" * 40)


def test_file_metadata_leads_to_the_second_host_for_lfs_alone(hub: Hub) -> None:
    commit = hub.repos["org/model"].head
    api = HfApi(endpoint=hub.url, token=False)
    large, small = (
        api.get_hf_file_metadata(url=hf_hub_url("org/model", path, endpoint=hub.url))
        for path in ("big.safetensors", "config.json")
    )

    assert (large.commit_hash, large.etag, large.size) == (commit.sha, BIG.sha256, BIG.size)
    assert large.location.startswith(hub.cdn_url)
    assert (small.commit_hash, small.etag) == (commit.sha, commit.files["config.json"].oid)
    assert small.size == len(FILES["config.json"])
    assert small.location.startswith(hub.url)


def test_hashes_are_those_of_git() -> None:
    repo = Repo("org/hello", {"hello.txt": b"hello\n"})

    assert repo.head.files["hello.txt"].oid == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_token_has_a_name_and_a_wrong_one_has_none(hub: Hub) -> None:
    assert HfApi(endpoint=hub.url, token=TOKEN).whoami()["name"] == "ann"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()


def test_access_is_refused_in_the_words_of_the_hub(hub: Hub) -> None:
    anonymous = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(GatedRepoError, match="401"):
        anonymous.auth_check("org/gated")
    with pytest.raises(RepositoryNotFoundError, match="401"):
        anonymous.auth_check("org/private")
    HfApi(endpoint=hub.url, token=TOKEN).auth_check("org/private")


def test_a_token_that_was_not_let_in_is_forbidden() -> None:
    stranger = Account("bob", "hf_of_bob")
    gated = Repo("org/gated", FILES, About(gated="auto"))
    hidden = Repo("org/private", FILES, About(private=True))
    with Hub(gated, hidden, accounts=[stranger]) as hub:
        bob = HfApi(endpoint=hub.url, token=stranger.token)
        with pytest.raises(GatedRepoError, match="403"):
            bob.auth_check("org/gated")
        with pytest.raises(RepositoryNotFoundError, match="404"):
            bob.model_info("org/private")


def test_the_demo_model_is_a_valid_one_in_two_forms() -> None:
    with Hub(demo_model()) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        weights = api.get_safetensors_metadata("mllm/demo-tiny")
        info = api.model_info("mllm/demo-tiny")
    assert weights.sharded
    assert info.safetensors is not None
    assert weights.parameter_count == info.safetensors.parameters
    files = demo_model().head.files
    assert "pytorch_model.bin" in files
    config = files["config.json"].content
    assert isinstance(config, bytes)
    assert json.loads(config)["model_type"] == "llama"
    assert demo_model().head.sha == demo_model().head.sha
