"""The rows of models, of their aliases and of what is seen of slots."""

from projections import aliases, models, statuses
from projections.rows import Part
from projections.table import Db
from projections.weights import fold as weights_fold
from schemas.alias import AliasSet
from schemas.facts import Facts
from schemas.manifest import Manifest, WeightsSource
from schemas.model import ModelDeleted, ModelRegistered, ModelUpdated
from schemas.status import SlotStatus, StatusUpdated
from schemas.weights import WeightsInstalled
from tests.projections.keeping import write
from tests.projections.telling import (
    ACTOR,
    JOB,
    TARGET,
    Told,
    alias,
    at,
    manifest,
    model,
    reserved,
    seen,
    weights,
)

LABELLED = Manifest("big", WeightsSource(repo="org/big"), runtime="vllm", labels={"team": "search"})


async def test_a_model_is_what_its_manifest_says(db: Db) -> None:
    told = Told()
    told(model("big"), ModelRegistered("big", LABELLED))
    await write(db, told.commits)

    row = await models.get(db, "default", "big")

    assert row is not None
    assert (row.name, row.version, row.manifest) == ("big", 1, LABELLED)
    assert (row.target, row.repo, row.runtime) == ("org/big", "org/big", "vllm")
    assert (row.updated_by, row.registered_at) == (ACTOR, at(1))


async def test_an_update_is_the_next_version_of_the_same_model(db: Db) -> None:
    told = Told()
    told(model(), ModelRegistered("small", manifest()))
    told(model(), ModelUpdated("small", manifest(max_replicas=3)))
    await write(db, told.commits)

    now = await models.get(db, "default", "small")
    then = await models.get(db, "default", "small", as_of=1)

    assert now is not None
    assert then is not None
    assert (now.version, now.registered_at, now.updated_at) == (2, at(1), at(2))
    assert (then.version, then.replicas.max) == (1, 1)


async def test_a_model_that_was_deleted_is_still_seen_where_it_was(db: Db) -> None:
    told = Told()
    told(model(), ModelRegistered("small", manifest()))
    told(model(), ModelDeleted("small"))
    told(model(), ModelRegistered("small", manifest()))
    await write(db, told.commits)

    assert await models.get(db, "default", "small", as_of=2) is None
    again = await models.get(db, "default", "small")
    assert again is not None
    assert again.registered_at == at(3)


async def test_models_are_chosen_by_what_they_are(db: Db) -> None:
    told = Told()
    told(model(), ModelRegistered("small", manifest()))
    told(model("big"), ModelRegistered("big", LABELLED))
    told(model("big", "other"), ModelRegistered("big", LABELLED))
    await write(db, told.commits)

    async def found(wanted: models.Wanted, as_of: int | None = None) -> list[str]:
        page = await models.page(db, wanted, Part(as_of=as_of))
        return [f"{row.namespace}/{row.name}" for row in page.items]

    assert await found(models.Wanted(None)) == ["default/big", "other/big", "default/small"]
    assert await found(models.Wanted("default", target=TARGET)) == ["default/small"]
    assert await found(models.Wanted("default", label="team")) == ["default/big"]
    assert await found(models.Wanted("default", label="team=search")) == ["default/big"]
    assert await found(models.Wanted("default", label="team=other")) == []
    assert await found(models.Wanted("default", label="team="), 2) == []
    assert await found(models.Wanted(None, names=("other/big",))) == ["other/big"]
    assert await found(models.Wanted(None, names=())) == []
    assert await found(models.Wanted("default", label="team"), as_of=1) == []


async def test_an_alias_is_there_while_it_means_something(db: Db) -> None:
    told = Told()
    told(alias(), AliasSet("chat", "small"))
    told(alias(), AliasSet("chat", "big", "small"))
    told(alias(), AliasSet("chat", "", "big"))
    await write(db, told.commits)

    meant = [await aliases.get(db, "default", "chat", as_of) for as_of in (0, 1, 2, 3)]

    assert [row.model if row else None for row in meant] == [None, "small", "big", None]
    wanted = aliases.Wanted("default", models=("big",))
    assert len((await aliases.page(db, wanted, Part(as_of=2))).items) == 1
    assert (await aliases.page(db, aliases.Wanted("default", models=()), Part())).items == ()


async def test_the_newest_word_on_a_slot_is_its_status(db: Db) -> None:
    told = Told()
    told(seen(), StatusUpdated("active-llm", SlotStatus("loading", "small")))
    told(seen(), StatusUpdated("active-llm", SlotStatus("ready", "small", replicas_ready=1)))
    await write(db, told.commits)

    row = await statuses.get(db, "default", "active-llm")

    assert row is not None
    assert (row.slot, row.health, row.replicas_ready, row.position) == ("active-llm", "ready", 1, 2)


def test_installed_weights_say_what_their_own_files_do() -> None:
    told = Told()
    facts = Facts(format="gguf", architecture="llama")
    told(weights(), reserved())
    told(
        weights(),
        WeightsInstalled(
            TARGET, JOB, "m", "key", "default", "org/m", "main", "c", 1, 1, facts=facts
        ),
    )
    row = weights_fold.row_of(told.commits)
    assert row is not None
    assert row.facts == facts
