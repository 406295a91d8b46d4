"""Operations that this run started: their end, and another try if the reason of a failure is temporary.

The state of a resource does not tell how an operation on it ended: it may have been Failed before, and reads lag.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from rollway.azure.errors.translate import operation_failed
from rollway.azure.session import Session
from rollway.azure.state import ABSENT, read_operation
from rollway.azure.unpolled import Accepted
from rollway.azure.waiting import OPERATION_TIMEOUT_SECONDS, Clock, Lag, Usual, wait_for, write_when_free
from rollway.errors import Cause, EndpointFailed

T = TypeVar("T")

# "Troubleshoot online endpoint deployment", OperationCanceled: try again after waiting up to a minute.
AGAIN_SECONDS = 60.0
MOST_TRIES = 3


def has_failed(operation: Mapping[str, Any]) -> bool:
    """Return True if an operation has ended without success, by its status document."""
    return str(operation.get("status")).lower() in ("failed", "canceled")


class Operation:
    """An operation that this run started, by its address; `look` reads it.

    Attributes:
        document: Its status document; empty if it could not be read.
        has_ended: True if it failed; or if reads should show by now that it succeeded, whatever they show.
    """

    def __init__(self, session: Session, address: str | None, clock: Clock) -> None:
        self._session, self._address = session, address
        self._not_running = Lag(clock)
        self.document: dict[str, Any] = {}
        self.has_ended = False

    @property
    def has_failed(self) -> bool:
        """True if it ended without success."""
        return has_failed(self.document)

    @property
    def has_succeeded(self) -> bool:
        """True if it ended with success."""
        return str(self.document.get("status")).lower() == "succeeded"

    async def look(self) -> None:
        """Read its status. One that cannot be read for as long as reads may lag has ended somehow."""
        self.document = await read_operation(self._session, self._address)
        is_running = bool(self.document) and not self.has_failed and not self.has_succeeded
        is_late = self._not_running.is_over(is_seen=not is_running)
        if not is_running:
            self.has_ended = self.has_failed or self._address is None or is_late


async def try_again(act: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Act, and act again after a minute, twice at most, if the operation failed for a temporary reason.

    Args:
        act: Must start from a fresh reading each time. Raises EndpointFailed if its operation failed.
    """
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            return await act()
        except EndpointFailed as error:
            if not tries_left or error.cause not in (Cause.TRANSIENT, Cause.BUSY):
                raise
        await clock.sleep(AGAIN_SECONDS)
    raise AssertionError("the last try returns or raises")


async def delete_until_gone(
    session: Session,
    delete: Callable[[], Awaitable[Accepted | None]],
    read_state: Callable[[], Awaitable[str]],
    *,
    what: str,
    endpoint: str,
    usual: Usual,
    clock: Clock,
) -> None:
    """Delete a resource and wait until it is gone.

    If the operation fails for a temporary reason, it is started again. Raises EndpointFailed with Azure's reason, or
    DeadlineExceeded.

    Args:
        delete: Starts the operation. Returns None if nothing is to be deleted any more.
        read_state: Returns the provisioning state; ABSENT if the resource is gone.
        what: The resource, for the error.
        endpoint: Name of the endpoint.
    """
    started: float | None = None

    async def delete_once() -> None:
        nonlocal started
        accepted = await write_when_free(delete, what=f"endpoint {endpoint}", clock=clock)
        if accepted is None:
            return
        started = clock.now() if started is None else started
        operation = Operation(session, accepted.operation, clock)

        async def read() -> str:
            state = await read_state()
            if state != ABSENT and state.lower() != "deleting":
                await operation.look()
            return state

        def is_over(state: str) -> bool:
            # If it succeeded and the resource stays, somebody has created it again.
            return state == ABSENT or operation.has_failed or (operation.has_succeeded and operation.has_ended)

        await wait_for(
            read,
            is_over,
            what=f"deleting {what}",
            timeout_seconds=OPERATION_TIMEOUT_SECONDS,
            usual=usual,
            since_seconds=clock.now() - started,
            clock=clock,
        )
        if operation.has_failed:
            raise operation_failed(
                EndpointFailed,
                f"{what} could not be deleted",
                f"endpoint {endpoint}",
                state=str(operation.document["status"]),
                error=operation.document.get("error"),
            )

    await try_again(delete_once, clock)
