"""What the catalog allows of one model, of one alias; and what is news about a slot."""

import msgspec

from commands import alias, model, status
from schemas.alias import AliasSet, SetAlias
from schemas.manifest import EnvVar, Manifest, WeightsSource
from schemas.model import (
    DeleteModel,
    Model,
    ModelDeleted,
    ModelRegistered,
    ModelUpdated,
    RegisterModel,
)
from schemas.names import name_id
from schemas.status import RecordStatus, SlotStatus, StatusUpdated
from tests.given import Given

given = Given(model.decider)
given_alias = Given(alias.decider)
given_status = Given(status.decider)

FIRST = Manifest("qwen", WeightsSource("org/qwen"))
SECOND = Manifest("qwen", WeightsSource("org/qwen"), description="Another.")
HUGE = Manifest("qwen", FIRST.weights, env=tuple(EnvVar(f"V{n}", "x" * 4000) for n in range(50)))


def test_the_first_manifest_registers_a_model() -> None:
    registering = given().when(RegisterModel(FIRST))
    registering.then(ModelRegistered("qwen", FIRST))
    assert registering.and_then().state == Model(FIRST)


def test_the_same_manifest_again_changes_nothing() -> None:
    given(ModelRegistered("qwen", FIRST)).when(RegisterModel(FIRST)).then_nothing()


def test_another_manifest_is_the_next() -> None:
    updating = given(ModelRegistered("qwen", FIRST)).when(RegisterModel(SECOND))
    updating.then(ModelUpdated("qwen", SECOND))
    updating.and_then().when(RegisterModel(SECOND)).then_nothing()
    updating.and_then().when(RegisterModel(FIRST)).then(ModelUpdated("qwen", FIRST))


def test_a_manifest_that_no_commit_could_hold_is_refused() -> None:
    refused = given().when(RegisterModel(HUGE))
    refused.then_rejected("too_large", bytes=len(msgspec.json.encode(HUGE)), most=128 * 1024)


def test_a_model_is_deleted_once_and_may_come_again() -> None:
    deleting = given(ModelRegistered("qwen", FIRST)).when(DeleteModel("qwen"))
    deleting.then(ModelDeleted("qwen"))
    gone = deleting.and_then()
    gone.when(DeleteModel("qwen")).then_rejected("not_found")
    gone.when(RegisterModel(FIRST)).then(ModelRegistered("qwen", FIRST))


def test_what_never_was_is_not_deleted() -> None:
    given().when(DeleteModel("qwen")).then_rejected("not_found")


def test_every_model_and_every_alias_has_a_history_of_its_own() -> None:
    assert model.decider.id(RegisterModel(FIRST)) == name_id("qwen")
    assert model.decider.id(DeleteModel("qwen")) == name_id("qwen")
    assert alias.decider.id(SetAlias("a.b", "qwen")) == name_id("a.b")


def test_an_alias_means_what_it_was_last_told() -> None:
    setting = given_alias().when(SetAlias("chat", "qwen"))
    setting.then(AliasSet("chat", "qwen"))
    again = setting.and_then()
    again.when(SetAlias("chat", "qwen")).then_nothing()
    again.when(SetAlias("chat", "llama")).then(AliasSet("chat", "llama", "qwen"))


def test_an_alias_is_cleared_once() -> None:
    clearing = given_alias(AliasSet("chat", "qwen")).when(SetAlias("chat", None))
    clearing.then(AliasSet("chat", "", "qwen"))
    clearing.and_then().when(SetAlias("chat", None)).then_rejected("not_found")


def test_an_alias_is_cleared_of_one_meaning_and_no_other() -> None:
    chat = given_alias(AliasSet("chat", "qwen"))
    chat.when(SetAlias("chat", None, before="llama")).then_nothing()
    chat.when(SetAlias("chat", None, before="qwen")).then(AliasSet("chat", "", "qwen"))
    given_alias().when(SetAlias("chat", None, before="qwen")).then_nothing()


def test_an_alias_that_means_nothing_is_not_cleared() -> None:
    given_alias().when(SetAlias("chat", None)).then_rejected("not_found")


def test_only_what_is_new_about_a_slot_is_told() -> None:
    given_status().when(RecordStatus("main", SlotStatus())).then_nothing()
    loading = SlotStatus("loading", "qwen")
    telling = given_status().when(RecordStatus("main", loading))
    telling.then(StatusUpdated("main", loading))
    again = telling.and_then()
    again.when(RecordStatus("main", loading)).then_nothing()
    ready = SlotStatus("ready", "qwen")
    again.when(RecordStatus("main", ready)).then(StatusUpdated("main", ready))
    assert status.decider.id(RecordStatus("main", ready)) == "main"
