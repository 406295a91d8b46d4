"""Rollbacks: the online deployment or model version to return to."""

import re

from rollway.errors import ConfigurationError, NotFound
from rollway.rollout import traffic
from rollway.rollout.plan import Plan
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset, model_of, short_id
from rollway.rollout.wanted import RequestedBy, Wanted
from rollway.spec import Frozen, did_you_mean

_VERSION = re.compile(r"([\w.-]+:)?[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")  # with or without the model's name


class Target(Frozen):
    """The target of a rollback: an online deployment that can serve, or else a model version to roll out again."""

    online_deployment: str | None = None
    model: str | None = None  # its name, None when only the version is known
    version: str | None = None

    def __str__(self) -> str:
        model = ":".join(filter(None, (self.model, self.version)))
        if self.online_deployment is None:
            return f"model {model}"
        return f"{self.online_deployment} ({model})" if model else self.online_deployment


def choose(endpoint: EndpointState, to: str | None = None) -> Target:
    """Return the target of a rollback.

    Raises NotFound if there is nothing to go back to, and ConfigurationError if the target already has all traffic.

    Args:
        to: Name of an online deployment, or a model version; default: the previous online deployment.
    """
    if not endpoint.exists:
        hint = "roll it out first, with `rollway deploy`"
        raise NotFound(f"there is no endpoint {endpoint.name!r}", where="the workspace", hint=hint)
    name, model = _named(endpoint, to) if to else _previous(endpoint)
    found = endpoint.online_deployment(name) if name else _serving_model(endpoint, model)
    if found is not None and endpoint.weight_of(found.name) == 100:
        raise ConfigurationError(
            f"there is nothing to go back to: {found.name!r} already has all traffic",
            where=f"endpoint {endpoint.name}",
            hint="name another online deployment or model version",
        )
    model_name, _, version = ((found and model_of(found)) or model).rpartition(":")
    if found is None or not found.is_succeeded:
        if not version:
            state = f"is {found.provisioning_state}" if found else "is gone"
            raise NotFound(
                f"{name!r} {state}, and its model version is unknown",
                where=f"endpoint {endpoint.name}",
                hint="name a model version to go back to",
            )
        return Target(model=model_name or None, version=version)
    return Target(online_deployment=found.name, model=model_name or None, version=version or None)


def wanted_for(target: OnlineDeploymentState, pause_reason: str) -> Wanted:
    """Return what a run brings the endpoint to in which an existing online deployment takes over.

    Args:
        pause_reason: Why automation must leave the endpoint alone afterwards, for a rollback: then nothing is deleted.
    """
    return Wanted(
        model=_asset(target.model, model_of(target)),
        environment=_asset(target.environment, short_id(target.environment)),
        requested_by=RequestedBy.PERSON,
        goes_back_to=target.name,
        pause_reason=pause_reason,
        tidies=not pause_reason,
    )


def wanted_to_go_on(canary: OnlineDeploymentState, requested_by: RequestedBy) -> Wanted:
    """Return what a run wants that goes on with the progressive rollout that is under way."""
    return Wanted(
        model=_asset(canary.model, model_of(canary)),
        environment=_asset(canary.environment, short_id(canary.environment)),
        requested_by=requested_by,
        goes_on=canary.name,
        is_progressive=True,
    )


def _asset(asset_id: str | None, text: str | None) -> ResolvedAsset | None:
    name, _, version = (text or "").rpartition(":")
    return ResolvedAsset(id=asset_id, name=name, version=version) if name else None


def require_way_back(plan: Plan, folder: str, target: Target) -> None:
    """Raise ConfigurationError if rolling out the folder with the target's model version does not lead back."""
    model = plan.model
    if model is None or (target.model and model.name.lower() != target.model.lower()):
        raise ConfigurationError(
            f"the folder cannot go back to {target}",
            where=f"{folder}/deployment.yml: model",
            why=f"it names {model.name}" if model else "it names no model",
            hint="check out the files of that time and roll them out",
        )
    if plan.is_no_op:
        raise ConfigurationError(
            f"rolling out {target} again changes nothing",
            where=f"endpoint {plan.endpoint}, {folder}",
            why="the previous online deployment had other files, and it is gone",
            hint="check out the files of that time and roll them out; keep_replaced_seconds keeps it longer next time",
        )


def _named(endpoint: EndpointState, to: str) -> tuple[str | None, str]:
    previous = endpoint.record.previous
    if endpoint.online_deployment(to) is not None:
        return to, ""
    is_previous = previous is not None and to.lower() == previous.online_deployment.lower()
    names = [one.name for one in endpoint.online_deployments]
    if not is_previous and (not _VERSION.fullmatch(to) or did_you_mean(to, names)):
        raise NotFound(
            f"there is no online deployment {to!r}",
            where=f"endpoint {endpoint.name}",
            why="and it is not the version of a model" if not _VERSION.fullmatch(to) else None,
            hint=f"name a model version, such as 1, or one of {', '.join(names)}{did_you_mean(to, names)}",
        )
    return (previous.online_deployment, previous.model) if previous and is_previous else (None, to)


def _previous(endpoint: EndpointState) -> tuple[str, str]:
    stable = traffic.served_by(endpoint.stable_traffic)
    if endpoint.is_moved and stable:  # a rollout ended before its promotion
        return stable[0], ""
    serving = traffic.served_by(endpoint.traffic)
    if len(serving) > 1:
        raise ConfigurationError(
            "it is not clear what to go back to",
            where=f"endpoint {endpoint.name}",
            why=f"several online deployments serve: {traffic.describe(endpoint.traffic)}",
            hint="name one of them, or a model version",
        )
    previous = endpoint.record.previous
    if previous is None:
        raise NotFound(
            "there is nothing to go back to",
            where=f"endpoint {endpoint.name}",
            why="no promotion has replaced anything yet" if endpoint.serving else "nothing serves yet",
            hint="name a model version to go back to (--to 1); what the next rollout replaces stays for "
            "keep_replaced_seconds of rollout.yml, and then one write goes back to it",
        )
    return previous.online_deployment, previous.model


def _serving_model(endpoint: EndpointState, wanted: str) -> OnlineDeploymentState | None:
    """Return a ready online deployment of that `<model>:<version>` or `<version>`: the heaviest, else the newest."""
    able = [
        one
        for one in endpoint.online_deployments
        if one.is_succeeded and wanted in (model_of(one), (model_of(one) or "").rpartition(":")[2])
    ]
    return max(
        able, key=lambda one: (endpoint.weight_of(one.name), one.record.created_at or "", one.name), default=None
    )
