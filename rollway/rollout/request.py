"""From what somebody asked for to what is wanted: one pure function for every trigger."""

from collections.abc import Sequence
from datetime import datetime

from rollway.rollout import traffic
from rollway.rollout.follow import Choice, ModelSource, ModelVersion, choose, live_models, named, newest_first
from rollway.rollout.restraint import restraint
from rollway.rollout.rollback import Target, wanted_for, wanted_to_go_on
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.rollout.wanted import RequestedBy, Wanted, candidate_of
from rollway.spec import FULL_WEIGHT, Frozen, RolloutSpec


class Request(Frozen):
    """The request to a run.

    Attributes:
        folder: The rollout folder: its path, or its name in deployments/.
        version: A model version; None to let the folder decide.
        weight: Percent of the traffic for the candidate.
        force: If not empty, roll out again even if nothing changed; see `Wanted`.
        is_rollback: True to go back to an earlier online deployment or model version.
        back_to: Its name or version; None for the one that the last promotion replaced.
        target: The target of the rollback, once it is chosen.
        workspace_block: Prefect block with the workspace and the identity; None for the environment.
    """

    folder: str
    requested_by: RequestedBy = RequestedBy.PERSON
    version: str | None = None
    weight: int = 100
    force: str = ""
    is_dry_run: bool = False
    is_rollback: bool = False
    back_to: str | None = None
    target: Target | None = None
    workspace_block: str | None = None

    @property
    def takes_what_exists(self) -> bool:
        """True if an online deployment takes over that exists, so that no model or environment is needed."""
        return self.target is not None and self.target.online_deployment is not None


class Models(Frozen):
    """The models of a request: one that is fixed, or the versions among which the endpoint's state decides."""

    fixed: ResolvedAsset | None = None
    source: ModelSource | None = None
    versions: tuple[ModelVersion, ...] = ()


class Answer(Frozen):
    """The state that is wanted, and the choice of the model version if there was one.

    `superseded_because` says why a run for an older version ends; empty if it does not.
    """

    wanted: Wanted
    choice: Choice | None = None
    superseded_because: str = ""


def answer(
    spec: RolloutSpec,
    request: Request,
    models: Models,
    environment: ResolvedAsset | None,
    endpoint: EndpointState,
    now: datetime,
) -> Answer:
    """Return what a run brings the endpoint to.

    A version that a person names wins. Otherwise the folder decides, by its rules, and never for an older version than
    the live one. Automation is also held back by a pause, a hold, a freeze window, a rejection, recent failures, and a
    canary that nobody has tested; then it only repairs and tidies.
    """
    target = request.target
    found = endpoint.online_deployment(target.online_deployment or "") if target else None
    if target is not None and found is not None:
        return Answer(wanted=wanted_for(found, f"rolled back to {target}" if request.is_rollback else ""))
    choice = _choice(spec, request, models, endpoint, now)
    model = choice.version.asset if choice and choice.version else models.fixed
    because = choice.why if choice is not None and choice.version is None else ""
    record, is_automatic = endpoint.record, request.requested_by.is_automatic
    superseded = _superseded(request, models, endpoint)
    if is_automatic:
        because = restraint(spec, str(model) if model else None, record, now) or _canary(endpoint) or because
    is_progressive = (
        spec.rollout.progression is not None
        and request.weight == FULL_WEIGHT
        and not request.is_rollback
        and bool(endpoint.serving)
    )
    pause_reason = f"canary at {request.weight} %" if request.weight < 100 else ""
    if request.is_rollback:
        pause_reason = f"rolled back to {target or model}"
    wanted = Wanted(
        model=model,
        environment=environment,
        requested_by=request.requested_by,
        weight=request.weight,
        force=request.force,
        stays_because=superseded or because,
        pause_reason=pause_reason,
        tidies=not (is_automatic and (record.pause_reason or record.is_held)) and not request.is_rollback,
        is_progressive=is_progressive,
    )
    canary = endpoint.online_deployment(record.underway.canary) if record.underway else None
    if canary is not None and not _replaces(spec, request, wanted, canary, endpoint):
        going_on = wanted_to_go_on(canary, request.requested_by)
        from_today = candidate_of(spec, wanted.model_copy(update={"model": going_on.model, "force": ""}), endpoint)
        has_other_files = from_today.name.lower() != canary.name.lower()
        return Answer(wanted=going_on.model_copy(update={"has_other_files": has_other_files}), choice=choice)
    return Answer(wanted=wanted, choice=choice, superseded_because=superseded)


def _replaces(
    spec: RolloutSpec, request: Request, wanted: Wanted, canary: OnlineDeploymentState, endpoint: EndpointState
) -> bool:
    """Return True if a request ends the progressive rollout that is under way, because it wants something else."""
    if request.requested_by.is_automatic and wanted.stays_because:
        return False
    if request.is_rollback or request.force or request.weight < FULL_WEIGHT:
        return True
    is_asked_for = request.version is not None and not request.requested_by.is_automatic
    is_other = candidate_of(spec, wanted, endpoint).name.lower() != canary.name.lower()
    return is_other and (is_asked_for or spec.rollout.on_newer == "supersede")


def _choice(
    spec: RolloutSpec, request: Request, models: Models, endpoint: EndpointState, now: datetime
) -> Choice | None:
    if models.source is None:
        return None
    if request.version is not None and not request.requested_by.is_automatic:
        return named(request.version, models.versions)
    return choose(spec, models.source, models.versions, endpoint, now)


def _canary(endpoint: EndpointState) -> str:
    is_canary = endpoint.is_unproven and len(endpoint.serving) > 1
    return f"a canary has traffic, and its run ended early: {traffic.describe(endpoint.traffic)}" if is_canary else ""


def _superseded(request: Request, models: Models, endpoint: EndpointState) -> str:
    if models.source is None or request.version is None or not request.requested_by.is_automatic:
        return ""
    newer = _newer_than(request.version, models.versions)
    live = next((one for one in live_models(endpoint) if one.version.lower() in newer), None)
    return f"superseded: {live.version} is live and newer than {request.version}" if live else ""


def _newer_than(version: str, versions: Sequence[ModelVersion]) -> frozenset[str]:
    ordered = [one.version.lower() for one in newest_first(versions)]
    return frozenset(ordered[: ordered.index(version.lower())] if version.lower() in ordered else [])
