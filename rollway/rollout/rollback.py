"""Going back: to which online deployment or model version, and the plan that does it."""

from rollway.errors import ConfigurationError, ForeignChange, NotFound
from rollway.rollout import traffic
from rollway.rollout.plan import Action, Change, Kind, Plan
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.state import (
    CREATED_AT,
    FINGERPRINT,
    PREVIOUS,
    RUN,
    EndpointState,
    OnlineDeploymentState,
    ResolvedAsset,
    model_of,
    short_id,
)
from rollway.spec import Frozen


class Target(Frozen):
    """Where a rollback goes: an online deployment that can serve, or else a model version to roll out anew."""

    online_deployment: str | None = None
    model: str | None = None  # its name, None when only the version is known
    version: str | None = None

    def __str__(self) -> str:
        model = ":".join(filter(None, (self.model, self.version)))
        if self.online_deployment is None:
            return f"model {model}"
        return f"{self.online_deployment} ({model})" if model else self.online_deployment


def choose(endpoint: EndpointState, to: str | None = None) -> Target:
    """What to go back to: what `to` names (an online deployment or a model version), or what served before.

    Raises NotFound when nothing is known to go back to, and ConfigurationError when it serves everything already.
    """
    if not endpoint.exists:
        raise NotFound(f"there is no endpoint {endpoint.name!r}", hint="roll it out first")
    name, model = _named(endpoint, to) if to else _previous(endpoint)
    found = endpoint.online_deployment(name) if name else _serving_model(endpoint, model)
    if found is not None and endpoint.weight_of(found.name) == 100:
        raise ConfigurationError(
            f"there is nothing to go back to: {found.name!r} serves everything already",
            where=f"endpoint {endpoint.name}",
            hint="name another online deployment or model version",
        )
    model_name, _, version = ((found and model_of(found)) or model).rpartition(":")
    if found is None or not found.is_succeeded:
        if not version:
            state = f"is {found.provisioning_state}" if found else "is gone"
            raise NotFound(
                f"{name!r} {state}, and it is not known which model version it served",
                where=f"endpoint {endpoint.name}",
                hint="name a model version to go back to",
            )
        return Target(model=model_name or None, version=version)
    return Target(online_deployment=found.name, model=model_name or None, version=version or None)


def plan_rollback(endpoint: EndpointState, name: str) -> Plan:
    """All traffic to an online deployment that is there, with as many instances as what serves now; deletes nothing.

    Raises ForeignChange when it cannot serve any more.
    """
    target = endpoint.online_deployment(name)
    if target is None or not (target.is_succeeded or target.provisioning_state.lower() == "updating"):
        raise ForeignChange(
            f"the online deployment {name!r} is {target.provisioning_state if target else 'gone'}",
            where=f"endpoint {endpoint.name}",
            hint="run the rollback again: it then rolls its model version out anew",
        )
    after = traffic.all_to(target.name)
    serving = [one for one in map(endpoint.online_deployment, traffic.served_by(endpoint.proven_traffic)) if one]
    instances = max([target.instance_count, *(one.instance_count for one in serving)])
    replaced = next((one for one in serving if one.name != target.name), None)
    return Plan(
        endpoint=endpoint.name,
        online_deployment=target.name,
        fingerprint=target.tags.get(FINGERPRINT, ""),
        model=_asset(target.model, model_of(target)),
        environment=_asset(target.environment, short_id(target.environment)),
        instance_count=instances,
        tags=target.tags,
        actions=tuple(_actions(endpoint, target, after, instances)),
        traffic_before={key: share for key, share in endpoint.traffic.items() if share},
        traffic_proven=endpoint.proven_traffic,
        traffic_after=after,
        written_by=target.tags.get(RUN, "") if instances == target.instance_count else None,
        moved_by=endpoint.tags.get(RUN, "") if traffic.is_same(endpoint.traffic, after) else None,
        previous=f"{replaced.name}={model_of(replaced) or ''}" if replaced else None,
    )


def require_way_back(plan: Plan, folder: str, target: Target) -> None:
    """Raises ConfigurationError when rolling out the folder with the target's model version does not lead back."""
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
            f"rolling out {target} anew changes nothing",
            where=f"endpoint {plan.endpoint}, {folder}",
            why="what served before differs in its files, and it is gone",
            hint="check out the files of that time and roll them out; `replaced: keep` keeps what served the next time",
        )


def _named(endpoint: EndpointState, to: str) -> tuple[str | None, str]:
    name, _, model = endpoint.tags.get(PREVIOUS, "").partition("=")
    if endpoint.online_deployment(to) is not None:
        return to, ""
    return (name, model) if name and to.lower() == name.lower() else (None, to)


def _previous(endpoint: EndpointState) -> tuple[str, str]:
    proven = traffic.served_by(endpoint.proven_traffic)
    if endpoint.is_unproven and proven:  # a rollout ended before its promotion: what was proven last served before
        return proven[0], ""
    serving = traffic.served_by(endpoint.traffic)
    if len(serving) > 1:
        raise ConfigurationError(
            "it is not clear what to go back to",
            where=f"endpoint {endpoint.name}",
            why=f"several online deployments serve: {traffic.describe(endpoint.traffic)}",
            hint="name one of them, or a model version",
        )
    name, _, model = endpoint.tags.get(PREVIOUS, "").partition("=")
    if not name:
        raise NotFound(
            "there is nothing to go back to",
            where=f"endpoint {endpoint.name}, tag {PREVIOUS}",
            why="no promotion has replaced anything yet",
            hint="name an online deployment or a model version to go back to",
        )
    return name, model


def _serving_model(endpoint: EndpointState, wanted: str) -> OnlineDeploymentState | None:
    """An online deployment that can serve that `<model>:<version>` or `<version>`: the one that does, or the newest."""
    able = [
        one
        for one in endpoint.online_deployments
        if one.is_succeeded and wanted in (model_of(one), (model_of(one) or "").rpartition(":")[2])
    ]
    return max(
        able, key=lambda one: (endpoint.weight_of(one.name), one.tags.get(CREATED_AT, ""), one.name), default=None
    )


def _actions(
    endpoint: EndpointState, target: OnlineDeploymentState, after: dict[str, int], instances: int
) -> list[Action]:
    actions = [Action(kind=Kind.GO_BACK, target=target.name, why="it is there, and served before")]
    if instances != target.instance_count:
        change = Change(field="instance_count", today=str(target.instance_count), wanted=str(instances))
        why = "it has fewer instances than what serves now"
        actions.append(Action(kind=Kind.UPDATE, target=target.name, why=why, changes=(change,)))
    if not traffic.is_same(endpoint.traffic, after):
        change = Change(field="traffic", today=traffic.describe(endpoint.traffic), wanted=traffic.describe(after))
        actions.append(Action(kind=Kind.MOVE_TRAFFIC, target=target.name, why="it takes over", changes=(change,)))
    elif endpoint.is_unproven:
        why = "traffic was moved here and not smoke-tested yet"
        actions.append(Action(kind=Kind.PROVE, target=target.name, why=why))
    return actions


def _asset(asset_id: str | None, text: str | None) -> ResolvedAsset | None:
    name, _, version = (text or "").rpartition(":")
    return ResolvedAsset(id=asset_id, name=name, version=version) if name else None


def hold(plan: Plan, why: str) -> Plan:
    """What a plan that nobody asked for comes to while its endpoint is pinned: nothing, and a warning that says why."""
    if plan.is_no_op:
        return plan
    finding = Finding(
        severity=Severity.WARNING,
        field=f"endpoint {plan.endpoint}",
        message=f"a schedule changes nothing while it is pinned: {why}",
        hint="run the rollout by hand to let it go on",
    )
    return plan.model_copy(update={"actions": (), "traffic_after": plan.traffic_before, "findings": (finding,)})
