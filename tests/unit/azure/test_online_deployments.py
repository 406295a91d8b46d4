"""Online deployments: read first, then act; waiting with a deadline, and saying why one failed."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.ai.ml.entities import CodeConfiguration
from azure.core.exceptions import HttpResponseError

from rollway.azure.online_deployments import (
    create_online_deployment,
    delete_online_deployment,
    read_logs,
    require_unchanged,
    update_online_deployment,
    wait_until_ready,
)
from rollway.azure.state import read_online_deployment
from rollway.errors import DeadlineExceeded, ForeignChange, LeaseLost, ProvisioningFailed
from rollway.rollout.plan import Plan
from rollway.rollout.record import CREATED_BY, RUN
from rollway.spec import RolloutSpec
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, run


def create(azure: FakeAzure, made: tuple[RolloutSpec, Plan]) -> str:
    state = run(create_online_deployment(azure.session, *made, OURS, clock=Clock()))
    return state.name


def ours() -> FakeAzure:
    """An endpoint with nothing behind it, held by our run attempt."""
    azure = FakeAzure()
    azure.have_endpoint()
    azure.lease_to(OURS)
    return azure


def test_an_online_deployment_is_created_with_everything_pinned(made: tuple[RolloutSpec, Plan]) -> None:
    azure, name = ours(), made[1].online_deployment

    assert create(azure, made) == name

    entity = azure.online_deployments[name]
    assert (entity.endpoint_name, entity.model) == ("diabetes", made[1].model.id)  # type: ignore[union-attr]
    assert entity.environment == made[1].environment.id  # type: ignore[union-attr]
    assert {**made[1].tags, RUN: OURS, CREATED_BY: OURS}.items() <= entity.tags.items()
    assert azure.traffic == {}


@pytest.mark.parametrize("state", ["Succeeded", "Creating", "Updating"])
def test_one_that_is_there_or_on_its_way_is_adopted(made: tuple[RolloutSpec, Plan], state: str) -> None:
    azure = ours()
    azure.have(made[1].online_deployment, state)

    create(azure, made)

    assert azure.writes == []


def test_nothing_is_created_without_the_lease(made: tuple[RolloutSpec, Plan]) -> None:
    azure = ours()
    azure.lease_to(THEIRS)

    with pytest.raises(LeaseLost, match="another rollout took over the endpoint 'diabetes'"):
        create(azure, made)

    assert (azure.writes, azure.online_deployments) == ([], {})


def test_one_that_failed_is_not_deleted_without_the_lease(made: tuple[RolloutSpec, Plan]) -> None:
    azure = ours()
    azure.have(made[1].online_deployment, "Failed")
    azure.lease_to(THEIRS)

    with pytest.raises(LeaseLost):
        create(azure, made)

    assert azure.writes == []


def test_a_creation_is_tried_again_while_another_operation_runs(made: tuple[RolloutSpec, Plan]) -> None:
    azure = ours()
    azure.start_operation(lambda: None)

    assert azure.writes == []
    assert create(azure, made) == made[1].online_deployment
    assert azure.writes == [f"put {made[1].online_deployment}"]


def test_a_creation_during_which_another_takes_over_writes_nothing(made: tuple[RolloutSpec, Plan]) -> None:
    azure = ours()
    azure.start_operation(lambda: azure.lease_to(THEIRS))

    with pytest.raises(LeaseLost):
        create(azure, made)

    assert azure.writes == []


def test_a_creation_whose_answer_is_lost_is_made_once(made: tuple[RolloutSpec, Plan]) -> None:
    azure = ours()
    azure.lost_answers = 1

    create(azure, made)

    assert azure.writes == [f"put {made[1].online_deployment}"]


def test_one_that_disappears_as_soon_as_it_is_created_is_reported(made: tuple[RolloutSpec, Plan]) -> None:
    azure = ours()
    put = azure._put

    def put_and_vanish(entity: Any) -> None:
        put(entity)
        azure.online_deployments.clear()

    azure._put = put_and_vanish  # type: ignore[method-assign]

    with pytest.raises(ForeignChange, match="has disappeared"):
        create(azure, made)


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_one_that_failed_is_deleted_first(made: tuple[RolloutSpec, Plan], state: str) -> None:
    azure, name = ours(), made[1].online_deployment
    azure.have(name, state)

    create(azure, made)

    assert azure.writes == [f"delete {name}", f"put {name}"]


def test_an_in_place_change_keeps_the_tags_that_are_there(made: tuple[RolloutSpec, Plan]) -> None:
    azure, name = ours(), made[1].online_deployment
    azure.have(name, tags={"cost-centre": "42", CREATED_BY: THEIRS, RUN: THEIRS}, instance_count=1)
    plan = made[1].model_copy(update={"instance_count": 3})

    run(update_online_deployment(azure.session, plan, OURS, clock=Clock()))

    entity = azure.online_deployments[name]
    assert entity.instance_count == 3
    assert {"cost-centre": "42", CREATED_BY: THEIRS, RUN: OURS}.items() <= entity.tags.items()


def test_nothing_is_changed_in_place_without_the_lease(made: tuple[RolloutSpec, Plan]) -> None:
    azure, name = ours(), made[1].online_deployment
    azure.have(name, instance_count=1)
    azure.lease_to(THEIRS)
    plan = made[1].model_copy(update={"instance_count": 3})

    with pytest.raises(LeaseLost):
        run(update_online_deployment(azure.session, plan, OURS, clock=Clock()))

    assert azure.writes == []
    assert azure.online_deployments[name].instance_count == 1


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


def delete(azure: FakeAzure, name: str) -> None:
    run(delete_online_deployment(azure.session, "diabetes", name, OURS, clock=Clock()))


def test_deleting_waits_until_it_is_gone(held: FakeAzure) -> None:
    delete(held, "green")

    assert held.writes == ["delete green"]
    assert set(held.online_deployments) == {"blue"}


def test_deleting_what_is_gone_is_fine(held: FakeAzure) -> None:
    delete(held, "red")

    assert held.writes == []


@pytest.mark.parametrize("holder", [THEIRS, None])
def test_nothing_is_deleted_without_the_lease(azure: FakeAzure, holder: str | None) -> None:
    if holder:
        azure.lease_to(holder)

    with pytest.raises(LeaseLost, match="another rollout took over"):
        delete(azure, "green")

    assert azure.writes == []
    assert "green" in azure.online_deployments


def test_one_whose_code_was_swapped_since_it_was_ready_may_get_no_traffic(azure: FakeAzure) -> None:
    azure.have("green", code_configuration=CodeConfiguration("/codes/1/versions/1", "score.py"))

    with pytest.raises(ForeignChange) as caught:
        require(
            azure,
            lambda: azure.have("green", code_configuration=CodeConfiguration("/codes/2/versions/1", "score.py")),
        )

    assert caught.value.why == "code: /codes/1/versions/1 -> /codes/2/versions/1"


def require(azure: FakeAzure, change: Callable[[], object]) -> None:
    seen = run(read_online_deployment(azure.session, "diabetes", "green"))
    assert seen is not None
    change()
    run(require_unchanged(azure.session, "diabetes", seen))


def test_one_that_stayed_as_it_was_may_get_traffic(azure: FakeAzure) -> None:
    require(azure, lambda: azure.set_traffic(blue=90, green=10))


@pytest.mark.parametrize(
    ("state", "values", "why"),
    [
        ("Failed", {"tags": {CREATED_BY: OURS, RUN: OURS}}, "provisioning_state: Succeeded -> Failed"),
        (
            "Succeeded",
            {"tags": {CREATED_BY: OURS, RUN: OURS}, "instance_count": 2, "model": "azureml:x:1"},
            "instance_count: 1 -> 2; model: None -> azureml:x:1",
        ),
        ("Succeeded", {"tags": {}}, f"tags: {{'{CREATED_BY}': '{OURS}', '{RUN}': '{OURS}'}} -> {{}}"),
    ],
    ids=["it failed", "content", "tags"],
)
def test_one_that_was_changed_since_it_was_ready_may_not(
    azure: FakeAzure, state: str, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(ForeignChange, match="'green' was changed by somebody else") as caught:
        require(azure, lambda: azure.have("green", state, **values))

    assert caught.value.why == why


def test_one_that_is_gone_since_it_was_ready_may_not_get_traffic(azure: FakeAzure) -> None:
    with pytest.raises(ForeignChange, match="'green' was changed by somebody else") as caught:
        require(azure, lambda: azure.online_deployments.pop("green"))

    assert caught.value.why == "it is gone"


def _refuse(*_: Any, **__: Any) -> Any:
    raise HttpResponseError("it says no")
