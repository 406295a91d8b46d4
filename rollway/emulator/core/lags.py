"""Lags: for some seconds after a change, single reads, lists and the scoring gateway still see the state before it.

They are kept in memory. A restart ends all lags.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from rollway.emulator.core.clock import Clock, Profile
from rollway.emulator.core.store import Resource, Store

Reader = Literal["gateway", "reads", "lists"]
READERS: tuple[Reader, ...] = get_args(Reader)


class LagSeconds(BaseModel):
    """Lags in seconds on the emulator's clock. None leaves the choice to another setting.

    Args:
        gateway: Lag of the scoring gateway after an operation has ended.
        reads: Lag of a GET of one endpoint or online deployment.
        lists: Lag of a GET of many. None for the same as `reads`, if that is set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gateway: float | None = Field(default=None, ge=0)
    reads: float | None = Field(default=None, ge=0)
    lists: float | None = Field(default=None, ge=0)

    def resolve(self, default: dict[Reader, float]) -> dict[Reader, float]:
        """Return the lag of every reader. `default` has those that are not set here."""
        own = {"gateway": self.gateway, "reads": self.reads, "lists": self.reads if self.lists is None else self.lists}
        return {reader: default[reader] if (seconds := own[reader]) is None else seconds for reader in READERS}


def profile_lags(profile: Profile) -> dict[Reader, float]:
    """Return the lags of a profile."""
    return {reader: profile.seconds(f"{reader} lag") for reader in READERS}


@dataclass(frozen=True)
class Past:
    """A resource before a change at `since`, or None if it did not exist. It is seen until `until`."""

    before: Resource | None
    since: float
    until: float


class LaggingView:
    """The resources as one reader sees them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._pasts: dict[str, list[Past]] = defaultdict(list)

    def remember(self, resource_id: str, before: Resource | None, since: float, lag_seconds: float) -> None:
        """Show the resource as it was before a change at `since`, for `lag_seconds`."""
        if lag_seconds:
            self._pasts[resource_id.lower()].append(Past(before, since, since + lag_seconds))

    def past(self, resource_id: str) -> Past | None:
        """Return what this reader still sees, which is the oldest state in its lag. None for the present state."""
        key = resource_id.lower()
        if key not in self._pasts:
            return None
        now = self._clock.now()
        self._pasts[key] = [one for one in self._pasts[key] if one.until > now]
        if not self._pasts[key]:
            del self._pasts[key]
            return None
        return self._pasts[key][0]

    def get(self, resource_id: str) -> Resource | None:
        """Return a resource as this reader sees it. None if it sees none."""
        past = self.past(resource_id)
        return self._store.get(resource_id) if past is None else past.before

    def find(self, type: str, under: str) -> list[Resource]:
        """Return the resources of a type below the id `under`, in the order of creation, as this reader sees them."""
        seen = {one.id.lower(): one for one in self._store.find(type, under)}
        for key in [key for key in self._pasts if key.startswith(f"{under.lower()}/")]:
            past = self.past(key)
            if past is not None:
                seen.pop(key, None)
                if past.before is not None and past.before.type == type:
                    seen[key] = past.before
        return sorted(seen.values(), key=lambda one: one.sequence)

    def clear(self) -> None:
        """Show the present state."""
        self._pasts.clear()
