"""The wait for an online deployment, and the reason of its failure: that of its last operation, or none."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.online_deployments import wait_until_ready
from rollway.azure.waiting import LAG_SECONDS
from rollway.errors import DeadlineExceeded, NotFound, ProvisioningFailed
from tests.support.builders import Clock
from tests.support.fake_azure import FakeAzure, run


def wait(azure: FakeAzure, timeout_seconds: float = 60, clock: Clock | None = None, **options: Any) -> str:
    ready = wait_until_ready(
        azure.session, "diabetes", "green", timeout_seconds=timeout_seconds, clock=clock or Clock(), **options
    )
    return run(ready).provisioning_state


def test_one_that_is_ready_ends_the_wait(azure: FakeAzure) -> None:
    assert wait(azure) == "Succeeded"


def test_each_look_of_a_wait_is_told(azure: FakeAzure) -> None:
    azure.have("green", "Creating")
    told = []

    async def on_progress(state: str, waited: float) -> None:
        told.append((state, waited))
        azure.have("green", "Succeeded")

    assert wait(azure, on_progress=on_progress) == "Succeeded"
    assert told == [("Creating", 0.0), ("Succeeded", 0.5)]


CREATION, CHANGE = "https://arm/operations/creation", "https://arm/operations/change"
CRASHED = {"code": None, "message": "ResourceNotReady: User container has crashed."}
NO_CORES = {"code": None, "message": "OutOfQuota: No cores."}


def have_failed(
    azure: FakeAzure, *, creation: str = "Succeeded", change: str = "Failed", state: str = "Failed"
) -> None:
    """`green` failed: its creation and a later change of it ended as given."""
    azure.have("green", state, properties={"AzureAsyncOperationUri": CREATION})
    for address, status, error in ((CREATION, creation, CRASHED), (CHANGE, change, NO_CORES)):
        azure.operations[address] = {"status": status} | ({"error": error} if status == "Failed" else {})


def failure(azure: FakeAzure, operation: str | None = None) -> ProvisioningFailed:
    with pytest.raises(ProvisioningFailed) as caught:
        wait(azure, timeout_seconds=600, operation=operation)
    return caught.value


def test_one_that_failed_says_why_and_shows_both_logs(azure: FakeAzure) -> None:
    have_failed(azure, creation="Failed")

    error = failure(azure)

    assert str(error).startswith(
        "the online deployment 'green' did not become ready\n"
        "  where: endpoint diabetes\n"
        "  why: ResourceNotReady: User container has crashed.\n"
    )
    assert "log of the inference server container, last 100 lines ---\ninference-server of green" in error.with_log
    assert "storage-initializer of green" in error.with_log
    assert "storage-initializer" not in str(error)
    assert (error.exit_code, error.is_models_fault) == (3, True)


FRAMES = 'Traceback (most recent call last):\n  File "score.py", line 1\n'


@pytest.mark.parametrize(
    ("code", "what", "to_do"),
    [
        (
            "ResourceNotReady",
            "ModuleNotFoundError: No module named 'lightgbm' (the online",
            "the package that has lightgbm",
        ),
        ("ImageBuildFailure", "the online deployment 'green' did not become ready", "conda file or Dockerfile"),
        ("OutOfQuota", "the online deployment 'green' did not become ready", "request more cores"),
    ],
)
def test_the_exception_of_the_container_comes_first_if_a_container_has_run(
    azure: FakeAzure, code: str, what: str, to_do: str
) -> None:
    have_failed(azure, creation="Failed")
    azure.operations[CREATION] = {"status": "Failed", "error": {"code": code, "message": "it failed"}}
    azure.log = f"{FRAMES}ModuleNotFoundError: No module named 'lightgbm'\n"

    error = failure(azure)

    assert error.what.startswith(what)
    assert to_do in str(error.hint)
    assert "No module named 'lightgbm'" in str(error.log)


def test_the_reason_of_a_failed_change_is_that_of_the_operation_that_was_started(azure: FakeAzure) -> None:
    have_failed(azure)

    error = failure(azure, CHANGE)

    assert (error.why, error.code, error.is_models_fault) == ("OutOfQuota: No cores.", "OutOfQuota", False)


@pytest.mark.parametrize("operation", [None, CREATION, "https://arm/operations/gone"])
def test_the_reason_of_a_change_that_this_attempt_did_not_start_is_not_known_and_never_the_creations(
    azure: FakeAzure, operation: str | None
) -> None:
    have_failed(azure)

    error = failure(azure, operation)

    assert error.why == (
        "Azure gives the reason only in the operation that failed, and this run does not know which one that was; "
        "the state is Failed"
    )
    assert "read the log, fix what" in str(error.hint)
    assert not error.is_models_fault, "nothing is known, so nobody is to blame"


@pytest.mark.parametrize("status", ["Failed", "Canceled"])
def test_an_operation_that_failed_without_a_reason_says_that(azure: FakeAzure, status: str) -> None:
    have_failed(azure, state=status)
    azure.operations[CHANGE] = {"status": status}

    why = "Azure gives no reason; the state is Failed"
    assert failure(azure, CHANGE).why == (
        why if status == "Failed" else "OperationCanceled: Azure canceled the operation."
    )


def test_a_failure_that_is_older_than_the_running_change_is_waited_for(azure: FakeAzure) -> None:
    have_failed(azure, change="Updating")
    looks = []

    async def on_progress(state: str, _: float) -> None:
        looks.append(state)
        if len(looks) == 3:
            azure.have("green", "Succeeded")

    assert wait(azure, operation=CHANGE, on_progress=on_progress) == "Succeeded"
    assert looks == ["Failed", "Failed", "Failed", "Succeeded"]


def test_a_failure_that_is_still_read_long_after_the_change_succeeded_is_somebody_elses(azure: FakeAzure) -> None:
    have_failed(azure, change="Succeeded")
    times: list[float] = []

    async def on_progress(_: str, waited: float) -> None:
        times.append(waited)

    with pytest.raises(ProvisioningFailed, match="this run does not know which one that was"):
        wait(azure, timeout_seconds=600, operation=CHANGE, on_progress=on_progress)
    assert times[-1] == pytest.approx(LAG_SECONDS, abs=45)
    assert times[-1] >= LAG_SECONDS


def test_one_that_does_not_get_ready_ends_with_its_state_and_the_setting_to_change(azure: FakeAzure) -> None:
    azure.have("green", "Creating")

    with pytest.raises(DeadlineExceeded) as caught:
        wait(azure, timeout_seconds=9)

    assert caught.value.what == "the provisioning of green took longer than 9 s"
    assert (caught.value.why, caught.value.exit_code) == ("it was last seen as: Creating", 5)
    assert "ready_timeout_seconds" in str(caught.value.hint)


# Reads that lag, and single wrong answers


class Unseen:
    """Reads of `green` that are answered with 404 as long as `hides` says, by the number of the read and the time."""

    def __init__(self, azure: FakeAzure, clock: Clock, hides: Callable[[int, float], bool]) -> None:
        self._get, self._clock, self._hides = azure._get, clock, hides
        self.reads = 0
        azure.instead(get=self.get)

    def get(self, name: str, endpoint: str) -> Any:
        self.reads += 1
        if self._hides(self.reads, self._clock.seconds):
            raise ResourceNotFoundError("no such online deployment")
        return self._get(name, endpoint)


@pytest.mark.parametrize(
    "hides",
    [lambda read, _: read == 1, lambda _, seconds: seconds < 40, lambda read, seconds: read % 2 and seconds < 400],
    ids=["once", "as long as reads may lag", "now and then, for longer"],
)
def test_one_that_reads_do_not_show_for_a_while_is_waited_for(
    azure: FakeAzure, hides: Callable[[int, float], bool]
) -> None:
    clock = Clock()
    unseen = Unseen(azure, clock, hides)
    azure.have("green", "Creating")
    told = []

    async def on_progress(state: str, waited: float) -> None:
        told.append(state)
        if waited >= 400 or unseen.reads == 9:
            azure.have("green", "Succeeded")

    assert wait(azure, timeout_seconds=1800, clock=clock, on_progress=on_progress) == "Succeeded"
    assert (told[0], told[-1]) == ("Absent", "Succeeded")


def test_one_that_no_read_shows_for_longer_than_reads_lag_is_gone(azure: FakeAzure) -> None:
    del azure.online_deployments["green"]
    clock = Clock()

    with pytest.raises(NotFound) as caught:
        wait(azure, timeout_seconds=1800, clock=clock)

    assert (caught.value.what, caught.value.exit_code) == ("cannot read the online deployment 'green'", 2)
    assert LAG_SECONDS <= clock.seconds < 2 * LAG_SECONDS


def test_an_earlier_failure_is_not_taken_for_the_change_of_which_the_status_cannot_be_read_once(
    azure: FakeAzure,
) -> None:
    have_failed(azure, change="Updating")
    status = azure.operations.pop(CHANGE)
    looks = []

    async def on_progress(state: str, _: float) -> None:
        looks.append(state)
        azure.operations[CHANGE] = status
        if len(looks) == 3:
            azure.have("green", "Succeeded")

    assert wait(azure, operation=CHANGE, on_progress=on_progress) == "Succeeded"
    assert looks == ["Failed", "Failed", "Failed", "Succeeded"]
