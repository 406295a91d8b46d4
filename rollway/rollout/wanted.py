"""The goal of one run, and the online deployment that gets the traffic for it."""

from enum import StrEnum

from rollway.rollout.fingerprint import (
    NAME_AFTER_REGISTRATION,
    fingerprint,
    is_same_content,
    online_deployment_name,
)
from rollway.rollout.record import OnlineDeploymentRecord
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.spec import Frozen, RolloutSpec


class RequestedBy(StrEnum):
    """Who asked for a run."""

    PERSON = "person"
    SCHEDULE = "schedule"
    WATCHER = "watcher"

    @property
    def is_automatic(self) -> bool:
        """True if no person asked."""
        return self is not RequestedBy.PERSON


class Wanted(Frozen):
    """The state that a run brings the endpoint to.

    Attributes:
        weight: Percent of traffic for the candidate; below 100 stable keeps the rest.
        force: If not empty, roll out again even if nothing changed. A text that is the same for all attempts of a run
            and differs between runs.
        goes_on: The canary of the progressive rollout that is under way and goes on; None if there is none.
        is_progressive: True if traffic moves in the steps of rollout.yml.
        has_other_files: True if the folder has changed since the canary was created that goes on.
        goes_back_to: An online deployment that exists and takes over as it is; None if the folder decides.
        stays_because: Why the run rolls nothing out and only repairs and tidies; empty if it does.
        pause_reason: Why automation must leave the endpoint alone afterwards; empty if it need not.
        tidies: False if nothing may be deleted, because the endpoint is paused or held.
    """

    model: ResolvedAsset | None = None
    environment: ResolvedAsset | None = None
    requested_by: RequestedBy = RequestedBy.PERSON
    weight: int = 100
    force: str = ""
    goes_on: str | None = None
    is_progressive: bool = False
    has_other_files: bool = False
    goes_back_to: str | None = None
    stays_because: str = ""
    pause_reason: str = ""
    tidies: bool = True

    @property
    def is_registered(self) -> bool:
        """True if model and environment have ids, so that the fingerprint is known."""
        return all(asset is None or asset.id is not None for asset in (self.model, self.environment))


class Candidate(Frozen):
    """The online deployment that gets the traffic: its name, its record if this run writes it, and Azure's answer."""

    name: str
    record: OnlineDeploymentRecord
    existing: OnlineDeploymentState | None


def candidate_of(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState) -> Candidate:
    """Return the candidate of a run.

    An online deployment that already is what the folder describes is taken. Its fingerprint decides, not its name,
    because a forced rollout has another name for the same content. One that serves is preferred.
    """
    taken = wanted.goes_back_to or wanted.goes_on
    if taken is not None:
        found = endpoint.online_deployment(taken)
        return Candidate(
            name=found.name if found else taken,
            record=found.record if found else OnlineDeploymentRecord(),
            existing=found,
        )
    content, model, environment = spec.online_deployment, wanted.model, wanted.environment
    ids = (model.id if model else None, environment.id if environment else None)
    record = OnlineDeploymentRecord(
        fingerprint=fingerprint(content, *ids) if wanted.is_registered else "",
        model=str(model) if model else None,
        code=(content.code_sha256 or "")[:12] or None,
        instances=content.instance_count,
    )
    if not wanted.is_registered:
        # Only plans know one of that name.
        known = endpoint.online_deployment(NAME_AFTER_REGISTRATION)
        return Candidate(name=NAME_AFTER_REGISTRATION, record=record, existing=known)
    if not wanted.force:
        same = [
            one
            for one in endpoint.online_deployments
            if is_same_content(one.record.fingerprint, content, *ids)
            and not one.is_being_deleted
            and (not one.is_failed or has_served(endpoint, one.name))
        ]
        best = max(same, key=lambda one: (endpoint.weight_of(one.name) > 0, one.is_succeeded, one.name), default=None)
        if best is not None:
            return Candidate(name=best.name, record=record, existing=best)
    name = online_deployment_name(content.name, record.fingerprint, wanted.force)
    return Candidate(name=name, record=record, existing=endpoint.online_deployment(name))


def has_served(endpoint: EndpointState, name: str) -> bool:
    """Return True if an online deployment has traffic, or had it before the rollout."""
    return endpoint.weight_of(name) > 0 or name.lower() in {key.lower() for key in endpoint.stable_traffic}
