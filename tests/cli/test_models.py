"""Models from a terminal, against the gateway itself, on real NATS and Postgres."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from textwrap import dedent
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from cli.main import run
from schemas.checks import Check
from schemas.facts import Facts
from schemas.manifest import Replicas
from schemas.runtime import EnterPhase, StartActivation
from tests.cli.support import Outcome
from tests.cli.test_against_the_gateway import Shell
from tests.gateway.rig import Rig, gateway
from tests.support import PATIENCE, eventually

SMALL = """\
id: small
weights:
  target: org/model
"""


class Terminal:
    """Runs `mllm` in this process as a user of a gateway."""

    def __init__(self, rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
        self.rig = rig
        self._capsys = capsys

    async def __call__(self, *argv: str) -> Outcome:
        await self.rig.settled()
        self._capsys.readouterr()
        code = await asyncio.to_thread(run, argv)
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    async def json(self, *argv: str) -> Any:
        outcome = await self(*argv, "-o", "json")
        assert outcome.code == 0, outcome.err
        return msgspec.json.decode(outcome.out)

    async def models(self, *names: str) -> None:
        """Wait until the read model lists these."""

        async def listed() -> bool:
            page = await self.rig.get("/models")
            return {row["id"] for row in page["items"]} == {*names}

        await eventually(listed)


@pytest.fixture
async def mllm(
    nats_url: str,
    stream_prefix: str,
    database_url: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncGenerator[Terminal]:
    """A terminal of a gateway whose store holds org/model."""
    async with gateway(nats_url, stream_prefix, home, database_url) as rig:
        await rig.install("org/model")
        monkeypatch.setenv("MLLM_SERVER", rig.url)
        monkeypatch.setenv("MLLM_TOKEN", rig.admin)
        yield Terminal(rig, capsys)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A directory of two manifests."""
    found = tmp_path / "team-a"
    (found / "inner").mkdir(parents=True)
    (found / "small.yaml").write_text(SMALL)
    (found / "inner" / "other.json").write_text('{"id":"other","weights":{"target":"org/model"}}')
    return found


async def test_what_is_applied_is_created_then_unchanged_then_configured(
    mllm: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)

    assert (await mllm("models", "apply", "-f", str(file))).out == "model/small created\n"
    assert (await mllm("models", "apply", "-f", str(file))).out == "model/small unchanged\n"
    file.write_text(f"{SMALL}license: mit\n")
    assert (await mllm("models", "apply", "-f", str(file), "-q")).out == "small\n"
    again = await mllm("models", "apply", "-f", str(file), "-o", "name")
    assert again.out == "model/small\n"


async def test_a_model_whose_alias_is_taken_back_is_configured(
    mllm: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(f"{SMALL}aliases: [chat]\n")
    await mllm("models", "apply", "-f", str(file))
    await mllm.rig.register("other", aliases=("chat",))

    dry = await mllm("models", "apply", "-f", str(file), "--dry-run")
    assert dry.out == "model/small configured (dry run)\n"
    assert (await mllm("models", "apply", "-f", str(file))).out == "model/small configured\n"
    assert (await mllm("models", "apply", "-f", str(file))).out == "model/small unchanged\n"


async def test_a_dry_run_changes_nothing(mllm: Terminal, models: Path) -> None:
    outcome = await mllm("models", "apply", "-f", str(models), "--dry-run")

    assert outcome.out == "model/other created (dry run)\nmodel/small created (dry run)\n"
    assert (await mllm.json("models", "list"))["items"] == []


async def test_a_directory_is_applied_whole_and_pruned_of_what_it_has_no_more(
    mllm: Terminal, models: Path
) -> None:
    await mllm.rig.register("elsewhere")
    (models / ".git").mkdir()
    (models / ".git" / "hidden.yaml").write_text("id: hidden")
    outcome = await mllm("models", "apply", "-f", str(models), "--prune")
    assert outcome.out == "model/other created\nmodel/small created\n"
    await mllm.models("elsewhere", "other", "small")
    (models / "small.yaml").unlink()

    dry = await mllm("models", "apply", "-f", str(models), "--prune", "--dry-run")
    outcome = await mllm("models", "apply", "-f", str(models), "--prune")

    assert dry.out.splitlines()[-1] == "model/small pruned (dry run)"
    assert outcome.out == "model/other unchanged\nmodel/small pruned\n"
    await mllm.models("elsewhere", "other")


async def test_nothing_is_pruned_that_another_directory_of_that_name_brought(
    mllm: Terminal, models: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / models.name
    other.mkdir(parents=True)
    (other / "mine.yaml").write_text(SMALL.replace("small", "mine"))
    await mllm("models", "apply", "-f", str(models))
    await mllm.models("other", "small")

    outcome = await mllm("models", "apply", "-f", str(other), "--prune")

    assert outcome.out == "model/mine created\n"
    await mllm.models("mine", "other", "small")


async def test_a_manifest_that_was_printed_is_of_the_directory_it_is_put_in(
    mllm: Terminal, models: Path, tmp_path: Path
) -> None:
    await mllm("models", "apply", "-f", str(models))
    await mllm.models("other", "small")
    other = tmp_path / "team-b"
    other.mkdir()
    printed = await mllm("models", "get", "small", "-o", "yaml")
    (other / "small.yaml").write_text(printed.out)

    await mllm("models", "apply", "-f", str(other))
    (models / "small.yaml").unlink()
    pruned = await mllm("models", "apply", "-f", str(models), "--prune")

    assert pruned.out == "model/other unchanged\n"


async def test_a_place_that_does_not_exist_is_said_to(mllm: Terminal) -> None:
    outcome = await mllm("models", "apply", "-f", "nosuchdir", "--prune")

    assert outcome.code == 2
    assert "there is no file or directory nosuchdir" in outcome.err


async def test_what_still_serves_is_not_pruned_and_all_else_is_done(
    mllm: Terminal, models: Path
) -> None:
    await mllm("models", "apply", "-f", str(models))
    await mllm.models("other", "small")
    await mllm.rig.serve("other")
    (models / "inner" / "other.json").unlink()
    (models / "small.yaml").write_text(f"{SMALL}license: mit\n")

    outcome = await mllm("models", "apply", "-f", str(models), "--prune")

    assert outcome.code == 5
    assert outcome.out == "model/small configured\n"
    assert outcome.err.startswith("error: other: ")


async def test_a_model_that_is_in_two_files_changes_nothing(mllm: Terminal, models: Path) -> None:
    (models / "twice.yml").write_text(f"---\n---\nid: new\nweights: {{repo: a}}\n---\n{SMALL}")

    outcome = await mllm("models", "apply", "-f", str(models))

    assert outcome.code == 2
    assert "small is in " in outcome.err
    assert "small.yaml" in outcome.err
    assert "twice.yml#2" in outcome.err
    assert (await mllm.json("models", "list"))["items"] == []


async def test_one_bad_manifest_keeps_all_from_being_applied(mllm: Terminal, models: Path) -> None:
    (models / "bad.yaml").write_text("id: bad\nweights: {repo: a}\nmaxModelLen: 8\n")

    outcome = await mllm("models", "apply", "-f", str(models))

    assert outcome.code == 1
    assert "did you mean engine.maxModelLen?" in outcome.err
    assert (await mllm.json("models", "list"))["items"] == []


async def test_everything_that_is_wrong_is_told_on_a_line_of_its_own(
    mllm: Terminal, models: Path
) -> None:
    bad, worse = models / "bad.yaml", models / "worse.yaml"
    bad.write_text("id: bad\nweights: {repo: a}\nmaxModelLen: 8\nlicense: 5\n")
    worse.write_text("weights: {repo: a}\n")

    outcome = await mllm("models", "apply", "-f", str(models))

    first, *lines, remedy = outcome.err.splitlines()
    assert first == "error: the manifests have 3 errors"
    assert [line.partition(": ")[0] for line in lines] == [f"  {bad}", f"  {bad}", f"  {worse}"]
    assert remedy.startswith("remedy: put it right")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id: [", "in line 1"),
        ("id: a\nid: b\nweights: {repo: a}", "id is there more than once"),
        ("", "there is no manifest"),
    ],
)
async def test_a_file_that_can_not_be_read_says_where(
    mllm: Terminal, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)

    outcome = await mllm("models", "apply", "-f", str(tmp_path / "bad.yaml"))

    assert outcome.code != 0
    assert said in outcome.err


async def test_what_stands_in_the_way_of_serving_is_told_beside(
    mllm: Terminal, tmp_path: Path
) -> None:
    mllm.rig.checks.found = (Check("gpus", "fail", "none is free", "wait"),)
    (tmp_path / "small.yaml").write_text(SMALL)

    outcome = await mllm("models", "apply", "-f", str(tmp_path / "small.yaml"))

    assert (outcome.code, outcome.out) == (0, "model/small created\n")
    assert outcome.err == "  fail gpus: none is free (wait)\n"


async def test_a_directory_that_is_watched_is_applied_whenever_it_changes(
    mllm: Terminal, models: Path
) -> None:
    shell = Shell(mllm.rig, models.parent)
    watching = await shell.start("models", "apply", "-f", str(models), "--prune", "--watch")
    assert watching.stdout is not None
    assert watching.stderr is not None

    async def said(stream: asyncio.StreamReader) -> str:
        return (await asyncio.wait_for(stream.readline(), PATIENCE)).decode().rstrip()

    assert await said(watching.stdout) == "model/other created"
    assert await said(watching.stdout) == "model/small created"
    assert (await said(watching.stderr)).startswith(f"watching {models}")
    replace(models / "small.yaml", "id: small\nweights: {}\n")
    assert "either target or repo has to be given" in await said(watching.stderr)
    replace(models / "small.yaml", f"{SMALL}license: mit\n")
    assert await said(watching.stdout) == "model/small configured"
    await mllm.models("other", "small")
    (models / "small.yaml").unlink()
    assert await said(watching.stdout) == "model/small pruned"
    watching.terminate()
    await watching.communicate()


def replace(file: Path, text: str) -> None:
    """Write a file that is looked at meanwhile: it is never half of what it will be."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


async def test_a_watched_directory_that_is_gone_for_a_while_is_waited_for_and_nothing_is_pruned(
    mllm: Terminal, models: Path
) -> None:
    away = models.with_name("away")
    shell = Shell(mllm.rig, models.parent)
    watching = await shell.start("models", "apply", "-f", str(models), "--prune", "--watch")
    assert watching.stdout is not None
    assert watching.stderr is not None

    async def said(stream: asyncio.StreamReader) -> str:
        return (await asyncio.wait_for(stream.readline(), PATIENCE)).decode().rstrip()

    assert (await said(watching.stderr)).startswith(f"watching {models}")
    await mllm.models("other", "small")
    os.rename(models, away)
    while (told := await said(watching.stderr)) != f"error: there is no file or directory {models}":
        assert "can not be read" in told  # it went while it was being read
    (away / "small.yaml").write_text(f"{SMALL}license: mit\n")
    os.rename(away, models)
    assert [await said(watching.stdout) for _ in range(3)] == [
        "model/other created",
        "model/small created",
        "model/small configured",
    ]
    watching.terminate()
    out, err = await watching.communicate()
    assert (out, err) == (b"", b"")


async def test_manifests_come_in_from_stdin(mllm: Terminal, tmp_path: Path) -> None:
    shell = Shell(mllm.rig, tmp_path)

    outcome = await shell("models", "apply", "-f", "-", stdin=SMALL)

    assert (outcome.code, outcome.out) == (0, "model/small created\n")
    checked = await shell("models", "validate", "-", "--offline", stdin=SMALL)
    assert (checked.code, checked.out.splitlines()[0]) == (0, "stdin (small): pass")
    nothing = await shell("models", "validate", "-", "--offline", stdin="")
    assert (nothing.code, nothing.err.splitlines()[0]) == (
        2,
        "error: there is no manifest in stdin",
    )


async def test_what_is_to_be_validated_has_to_be_named(mllm: Terminal) -> None:
    outcome = await mllm("models", "validate")

    assert outcome.code == 2
    assert "or - for what comes in" in outcome.err


async def test_models_are_listed_printed_and_described(mllm: Terminal) -> None:
    facts = Facts(format="gguf", gguf_files=("model.gguf",))
    await mllm.rig.install("org/model", "model.gguf", overwrite=True, facts=facts)
    await mllm.rig.register("small", license="mit", aliases=("chat",), replicas=Replicas(1, 2))
    await mllm.rig.serve("small")
    await mllm.models("small")

    async def serving() -> bool:
        [row] = (await mllm.json("models", "list"))["items"]
        return (row["slots"], row["aliases"]) == (["active-llm"], ["chat"])

    await eventually(serving)
    listed = await mllm("models", "list")
    assert listed.out.splitlines()[1].split()[:5] == [
        "small", "org/model", "llamacpp", "active-llm", "chat"
    ]  # fmt: skip
    assert (await mllm("models", "get", "chat", "-o", "name")).out == "model/small\n"
    assert (await mllm("models", "get", "nothing")).code == 3
    described = (await mllm("models", "describe", "small")).out
    chosen = "llamacpp, chosen by the weights"
    for words in ("License:", "mit", "1 to 2", "active-llm", "registered", chosen):
        assert words in described


async def test_a_watched_list_shows_whatever_changes_its_rows(
    mllm: Terminal, tmp_path: Path
) -> None:
    await mllm.rig.register("small")
    await mllm.models("small")
    watching = await Shell(mllm.rig, tmp_path).start("models", "list", "--watch", "-o", "json")
    assert watching.stdout is not None
    assert watching.stderr is not None

    async def row() -> Any:
        assert watching.stdout is not None
        return msgspec.json.decode(await asyncio.wait_for(watching.stdout.readline(), PATIENCE))

    first = await row()
    assert (first["id"], first["aliases"], first["slots"]) == ("small", [], [])
    assert (await mllm("models", "alias", "small", "chat")).code == 0
    assert (await row())["aliases"] == ["chat"]
    await mllm.rig.serve("small")
    assert (await row())["slots"] == ["active-llm"]
    await mllm.rig.register("other")
    assert (await row())["id"] == "other"
    assert (await mllm("models", "delete", "other", "--yes")).code == 0
    gone = await asyncio.wait_for(watching.stderr.readline(), PATIENCE)
    assert gone == b"model/other is not in the list any more\n"
    watching.terminate()
    await watching.communicate()


async def test_a_list_can_be_of_some_and_of_another_time(mllm: Terminal) -> None:
    before = await mllm.rig.register("small", labels={"team": "search"})
    await mllm.rig.register("other")
    await mllm.models("other", "small")

    async def names(*argv: str) -> list[str]:
        return (await mllm("models", "list", "-q", *argv)).out.split()

    assert await names("--label", "team=search") == ["small"]
    assert await names("--label", "nothing") == []
    assert await names("--as-of", f"seq:{before}") == ["small"]
    assert await names("--target", "org/model", "--limit", "1") == ["other"]


async def test_what_is_got_as_yaml_can_be_applied(mllm: Terminal, tmp_path: Path) -> None:
    await mllm.rig.register("small", license="mit", labels={"team": "search"})
    await mllm.rig.register("other")
    await mllm.models("other", "small")

    got = await mllm("models", "get", "small", "other", "-o", "yaml")
    file = tmp_path / "got.yaml"
    file.write_text(got.out)

    assert (await mllm("models", "diff", "-f", str(file))).code == 0
    applied = await mllm("models", "apply", "-f", str(file))
    assert applied.out == "model/small unchanged\nmodel/other unchanged\n"


async def test_the_history_of_a_model_names_what_changed(mllm: Terminal, tmp_path: Path) -> None:
    first = await mllm.rig.register("small")
    await mllm.rig.register("small", license="mit")

    versions = (await mllm.json("models", "history", "small"))["items"]

    assert [(one["change"], one["changed"]) for one in versions] == [
        ("updated", ["license"]),
        ("registered", versions[1]["changed"]),
    ]
    then = await mllm("models", "get", "small", "--as-of", f"seq:{first}", "-o", "yaml")
    assert "license" not in then.out


async def test_files_and_catalog_are_compared(mllm: Terminal, tmp_path: Path) -> None:
    await mllm.rig.register("small", license="mit")
    await mllm.models("small")
    file = tmp_path / "small.yaml"
    file.write_text(f"{SMALL}license: mit\n")
    assert (await mllm("models", "diff", "-f", str(file))).code == 0
    file.write_text(f"{SMALL}license: apache-2.0\n")

    outcome = await mllm("models", "diff", "-f", str(file))

    assert outcome.code == 1
    assert outcome.out == dedent(f"""\
        --- model/small
        +++ {file}
        @@ -1,4 +1,4 @@
         id: small
         weights:
           target: org/model
        -license: mit
        +license: apache-2.0
        """)
    structured = await mllm("models", "diff", "-f", str(file), "-o", "json")
    assert structured.code == 1
    assert msgspec.json.decode(structured.out)["items"][0]["changes"] == [
        {"path": "license", "before": "mit", "after": "apache-2.0"}
    ]


async def test_a_model_that_is_not_registered_differs_in_every_line(
    mllm: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)

    outcome = await mllm("models", "diff", "-f", str(tmp_path / "small.yaml"))

    assert outcome.code == 1
    assert "+id: small" in outcome.out


async def test_a_file_that_is_no_manifest_is_not_called_different(
    mllm: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text("id: small")

    assert (await mllm("models", "diff", "-f", str(tmp_path / "small.yaml"))).code == 2
    assert (await mllm("models", "diff", "-f", str(tmp_path / "none.yaml"))).code == 2


async def test_a_file_of_a_directory_stays_of_the_directory(mllm: Terminal, models: Path) -> None:
    await mllm("models", "apply", "-f", str(models))
    await mllm.models("other", "small")
    file = str(models / "small.yaml")

    assert (await mllm("models", "diff", "-f", str(models))).code == 0
    assert (await mllm("models", "diff", "-f", file)).code == 0
    assert (await mllm("models", "apply", "-f", file)).out == "model/small unchanged\n"


async def test_every_check_is_shown_whatever_came_of_it(mllm: Terminal, tmp_path: Path) -> None:
    mllm.rig.checks.found = (
        Check("weights", "pass", "they are installed"),
        Check("memory", "warn", "it is tight", "shorten the context"),
        Check("gpus", "fail", "none is free", "wait for one"),
    )
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)

    outcome = await mllm("models", "validate", str(file))

    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == f"{file} (small): fail"
    for words in ("schema", "they are installed", "it is tight", "remedy: shorten the context"):
        assert words in outcome.out
    mllm.rig.checks.found = mllm.rig.checks.found[:2]
    assert (await mllm("models", "validate", str(file), "-q")).code == 0
    [verdict] = msgspec.json.decode(
        (await mllm("models", "validate", str(file), "-o", "json")).out
    )["items"]
    assert (verdict["outcome"], verdict["offline"]) == ("warn", False)


async def test_a_slip_of_the_pen_hides_no_other_check(mllm: Terminal, tmp_path: Path) -> None:
    mllm.rig.checks.found = (Check("weights", "pass", "they are installed"),)
    file = tmp_path / "small.yaml"
    file.write_text(SMALL + "licence: mit\n")

    for argv in ([str(file)], ["-f", str(file)]):
        outcome = await mllm("models", "validate", *argv)
        assert outcome.code == 1
        assert outcome.out.splitlines()[0] == f"{file} (small): fail"
        for words in ("did you mean license?", "they are installed"):
            assert words in outcome.out


async def test_what_is_no_manifest_is_told_in_full(mllm: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "id: a b\nweights: {repo: x}\nlicence: mit\n---\nid: good\nweights: {repo: x}\n"
    )

    outcome = await mllm("models", "validate", str(file))

    assert outcome.code == 1
    assert "did you mean license?" in outcome.out
    assert "id: has to be letters" in outcome.out
    assert f"{file}#2 (good): pass" in outcome.out


async def test_without_a_server_the_fields_are_checked(
    mllm: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    monkeypatch.setenv("MLLM_SERVER", "http://127.0.0.1:9")

    away = await mllm("models", "validate", str(file))
    offline = await mllm("models", "validate", str(file), "--offline")

    assert (away.code, offline.code) == (0, 0)
    assert "does not answer" in away.err
    assert "only the fields were checked" in away.err
    assert offline.err == "only the fields were checked, against the schema\n"
    file.write_text("id: small")
    assert (await mllm("models", "validate", str(file), "--offline")).code == 1


async def test_a_manifest_is_written_for_installed_weights(mllm: Terminal, tmp_path: Path) -> None:
    outcome = await mllm("models", "init", "org/model", "--id", "mine")

    assert outcome.code == 0, outcome.err
    first, second = outcome.out.splitlines()[:2]
    assert first == "# yaml-language-server: $schema=./model-manifest.schema.json"
    assert second.startswith("# ")
    assert yaml.safe_load(outcome.out)["weights"] == {"target": "org/model"}
    file = tmp_path / "mine.yaml"
    file.write_text(outcome.out)
    assert (await mllm("models", "apply", "-f", str(file))).out == "model/mine created\n"


async def test_a_manifest_is_written_for_a_repository(mllm: Terminal) -> None:
    outcome = await mllm("models", "init", "org/other")
    elsewhere = await mllm("models", "init", "org/model", "--revision", "v2")

    assert yaml.safe_load(outcome.out)["weights"] == {"repo": "org/other"}
    assert yaml.safe_load(elsewhere.out)["weights"] == {"repo": "org/model", "revision": "v2"}
    assert (await mllm("models", "init", "../x")).code == 2


async def test_the_schema_is_printed_without_a_server(
    mllm: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_SERVER", "http://127.0.0.1:9")

    outcome = await mllm("models", "schema")

    validator = jsonschema_rs.Draft202012Validator(msgspec.json.decode(outcome.out))
    assert validator.is_valid(yaml.safe_load(SMALL))


async def test_deleting_asks_and_what_serves_stays(mllm: Terminal) -> None:
    await mllm.rig.register("small")
    await mllm.rig.register("other")
    await mllm.rig.serve("other")

    assert (await mllm("models", "delete", "small")).code == 2
    outcome = await mllm("models", "delete", "other", "small", "nothing", "--yes")

    assert outcome.code == 5
    assert outcome.out == "model/small deleted\n"
    assert outcome.err.count("error: ") == 2
    await mllm.models("other")


async def test_whoever_names_an_alias_where_an_id_is_needed_is_told_the_id(
    mllm: Terminal,
) -> None:
    position = await mllm.rig.register("small", aliases=("chat",))
    await mllm.rig.get("/models", min_sequence=position)

    outcome = await mllm("models", "delete", "chat", "--yes")

    assert outcome.code == 3
    assert "remedy: did you mean 'small'?" in outcome.err


async def test_another_name_is_given_and_taken_away(mllm: Terminal) -> None:
    await mllm.rig.register("small")

    given = await mllm("models", "alias", "small", "chat")
    taken = await mllm("models", "alias", "small", "chat", "--delete")

    assert (given.code, given.out) == (0, "chat means small\n")
    assert (taken.code, taken.out) == (0, "chat means nothing now\n")
    assert (await mllm("models", "alias", "nothing", "chat")).code == 3


async def test_a_candidate_that_waits_is_promoted(mllm: Terminal) -> None:
    await mllm.rig.register("small")
    await mllm.rig.register("other")
    await mllm.rig.serve("small")
    id = await mllm.rig.activate("other", strategy="blue-green", hold=True)
    await mllm.rig.say(StartActivation("active-llm", id, "w"))
    await mllm.rig.say(EnterPhase("active-llm", id, "ready", 5))

    assert (await mllm("models", "promote", "small")).code != 0
    outcome = await mllm("models", "promote", "other", "--current", "small")

    assert outcome.code == 0, outcome.err


async def test_a_server_that_refuses_says_why(
    mllm: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    reader = await mllm.rig.issue("read")
    monkeypatch.setenv("MLLM_TOKEN", reader)

    outcome = await mllm("models", "apply", "-f", str(tmp_path / "small.yaml"))

    assert outcome.code == 4
    assert "catalog:write" in outcome.err
