"""Rollbacks: the online deployment or model version to return to, and the plan for it."""

from rollway.errors import ConfigurationError, ForeignChange, NotFound
from rollway.rollout import traffic
from rollway.rollout.changes import Change
from rollway.rollout.plan import Action, Kind, Plan
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.record import Served, others
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset, model_of, short_id
from rollway.spec import Frozen


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
        raise NotFound(f"there is no endpoint {endpoint.name!r}", hint="roll it out first")
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


def plan_rollback(endpoint: EndpointState, name: str) -> Plan:
    """Return a plan that gives all traffic to an existing online deployment and deletes nothing.

    It gets at least as many instances as the online deployments that have traffic now. Raises ForeignChange if it
    cannot serve.
    """
    target = endpoint.online_deployment(name)
    if target is None or not (target.is_succeeded or target.provisioning_state.lower() == "updating"):
        raise ForeignChange(
            f"the online deployment {name!r} is {target.provisioning_state if target else 'gone'}",
            where=f"endpoint {endpoint.name}",
            hint="run the rollback again: it then rolls out its model version again",
        )
    after = traffic.all_to(target.name)
    serving = [one for one in map(endpoint.online_deployment, traffic.served_by(endpoint.proven_traffic)) if one]
    instances = max([target.instance_count, *(one.instance_count for one in serving)])
    replaced = next((one for one in serving if one.name != target.name), None)
    return Plan(
        endpoint=endpoint.name,
        online_deployment=target.name,
        model=_asset(target.model, model_of(target)),
        environment=_asset(target.environment, short_id(target.environment)),
        instance_count=instances,
        tags=others(target.tags),
        record=target.record,
        actions=tuple(_actions(endpoint, target, after, instances)),
        traffic_before=endpoint.serving,
        traffic_proven=endpoint.proven_traffic,
        traffic_after=after,
        written_by=target.record.written_by or "" if instances == target.instance_count else None,
        moved_by=endpoint.record.moved_by or "" if traffic.is_same(endpoint.traffic, after) else None,
        previous=Served(online_deployment=replaced.name, model=model_of(replaced) or "") if replaced else None,
    )


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
            hint="check out the files of that time and roll them out; `replaced: keep` keeps it next time",
        )


def _named(endpoint: EndpointState, to: str) -> tuple[str | None, str]:
    previous = endpoint.record.previous
    if endpoint.online_deployment(to) is not None:
        return to, ""
    is_previous = previous is not None and to.lower() == previous.online_deployment.lower()
    return (previous.online_deployment, previous.model) if previous and is_previous else (None, to)


def _previous(endpoint: EndpointState) -> tuple[str, str]:
    proven = traffic.served_by(endpoint.proven_traffic)
    if endpoint.is_unproven and proven:  # a rollout ended before its promotion
        return proven[0], ""
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
            why="no promotion has replaced anything yet",
            hint="name an online deployment or a model version to go back to",
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


def _actions(
    endpoint: EndpointState, target: OnlineDeploymentState, after: dict[str, int], instances: int
) -> list[Action]:
    actions = [Action(kind=Kind.GO_BACK, target=target.name, why="it is there and served before")]
    if instances != target.instance_count:
        change = Change(field="instance_count", today=str(target.instance_count), wanted=str(instances))
        why = "it has fewer instances than those with traffic now"
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
    """Return the plan of a schedule for a paused endpoint: no actions, and a warning that says why."""
    if plan.is_no_op:
        return plan
    finding = Finding(
        severity=Severity.WARNING,
        field=f"endpoint {plan.endpoint}",
        message=f"it is paused, and a schedule leaves it alone: {why}",
        hint="start the rollout by hand to end the pause",
    )
    return plan.model_copy(update={"actions": (), "traffic_after": plan.traffic_before, "findings": (finding,)})
