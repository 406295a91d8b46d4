"""Online deployments: read first, then act; waiting with a deadline, and saying why one failed."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure.online_deployments import (
    create_online_deployment,
    delete_online_deployment,
    read_logs,
    update_online_deployment,
    wait_until_ready,
)
from rollway.errors import DeadlineExceeded, ProvisioningFailed
from rollway.rollout.plan import Plan
from rollway.rollout.state import CREATED_BY, RUN
from rollway.spec import RolloutSpec
from tests.unit.azure.fake import FakeAzure, run
from tests.unit.builders import Clock


def create(azure: FakeAzure, made: tuple[RolloutSpec, Plan]) -> str:
    state = run(create_online_deployment(azure.session, *made, "this run", clock=Clock()))
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

    run(update_online_deployment(azure.session, plan, "this run", clock=Clock()))

    entity = azure.online_deployments[name]
    assert entity.instance_count == 3
    assert {"cost-centre": "42", CREATED_BY: "another run", RUN: "this run"}.items() <= entity.tags.items()


def wait(azure: FakeAzure, timeout_seconds: float = 60) -> str:
    ready = wait_until_ready(azure.session, "diabetes", "green", timeout_seconds=timeout_seconds, clock=Clock())
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

    assert "(no log: it says no)" in run(read_logs(session, "diabetes", "green"))


def test_deleting_what_is_gone_is_fine(azure: FakeAzure) -> None:
    run(delete_online_deployment(azure.session, "diabetes", "red", clock=Clock()))

    assert azure.writes == []


def _refuse(*_: Any, **__: Any) -> Any:
    raise HttpResponseError("it says no")
