"""Differences between Azure and what the folder wants, field by field."""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from rollway.rollout.state import OnlineDeploymentState
from rollway.spec import Frozen, HiddenText, OnlineDeploymentSpec


class Change(Frozen):
    """A field that differs, with its values as text."""

    field: str
    today: str
    wanted: str


def differences(pairs: Iterable[tuple[str, JsonValue, JsonValue]]) -> Iterator[Change]:
    """Yield the pairs that differ; each is a field with its value today and the wanted one."""
    for field, today, wanted in pairs:
        if today != wanted:
            yield Change(field=field, today=_text(today), wanted=_text(wanted))


def setting_changes(today: OnlineDeploymentState, wanted: OnlineDeploymentSpec) -> Iterator[Change]:
    """Yield the settings and environment variables in which Azure differs, of those that deployment.yml has.

    Values of environment variables are never shown. Those that the file does not have do not count: Azure adds some.
    """
    flat_today = dict(_flatten(today.settings))
    yield from differences((field, flat_today.get(field), value) for field, value in _flatten(wanted.settings))
    for name, value in wanted.environment_variables.items():
        found, field = today.environment_variables.get(name), f"environment_variables.{name}"
        if found is None:
            yield Change(field=field, today=_text(None), wanted=HiddenText.HIDDEN)
        elif found.is_other(value):
            yield Change(field=field, today=HiddenText.HIDDEN, wanted=f"{HiddenText.HIDDEN}, changed")


def _flatten(settings: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: JsonValue) -> str:
    return "(not set)" if value is None else str(value)
