"""Online deployments: created once and with everything pinned, changed in place, and deleted."""

from typing import Any

import pytest

from rollway.azure.online_deployments import (
    change_online_deployment,
    create_online_deployment,
    delete_online_deployment,
    read_logs,
)
from rollway.azure.unpolled import Accepted
from rollway.azure.waiting import LAG_SECONDS
from rollway.errors import (
    ConfigurationError,
    ForeignChange,
    NotFound,
    RequestRefused,
)
from rollway.rollout.moves import Kind, Move
from rollway.rollout.record import OnlineDeploymentRecord, with_record
from tests.support.builders import Clock, RolloutFolder
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, answer_with_404_once, refuse, run
from tests.unit.azure.conftest import Planned


@pytest.fixture
def empty() -> FakeAzure:
    """An endpoint with nothing behind it."""
    azure = FakeAzure()
    azure.have_endpoint()
    return azure


def create(azure: FakeAzure, planned: Planned, move: Move | None = None, clock: Clock | None = None) -> str | None:
    move, clock = move or planned.create, clock or Clock()
    return run(create_online_deployment(azure.session, planned.spec, planned.wanted, move, OURS, clock=clock))


def test_an_online_deployment_is_created_with_everything_pinned_and_without_traffic(
    empty: FakeAzure, planned: Planned
) -> None:
    operation = create(empty, planned)

    entity = empty.online_deployments[planned.name]
    assert operation == entity.properties["AzureAsyncOperationUri"] == "https://arm/operations/1"
    assert planned.wanted.model is not None
    assert planned.wanted.environment is not None
    assert (entity.endpoint_name, entity.model) == ("diabetes", planned.wanted.model.id)
    assert entity.environment == planned.wanted.environment.id
    assert (empty.writes, empty.traffic) == ([f"put {planned.name}"], {})


def test_its_record_tells_what_it_is_and_who_created_it(empty: FakeAzure, planned: Planned) -> None:
    create(empty, planned)

    record = OnlineDeploymentRecord.of(empty.online_deployments[planned.name].tags)
    assert planned.create.made is not None
    assert (record.fingerprint, record.model) == (planned.create.made.fingerprint, "diabetes:1")
    assert (record.created_by, record.written_by) == (OURS, OURS)
    assert record.created_at is not None
    assert len(record.created_at) == len("2026-01-02T03:04:05.678+00:00"), "its creation and a promotion must differ"


def test_the_move_and_not_the_file_says_how_many_instances_it_gets(empty: FakeAzure, planned: Planned) -> None:
    create(empty, planned, planned.create.model_copy(update={"instances": 4}))

    assert planned.spec.online_deployment.instance_count == 1
    assert empty.online_deployments[planned.name].instance_count == 4


@pytest.mark.parametrize("state", ["Succeeded", "Creating", "Updating"])
def test_one_that_is_there_or_on_its_way_is_not_created_again(empty: FakeAzure, planned: Planned, state: str) -> None:
    empty.have(planned.name, state)

    assert create(empty, planned) is None
    assert empty.writes == []


def test_a_creation_is_tried_again_while_another_operation_runs(empty: FakeAzure, planned: Planned) -> None:
    empty.start_operation(lambda: None, requests=7)

    create(empty, planned)

    assert empty.writes == [f"put {planned.name}"]


@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_creation_of_which_the_answer_or_the_request_is_lost_is_made_once(
    empty: FakeAzure, planned: Planned, loss: str
) -> None:
    setattr(empty, loss, 1)

    create(empty, planned)

    assert empty.writes == [f"put {planned.name}"]


def test_a_list_that_lags_is_waited_for_so_that_the_next_decision_sees_it(empty: FakeAzure, planned: Planned) -> None:
    empty.lagging_lists, clock = 3, Clock()

    create(empty, planned, clock=clock)

    assert empty.requests.count("list") == 4
    assert [one.name for one in empty.state.online_deployments] == [planned.name]
    assert 0 < clock.seconds < LAG_SECONDS


def test_a_list_that_is_a_404_once_is_read_again(empty: FakeAzure, planned: Planned) -> None:
    answer_with_404_once(empty, "list")

    create(empty, planned)

    assert [one.name for one in empty.state.online_deployments] == [planned.name]


def test_one_that_no_list_ever_shows_has_disappeared(empty: FakeAzure, planned: Planned) -> None:
    empty.lagging_lists, clock = 10_000, Clock()

    with pytest.raises(ForeignChange) as caught:
        create(empty, planned, clock=clock)

    assert caught.value.what == f"the online deployment {planned.name!r} has disappeared"
    assert (caught.value.where, caught.value.exit_code) == ("endpoint diabetes", 3)
    assert clock.seconds == LAG_SECONDS


def test_nothing_is_created_from_a_folder_that_changed_since_the_plan(
    empty: FakeAzure, planned: Planned, folder: RolloutFolder
) -> None:
    folder.write("code/score.py", "def init(): ...\n\n\ndef run(data): ...\n")

    with pytest.raises(ConfigurationError, match="the folder changed since the plan") as caught:
        create(empty, planned)

    assert (caught.value.why, caught.value.exit_code, empty.writes) == ("different now: code", 2, [])


def test_the_folder_is_read_again_after_each_wait(empty: FakeAzure, planned: Planned, folder: RolloutFolder) -> None:
    first_try = 2  # requests: it reads, and the write is refused
    empty.start_operation(lambda: folder.change("deployment.yml", instance_type="Standard_DS4_v2"), first_try)

    with pytest.raises(ConfigurationError, match="the folder changed since the plan"):
        create(empty, planned)

    assert empty.writes == []


def test_a_creation_that_azure_refuses_names_the_file_that_describes_it(empty: FakeAzure, planned: Planned) -> None:
    empty.instead(put=refuse)

    with pytest.raises(RequestRefused) as caught:
        create(empty, planned)

    assert caught.value.what == f"cannot create the online deployment {planned.name!r}"
    assert caught.value.where == f"endpoint diabetes, {planned.spec.folder}/deployment.yml"


# What it was when Rollway created it, and what a change of its instance count makes of that.
BEFORE = OnlineDeploymentRecord(fingerprint="1:f", model="diabetes:1", instances=1).created(THEIRS, "then")
AFTER = BEFORE.changed(BEFORE.model_copy(update={"instances": 3}), OURS)


def change(
    azure: FakeAzure, tags: dict[str, str] | None = None, made: OnlineDeploymentRecord | None = AFTER
) -> str | None:
    move = Move(kind=Kind.CHANGE, target="green", why="the file says so", made=made, instances=3)
    return run(change_online_deployment(azure.session, "diabetes", tags or {}, move, clock=Clock()))


@pytest.fixture
def changeable(azure: FakeAzure) -> FakeAzure:
    """`green` has one instance, a tag of somebody, and the record `BEFORE`."""
    azure.have("green", tags=with_record({"cost-centre": "42"}, BEFORE), instance_count=1, model="azureml:diabetes:1")
    return azure


def test_a_change_in_place_is_one_write_of_instance_count_and_tags_and_keeps_what_runs(changeable: FakeAzure) -> None:
    change(changeable, {"team": "ml"})

    entity = changeable.online_deployments["green"]
    assert (entity.instance_count, entity.model) == (3, "azureml:diabetes:1")
    assert {"cost-centre": "42", "team": "ml"}.items() <= entity.tags.items()
    assert OnlineDeploymentRecord.of(entity.tags) == AFTER
    assert (AFTER.created_by, AFTER.written_by, AFTER.instances) == (THEIRS, OURS, 3)
    assert changeable.writes == ["put green"]


def test_a_change_without_a_new_record_keeps_the_old_one(changeable: FakeAzure) -> None:
    change(changeable, made=None)

    assert OnlineDeploymentRecord.of(changeable.online_deployments["green"].tags) == BEFORE


@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_change_of_which_the_answer_or_the_request_is_lost_is_made(changeable: FakeAzure, loss: str) -> None:
    setattr(changeable, loss, 1)

    change(changeable)

    assert changeable.online_deployments["green"].instance_count == 3


def test_a_change_gives_the_address_of_its_own_operation_which_the_resource_does_not_name(
    empty: FakeAzure, planned: Planned
) -> None:
    created = create(empty, planned)
    move = Move(kind=Kind.CHANGE, target=planned.name, why="the file says so", instances=3)

    changed = run(change_online_deployment(empty.session, "diabetes", {}, move, clock=Clock()))

    assert (created, changed) == ("https://arm/operations/1", "https://arm/operations/2")
    assert empty.online_deployments[planned.name].properties["AzureAsyncOperationUri"] == created


def test_a_change_waits_until_the_endpoint_is_free(changeable: FakeAzure) -> None:
    changeable.start_operation(lambda: None, requests=6)

    change(changeable)

    assert changeable.writes == ["put green"]


def test_one_that_a_single_read_does_not_show_is_changed(changeable: FakeAzure) -> None:
    answer_with_404_once(changeable, "get")

    change(changeable)

    assert changeable.online_deployments["green"].instance_count == 3


def test_one_that_is_gone_cannot_be_changed(changeable: FakeAzure) -> None:
    del changeable.online_deployments["green"]

    with pytest.raises(NotFound) as caught:
        change(changeable)

    assert (caught.value.what, changeable.writes) == ("cannot change 'green'", [])


def test_a_log_that_azure_does_not_have_is_no_error(azure: FakeAzure) -> None:
    session: Any = azure.session
    session.ml.online_deployments.get_logs = refuse

    assert "(no log: it says no)" in run(read_logs(session, "diabetes", "green"))


def delete(azure: FakeAzure, name: str) -> None:
    run(delete_online_deployment(azure.session, "diabetes", name, clock=Clock()))


def test_deleting_waits_until_it_is_gone(azure: FakeAzure) -> None:
    get, looks = azure._get, iter(["Succeeded", "Deleting", "Deleting"])

    def look(name: str, endpoint: str) -> Any:
        state = next(looks, None)
        if state is None:
            del azure.online_deployments[name]
        else:
            azure.have(name, state)
        return get(name, endpoint)

    azure.instead(get=look, delete=lambda *_: Accepted())

    delete(azure, "green")

    assert set(azure.online_deployments) == {"blue"}
    assert list(looks) == []


def test_deleting_what_is_gone_writes_nothing(azure: FakeAzure) -> None:
    delete(azure, "red")

    assert azure.writes == []


@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_delete_of_which_the_answer_or_the_request_is_lost_is_made_once(azure: FakeAzure, loss: str) -> None:
    setattr(azure, loss, 1)

    delete(azure, "green")

    assert (azure.writes, set(azure.online_deployments)) == (["delete green"], {"blue"})


def test_a_delete_waits_until_the_endpoint_is_free(azure: FakeAzure) -> None:
    azure.start_operation(lambda: None, requests=6)

    delete(azure, "green")

    assert azure.writes == ["delete green"]


def test_azure_refuses_to_delete_what_has_traffic(azure: FakeAzure) -> None:
    with pytest.raises(RequestRefused) as caught:
        delete(azure, "blue")

    assert caught.value.what == "cannot delete the online deployment 'blue'"
    assert (caught.value.why, "blue" in azure.online_deployments) == ("it has traffic", True)
