"""Endpoints and online deployments: read first, then act."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure import control_plane
from rollway.errors import DeadlineExceeded, NotFound, ProvisioningFailed
from rollway.rollout.plan import Plan
from rollway.rollout.state import CREATED_BY, RUN
from rollway.spec import RolloutSpec
from tests.unit.azure.fake import FakeAzure
from tests.unit.builders import Clock, RolloutFolder, a_plan, rollout_spec

T = TypeVar("T")
OURS = {CREATED_BY: "this run"}
THEIRS = {CREATED_BY: "another run"}


def run(call: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(call)


def test_an_endpoint_is_read_with_everything_behind_it(azure: FakeAzure) -> None:
    state = run(control_plane.read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.traffic, state.tags) == (True, {"blue": 100, "green": 0}, {"team": "ml"})
    assert [(one.name, one.is_succeeded) for one in state.online_deployments] == [("blue", True), ("green", True)]


def test_an_endpoint_that_is_not_there_is_a_value_not_an_error() -> None:
    state = run(control_plane.read_endpoint(FakeAzure().session, "diabetes"))

    assert (state.exists, state.name) == (False, "diabetes")


@pytest.fixture
def made(folder: RolloutFolder) -> tuple[RolloutSpec, Plan]:
    """A folder on disk, and the plan of its first rollout."""
    spec = rollout_spec().model_copy(update={"folder": str(folder.path)})
    return spec, a_plan(spec)


def create(azure: FakeAzure, made: tuple[RolloutSpec, Plan]) -> str:
    state = run(control_plane.create_online_deployment(azure.session, *made, "this run", clock=Clock()))
    return state.name


def test_an_online_deployment_is_created_with_everything_pinned(made: tuple[RolloutSpec, Plan]) -> None:
    azure, name = FakeAzure(), made[1].online_deployment
    azure.have_endpoint()

    assert create(azure, made) == name

    entity = azure.online_deployments[name]
    assert (entity.endpoint_name, entity.model) == ("diabetes", made[1].model.id)  # type: ignore[union-attr]
    assert entity.environment == made[1].environment.id  # type: ignore[union-attr]
    assert {**made[1].tags, RUN: "this run", CREATED_BY: "this run"}.items() <= entity.tags.items()
    assert azure.traffic == {}


@pytest.mark.parametrize("state", ["Succeeded", "Creating", "Updating"])
def test_one_that_is_there_or_on_its_way_is_adopted(made: tuple[RolloutSpec, Plan], state: str) -> None:
    azure = FakeAzure()
    azure.have_endpoint()
    azure.have(made[1].online_deployment, state)

    create(azure, made)

    assert azure.writes == []


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_one_that_failed_is_deleted_first(made: tuple[RolloutSpec, Plan], state: str) -> None:
    azure, name = FakeAzure(), made[1].online_deployment
    azure.have_endpoint()
    azure.have(name, state)

    create(azure, made)

    assert azure.writes == [f"delete {name}", f"put {name}"]


def test_an_in_place_change_keeps_the_tags_that_are_there(made: tuple[RolloutSpec, Plan]) -> None:
    azure, name = FakeAzure(), made[1].online_deployment
    azure.have(name, tags={"cost-centre": "42", CREATED_BY: "another run"}, instance_count=1)
    plan = made[1].model_copy(update={"instance_count": 3})

    run(control_plane.update_online_deployment(azure.session, plan, "this run"))

    entity = azure.online_deployments[name]
    assert entity.instance_count == 3
    assert {"cost-centre": "42", CREATED_BY: "another run", RUN: "this run"}.items() <= entity.tags.items()


def wait(azure: FakeAzure, timeout_seconds: float = 60) -> str:
    ready = control_plane.wait_until_ready(
        azure.session, "diabetes", "green", timeout_seconds=timeout_seconds, clock=Clock()
    )
    return run(ready).provisioning_state


def test_one_that_is_ready_ends_the_wait(azure: FakeAzure) -> None:
    assert wait(azure) == "Succeeded"


def test_one_that_failed_says_why_and_shows_both_logs(azure: FakeAzure) -> None:
    azure.have("green", "Failed", properties={"AzureAsyncOperationUri": "https://arm.example/operation"})
    azure.operation = {"error": {"code": None, "message": "ResourceNotReady: User container has crashed."}}

    with pytest.raises(ProvisioningFailed) as caught:
        wait(azure)

    assert str(caught.value).startswith(
        "the online deployment 'green' did not become ready\n"
        "  where: endpoint diabetes\n"
        "  why: ResourceNotReady: User container has crashed.\n"
    )
    assert "log of the inference server container, last 100 lines ---\ninference-server of green" in str(caught.value)
    assert "storage-initializer of green" in str(caught.value)


def test_one_that_failed_without_a_reason_says_that(azure: FakeAzure) -> None:
    azure.have("green", "Failed")

    with pytest.raises(ProvisioningFailed, match="Azure gives no reason; the state is Failed"):
        wait(azure)


def test_one_that_does_not_get_ready_ends_with_its_state_and_the_setting_to_change(azure: FakeAzure) -> None:
    azure.have("green", "Creating")

    with pytest.raises(DeadlineExceeded) as caught:
        wait(azure, timeout_seconds=9)

    assert caught.value.why == "it was last seen as: Creating"
    assert "ready_timeout_seconds" in str(caught.value.hint)


def test_a_log_that_azure_does_not_have_is_no_error(azure: FakeAzure) -> None:
    session: Any = azure.session
    session.ml.online_deployments.get_logs = _refuse

    assert "(no log: it says no)" in run(control_plane.read_logs(session, "diabetes", "green"))


def test_deleting_what_is_gone_is_fine(azure: FakeAzure) -> None:
    assert run(control_plane.delete_online_deployment(azure.session, "diabetes", "red", clock=Clock())) == "absent"


def ensure(azure: FakeAzure, spec: RolloutSpec, *, is_dry_run: bool = False) -> bool:
    ensured = control_plane.ensure_endpoint(azure.session, spec, "this run", is_dry_run=is_dry_run, clock=Clock())
    return run(ensured).exists


def test_a_missing_endpoint_is_created_and_marked_as_ours(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()

    assert ensure(azure, made[0])
    assert azure.endpoint is not None
    assert (azure.endpoint.tags or {})[CREATED_BY] == "this run"


def test_an_endpoint_as_described_is_left_alone(azure: FakeAzure) -> None:
    assert ensure(azure, rollout_spec())
    assert azure.writes == []


def test_an_endpoint_that_differs_is_changed_and_keeps_its_traffic_and_tags(azure: FakeAzure) -> None:
    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token", "tags": {"new": "tag"}}))

    assert azure.endpoint is not None
    assert (azure.endpoint.auth_mode, azure.traffic) == ("aad_token", {"blue": 100})
    assert azure.endpoint.tags == {"team": "ml", "new": "tag"}


def test_an_endpoint_on_which_an_operation_runs_is_waited_for(azure: FakeAzure) -> None:
    azure.start_operation(lambda: azure.set_traffic(green=100))

    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))

    assert azure.traffic == {"green": 100}
    assert len(azure.writes) == 1


def test_an_endpoint_whose_creation_failed_is_created_again(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()
    azure.have_endpoint("Failed")

    ensure(azure, made[0])

    assert [write.split(" {")[0] for write in azure.writes] == ["delete endpoint diabetes", "put endpoint"]


def test_a_dry_run_writes_nothing(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()

    assert not ensure(azure, made[0], is_dry_run=True)
    assert azure.writes == []


def test_an_endpoint_that_disappears_meanwhile_is_an_error_that_says_so(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_vanish(entity: Any) -> None:
        put(entity)
        azure.endpoint = None

    azure._put_endpoint = put_and_vanish  # type: ignore[method-assign]

    with pytest.raises(NotFound, match="has disappeared"):
        ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))


def _refuse(*_: Any, **__: Any) -> Any:
    raise HttpResponseError("it says no")
