"""rollout.yml as a value."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from rollway.spec.progressive import (
    DAY,
    MOST_STEPS,
    Judge,
    Progression,
    Step,
    check_progression,
    default_steps,
    shapes,
)
from rollway.spec.smoke_test import (
    PATTERNS,
    AnySmokeTest,
    Expectation,
    NamedRequest,
    SmokeTest,
    SmokeTests,
    is_several,
    repeated_names,
    without_tags,
)
from rollway.spec.values import Frozen, Problem, did_you_mean
from rollway.spec.wording import in_words, shown

_CHANNEL, _CLOCK_TIME = "^([a-z0-9-]+/)?[a-z0-9-]+$", r"^(([01]?\d|2[0-3]):[0-5]\d|24:00)$"
_PATTERNS = {  # what a text must be that matches them
    **PATTERNS,
    _CHANNEL: "the name of a Prefect block: lower-case letters, digits and '-', or block-type/name",
    _CLOCK_TIME: "a time of day: write HH:MM, from 00:00 to 24:00",
}


class Alerts(Frozen):
    """Who is notified when a rollout fails, waits for a worker, or recovers, and how urgently."""

    severity: Literal["page", "notify", "none"] = Field(
        default="notify",
        description="First word of the alert's subject, for routing at the receiver; none: no alerts.",
    )
    channel: str | None = Field(
        default=None,
        pattern=_CHANNEL,
        description="Prefect notification block, as name or block-type/name. Default: rollway-alerts.",
    )


def _clock_time(value: object) -> object:
    if not isinstance(value, str):  # a number may be meant as hours or as minutes
        raise ValueError(f"{shown(value)} is not {_PATTERNS[_CLOCK_TIME]}")
    return value


def _two_digits(time: str) -> str:
    return time.zfill(len("HH:MM"))


ClockTime = Annotated[str, BeforeValidator(_clock_time), Field(pattern=_CLOCK_TIME), AfterValidator(_two_digits)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class FreezeWindow(Frozen):
    """A weekly period without automatic rollouts; a window that ends before it starts ends on the next day."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    days: tuple[Day, ...] = Field(default=get_args(Day), min_length=1, description="Days on which it starts.")
    start: ClockTime = Field(default="00:00", alias="from", description="Start, HH:MM.")
    end: ClockTime = Field(default="24:00", alias="to", description="End, HH:MM.")
    timezone: str = Field(default="UTC", description="Time zone, such as Europe/Berlin.")

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (LookupError, OSError, ValueError) as error:  # OSError: a folder of zones, such as Europe
            known = did_you_mean(timezone, available_timezones())
            raise ValueError(f"there is no time zone {shown(timezone)}{known}") from error
        return timezone

    def covers(self, moment: datetime) -> bool:
        """Return True if a moment, with its time zone, lies in the window."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        time, today = local.strftime("%H:%M"), local.weekday()
        if self.start < self.end:
            return self._starts_on(today) and self.start <= time < self.end
        return (self._starts_on(today) and time >= self.start) or (self._starts_on(today - 1) and time < self.end)

    def _starts_on(self, weekday: int) -> bool:
        return get_args(Day)[weekday] in self.days

    def __str__(self) -> str:
        days = "every day" if len(set(self.days)) == len(get_args(Day)) else ", ".join(self.days)
        return f"{days} {self.start} to {self.end} {self.timezone}"


class Follow(Frozen):
    """Rules for the new model versions that the watcher rolls out."""

    tags: dict[str, str] = Field(default={}, description="Tags that the version must have, with these values.")
    stage: str | None = Field(default=None, min_length=1, description="Stage that the version must have.")
    minimum_age_seconds: int = Field(default=0, ge=0, description="Minimum age of the version, in seconds.")
    freeze: tuple[FreezeWindow, ...] = Field(default=(), description="Periods without automatic rollouts.")


class RolloutFile(Frozen):
    """rollout.yml: how the online deployment gets its traffic, and what happens to the replaced one."""

    strategy: Literal["blue_green", "progressive"] = Field(
        default="blue_green",
        description="blue_green: create at weight 0, smoke-test, then move all traffic at once. progressive: move it "
        "in steps, and judge each by evidence.",
    )
    steps: tuple[Step, ...] = Field(
        default_factory=default_steps,
        min_length=1,
        max_length=MOST_STEPS,
        description="Steps of a progressive rollout. Default: 5 %, 25 % and 100 %.",
    )
    judge: Judge = Judge()
    deadline_seconds: int = Field(
        default=2 * DAY,
        ge=1,
        le=60 * DAY,
        description="Deadline of a progressive rollout, in seconds; then stable gets all traffic back.",
    )
    on_newer: Literal["wait", "supersede"] = Field(
        default="wait",
        description="What a newer model version or a changed folder does to a progressive rollout that is under way.",
    )
    smoke_test: AnySmokeTest = Field(
        description="What the online deployment must answer before and after it gets traffic: one request, or several "
        "with `requests`. none: no request is sent, and Azure's readiness is the only proof."
    )
    keep_replaced_seconds: int = Field(
        default=3600,
        ge=0,
        description="How long the replaced online deployment stays ready to go back to, in seconds. It costs as much "
        "as before.",
    )
    adopt: bool = Field(
        default=False, description="Also delete what Rollway did not create, once it is replaced or has failed."
    )
    failed: Literal["delete", "keep"] = Field(
        default="delete",
        description="Delete or keep a failed online deployment, after its logs are saved.",
    )
    ready_timeout_seconds: int = Field(
        default=1800, ge=1, le=7200, description="Deadline for the online deployment to become ready, in seconds."
    )
    follow: Follow | None = Field(
        default=None,
        description="Which new model versions the watcher rolls out. Default: all if deployment.yml names the model as "
        "@latest, none if it names a version.",
    )
    alerts: Alerts = Alerts()

    @property
    def progression(self) -> Progression | None:
        """The steps of a progressive rollout and how they are judged; None for blue_green."""
        if self.strategy != "progressive":
            return None
        return Progression(steps=self.steps, judge=self.judge, deadline_seconds=self.deadline_seconds)


PROGRESSIVE_KEYS = ("steps", "judge", "deadline_seconds", "on_newer")


def check_strategy(rollout: RolloutFile, kind: str, file: str) -> Iterator[Problem]:
    """Yield everything in the progressive part that makes no sense.

    Args:
        kind: Kind of the endpoint, `managed` or `kubernetes`.
    """
    found = rollout.progression
    if found is None:
        for key in sorted(rollout.model_fields_set & set(PROGRESSIVE_KEYS)):
            yield Problem(file=file, field=key, message="has a meaning only with `strategy: progressive`")
        return
    for field, message in check_progression(found, kind):
        yield Problem(file=file, field=field, message=message)


def parse_rollout_file(raw: object, file: str) -> RolloutFile | list[Problem]:
    """Return the content of rollout.yml as a value, or all its problems."""
    if not isinstance(raw, dict):
        fault = "is empty" if raw is None else "is not a YAML mapping"
        return [Problem(file=file, message=f"{fault}; it must hold at least smoke_test.request_file")]
    problems = [Problem(file=file, field=field, message=message) for field, message in repeated_names(raw)]
    try:
        rollout = RolloutFile.model_validate({key: value for key, value in raw.items() if key != "$schema"})
    except ValidationError as error:
        problems = [_problem_of(details, file) for details in _causes(error.errors())] + problems
    return problems or rollout


def _causes(errors: list[Any]) -> list[Any]:
    """Return the faults without those that follow from others: pydantic does not count the invalid items of a list."""
    places = [one["loc"] for one in errors]
    return [
        one
        for one in errors
        if one["type"] != "too_short" or not any(place[: len(one["loc"])] == one["loc"] != place for place in places)
    ]


_SHAPES: Mapping[str, type[BaseModel]] = {
    "smoke_test": SmokeTest,
    "requests": NamedRequest,
    "expect": Expectation,
    "alerts": Alerts,
    "follow": Follow,
    "freeze": FreezeWindow,
    **shapes(),
}


# Words of other tools for traffic that moves in steps.
_IN_STEPS = ("canary", "rolling", "gradual", "linear", "steps", "stepwise", "a/b", "ab")


def _problem_of(details: Any, file: str) -> Problem:
    where = [str(part) for part in details["loc"]]
    path = without_tags(where)
    message = in_words(details, path, _PATTERNS)
    if path == ["smoke_test"] and details["type"] == "literal_error":
        message = "is neither a request nor none"
    if path == ["strategy"] and str(details["input"]).lower() in _IN_STEPS:
        message += "; progressive moves traffic in steps, and judges each of them (docs/progressive.md)"
    if details["type"] == "missing":
        message += _description(path, where)
    if details["type"] == "extra_forbidden":
        shape = _shape_of(path, where)
        fields = shape.model_fields
        message = "unknown key" + did_you_mean(path[-1], [field.alias or name for name, field in fields.items()])
        if shape is SmokeTests and path[-1] in NamedRequest.model_fields:
            message = "belongs to each of the requests, not beside them"
    return Problem(file=file, field=".".join(path), message=message)


def _shape_of(path: list[str], where: list[str]) -> type[BaseModel]:
    parent = next((one for one in reversed(path[:-1]) if not one.isdecimal()), "")  # list items are numbered
    return SmokeTests if parent == "smoke_test" and is_several(where) else _SHAPES.get(parent, RolloutFile)


def _description(path: list[str], where: list[str]) -> str:
    """Return what a missing key is for, in the words of the JSON Schema."""
    field = _shape_of(path, where).model_fields.get(path[-1])
    words = (field.description or "").partition(". ")[0].rstrip(".") if field else ""
    return f": {words[0].lower()}{words[1:]}" if words else ""
