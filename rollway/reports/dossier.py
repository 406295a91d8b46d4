"""The dossier of a failed rollout: one artifact, and a short text for logs and alerts.

Strings only, no I/O. All texts of Azure and of containers go through `mask`.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rollway.errors import Cause, RollwayError, TrafficNotRestored
from rollway.masking import mask
from rollway.reports.layout import link, listed
from rollway.reports.timeline import TaskTime, timeline_picture
from rollway.rollout import traffic
from rollway.rollout.container_log import last_exception
from rollway.rollout.preflight import Finding
from rollway.spec import Frozen, RolloutSpec
from rollway.spec.wording import shortened

MOST_LINE = 300  # characters in a line of the short text
MEANING = {
    Cause.TRANSIENT: "it is temporary: the same command works later",
    Cause.BUSY: "another operation is running on the endpoint: the same command works when it has ended",
    Cause.QUOTA: "a limit is reached: free some quota, request more, or use less",
    Cause.PERMANENT: "the same command fails again: change something first",
    Cause.CONFLICT: "somebody else changed the endpoint: find out who, then decide",
}


class Dossier(Frozen):
    """The reason why a rollout failed, the next action, and everything known about it.

    Attributes:
        task: The task that failed.
        code: Azure's error code, as `error_tree` is Azure's whole error.
        why: The reason; may have several lines.
        clue: The last exception in the logs.
        notes: Further errors.
        quota: The limits that matter.
        traffic_before: Percent by online deployment, as is `traffic_now`; None if unknown.
        cleaned_up: What the abort removed or restored.
        kept: What the abort left on purpose.
    """

    rollout: str
    endpoint: str
    workspace: str | None = None
    model: str | None
    outcome: str = "aborted"
    task: str
    cause: Cause
    code: str | None = None
    what: str
    where: str | None = None
    why: str | None = None
    next_action: str
    request_id: str | None = None
    error_tree: str | None = None
    logs: str | None = None
    clue: str | None = None
    notes: tuple[str, ...] = ()
    quota: tuple[str, ...] = ()
    timeline: tuple[TaskTime, ...] = ()
    traffic_before: dict[str, int] | None = None
    traffic_now: dict[str, int] | None = None
    cleaned_up: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    retry_command: str
    run_url: str | None = None
    studio_page: str | None = None

    @property
    def headline(self) -> str:
        """One line: the rollout, the exception of its container, the outcome, the failed task and the cause."""
        code = f", {self.code}" if self.code else ""
        clue = f"{self.clue}: " if self.is_clue_told else ""
        return f"{self.rollout}: {clue}{self.outcome} at {self.task!r} ({self.cause.value}{code})"

    @property
    def is_clue_told(self) -> bool:
        """True if the clue is the reason, so that the first sentence has it."""
        return self.clue is not None and self.clue in self.what


def build(
    error: BaseException,
    spec: RolloutSpec,
    *,
    task: str,
    timeline: Sequence[TaskTime] = (),
    traffic_before: Mapping[str, int] | None = None,
    traffic_now: Mapping[str, int] | None = None,
    cleaned_up: Sequence[str] = (),
    kept: Sequence[str] = (),
    logs: str | None = None,
    findings: Sequence[Finding] = (),
    run_url: str | None = None,
    studio_page: str | None = None,
    workspace: str | None = None,
    model: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    is_promoted: bool = False,
    program: str = "rollway",
) -> Dossier:
    """Return the dossier of any exception; of a foreign one only its class and text are known.

    Args:
        logs: Logs of the containers; default: those of the error.
        workspace: The workspace that the run connected to; None if it did not.
        findings: Findings of the preflight; those about quota are kept if quota is the cause.
        model: The resolved model; default: the one that the folder names.
        parameters: Parameters of the flow, for the command that repeats the run.
        is_promoted: True if the new online deployment has the traffic and only the cleanup after it failed.
        program: Rollway's command, as a person calls it where the run was.
    """
    known = error if isinstance(error, RollwayError) else _wrap(error)
    logs = _masked("\n\n".join(filter(None, (known.details, logs or known.log))) or None)
    return Dossier(
        rollout=spec.name,
        endpoint=spec.endpoint.name,
        workspace=workspace,
        model=model or (str(spec.online_deployment.model) if spec.online_deployment.model else None),
        outcome=_outcome(error, is_promoted),
        task=task,
        cause=known.cause,
        code=known.code,
        what=mask(known.what),
        where=_masked(known.where),
        why=_masked(known.why),
        next_action=known.hint or MEANING[known.cause],
        request_id=known.request_id,
        error_tree=_masked(known.error_tree),
        logs=logs,
        clue=last_exception(logs or ""),
        notes=tuple(mask(note.strip()) for note in getattr(error, "__notes__", ())),
        quota=tuple(f"{one}; {one.hint}" for one in findings if one.is_about_quota)
        if known.cause is Cause.QUOTA
        else (),
        timeline=tuple(timeline),
        traffic_before=None if traffic_before is None else dict(traffic_before),
        traffic_now=None if traffic_now is None else dict(traffic_now),
        cleaned_up=tuple(cleaned_up),
        kept=tuple(kept),
        retry_command=_retry_command(program, spec.folder, parameters or {}),
        run_url=run_url,
        studio_page=studio_page,
    )


def text(dossier: Dossier) -> str:
    """Return about a dozen lines, for a log or a terminal."""
    facts = [
        ("what", dossier.what),
        ("where", dossier.where),
        ("workspace", dossier.workspace),
        ("why", dossier.why),
        ("log", None if dossier.is_clue_told else dossier.clue),
        ("next", dossier.next_action),
        ("traffic", f"before {_traffic(dossier.traffic_before)}; now {_traffic(dossier.traffic_now)}"),
        ("cleaned up", "; ".join(dossier.cleaned_up)),
        ("kept", "; ".join(dossier.kept)),
        ("retry", dossier.retry_command),
        ("Azure request id", dossier.request_id),
        ("run", dossier.run_url),
        ("Studio", dossier.studio_page),
    ]
    lines = [f"{name}: {_one_line(value)}" for name, value in facts if value]
    return "\n".join([dossier.headline, *(f"  {line}" for line in lines)])


def cause_and_next_action(error: BaseException) -> tuple[str, str]:
    """Return the cause of an error in a few lines, and the next action in one line."""
    known = error if isinstance(error, RollwayError) else _wrap(error)
    code = f", {known.code}" if known.code else ""
    facts = [(name, value) for name, value in (("where", known.where), ("why", known.why)) if value]
    lines = [f"{known.what} ({known.cause.value}{code})", *(f"  {name}: {_one_line(value)}" for name, value in facts)]
    return mask("\n".join(lines)), _one_line(known.hint or MEANING[known.cause])


def markdown(dossier: Dossier) -> str:
    """Return the whole dossier as an artifact: the reason and the next action first, the logs last."""
    facts: list[tuple[str, str | None]] = [
        ("cause", f"{dossier.cause.value}: {MEANING[dossier.cause]}"),
        ("code", dossier.code),
        ("task", dossier.task),
        ("where", dossier.where),
        ("endpoint", dossier.endpoint),
        ("workspace", dossier.workspace),
        ("model", dossier.model),
        ("traffic before", _traffic(dossier.traffic_before)),
        ("traffic now", _traffic(dossier.traffic_now)),
        ("Azure request id", dossier.request_id),
        ("run", dossier.run_url and link("open in Prefect", dossier.run_url)),
        ("Studio", dossier.studio_page and link("open in Azure ML Studio", dossier.studio_page)),
    ]
    clue = None if dossier.is_clue_told else dossier.clue
    summary = "\n".join(one for one in (dossier.what, dossier.why, clue) if one)
    lines = [f"## {dossier.headline}", "", *_code(summary), ""]
    lines += [
        f"**Next:** {dossier.next_action}",
        "",
        *listed([(name, value.replace("\n", " ")) for name, value in facts if value]),
    ]
    lines += ["", "### Run it again", "", *_code(dossier.retry_command)]
    lines += ["", "Or press Retry in the Prefect UI: the run goes on from what is there."]
    nothing = "Nothing." if dossier.kept else "Nothing had been changed."
    lines += ["", "### Cleaned up", "", *(_bullets(dossier.cleaned_up) or [nothing])]
    for title, entries in (("Kept", dossier.kept), ("Quota", dossier.quota)):
        lines += ["", f"### {title}", "", *_bullets(entries)] if entries else []
    if dossier.timeline:
        lines += ["", "### Timeline", "", timeline_picture(dossier.timeline)]
    for title, part in (
        ("Further errors", "\n\n".join(dossier.notes)),
        ("Azure's whole error", dossier.error_tree),
        ("Logs and details", dossier.logs),
    ):
        lines += ["", f"### {title}", "", *_code(part)] if part else []
    return "\n".join(lines)


def _retry_command(program: str, folder: str, parameters: Mapping[str, Any]) -> str:
    """Return the `rollway deploy` or `rollback` command that repeats the run; only a rollback has a parameter `to`."""
    block, version, weight = (parameters.get(name) for name in ("workspace_block", "model_version", "weight"))
    words = ["env", f"ROLLWAY_WORKSPACE_BLOCK={block}"] if block else []
    words += [program, "rollback" if "to" in parameters else "deploy", folder]
    words += ["--to", str(parameters["to"])] if parameters.get("to") else []
    words += ["--model-version", str(version)] if version is not None else []
    words += [f"--{name.replace('_', '-')}" for name in ("dry_run", "force") if parameters.get(name)]
    words += ["--weight", str(weight)] if weight not in (None, 100) else []
    return shlex.join(words)


def _outcome(error: BaseException, is_promoted: bool) -> str:
    if isinstance(error, TrafficNotRestored):
        return "TRAFFIC NOT RESTORED"
    if is_promoted:
        return "promoted, then failed"
    return "aborted" if isinstance(error, Exception) else "stopped"


def _wrap(error: BaseException) -> RollwayError:
    """Return a RollwayError for a foreign exception."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, TimeoutError):
        hint = "find out in Azure what delays it, then run it again: it continues from the current state"
        return RollwayError("a task exceeded its deadline", why=said, hint=hint, cause=Cause.TRANSIENT)
    if not isinstance(error, Exception):  # cancelled from the UI, Ctrl-C, or the worker was stopped
        hint = "run it again when you are ready: it continues from the current state"
        return RollwayError("the run was stopped", why=said, hint=hint, cause=Cause.TRANSIENT)
    hint = "this is a bug in Rollway or its environment: read the traceback in the run's log, and report it"
    return RollwayError("an unexpected error occurred", why=said, hint=hint)


def _traffic(weights: Mapping[str, int] | None) -> str:
    return "unknown" if weights is None else traffic.describe(dict(weights))


def _masked(part: str | None) -> str | None:
    return None if part is None else mask(part)


def _one_line(value: str) -> str:
    return shortened(" ".join(value.split()), MOST_LINE)


def _bullets(lines: Sequence[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _code(part: str) -> list[str]:
    return ["```text", part.rstrip().replace("```", "'''"), "```"]
