"""Differences between what a folder says and what Azure has, field by field."""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from rollway.rollout.moves import Change
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset, short_id
from rollway.spec import EndpointSpec, HiddenText, OnlineDeploymentSpec, json_text


def endpoint_changes(wanted: EndpointSpec, today: EndpointState) -> tuple[Change, ...]:
    """Return the fields of endpoint.yml in which Azure differs; tags that the file does not name are kept."""
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("auth_mode", today.auth_mode, wanted.auth_mode),
        ("public_network_access", today.public_network_access, wanted.public_network_access),
    ]
    if wanted.description is not None:
        pairs.append(("description", today.description, wanted.description))
    return differences([*pairs, *_tags(today.tags, wanted.tags)])


def in_place_changes(today: OnlineDeploymentState, wanted: OnlineDeploymentSpec, instances: int) -> tuple[Change, ...]:
    """Return the fields that can change in place: instance count and tags."""
    return differences([("instance_count", today.instance_count, instances), *_tags(today.tags, wanted.tags)])


def content_changes(
    wanted: OnlineDeploymentSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    today: OnlineDeploymentState,
) -> tuple[Change, ...]:
    """Return the fields that decide what an online deployment is and in which one in Azure differs."""
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("model", short_id(today.model), str(model) if model else None),
        ("environment", short_id(today.environment), str(environment) if environment else None),
    ]
    flat_today = dict(_flatten(today.settings))
    pairs += [(field, flat_today.get(field), value) for field, value in _flatten(wanted.settings)]
    return (*differences(pairs), *_variable_changes(today, wanted))


def _variable_changes(today: OnlineDeploymentState, wanted: OnlineDeploymentSpec) -> Iterator[Change]:
    """Yield the environment variables that differ, never their values; Azure adds some that the file does not have."""
    for name, value in wanted.environment_variables.items():
        found, field = today.environment_variables.get(name), f"environment_variables.{name}"
        if found is None:
            yield Change(field=field, today=_text(None), wanted=HiddenText.HIDDEN)
        elif found.is_other(value):
            yield Change(field=field, today=HiddenText.HIDDEN, wanted=f"{HiddenText.HIDDEN}, changed")


def differences(pairs: Iterable[tuple[str, JsonValue, JsonValue]]) -> tuple[Change, ...]:
    """Return a change for each pair of different values; each is (field, today's value, the wanted one)."""
    return tuple(
        Change(field=field, today=_text(today), wanted=_text(wanted))
        for field, today, wanted in pairs
        if today != wanted
    )


def _tags(today: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[tuple[str, JsonValue, JsonValue]]:
    return ((f"tags.{key}", today.get(key), value) for key, value in wanted.items())


def _flatten(settings: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: JsonValue) -> str:
    return "(not set)" if value is None else json_text(value)
