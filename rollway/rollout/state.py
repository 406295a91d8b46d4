"""An endpoint and its online deployments as Azure reports them, as frozen values."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from rollway.rollout import traffic
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord
from rollway.spec import Frozen, HiddenText

# Azure adds them to an online deployment when it is ready, whatever its file says.
SERVICE_VARIABLES = frozenset({"AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT"})


def is_settled(provisioning_state: str) -> bool:
    """Return True if no operation is running on a resource in that state."""
    return provisioning_state.lower() in ("succeeded", "failed", "canceled")


class ResolvedAsset(Frozen):
    """A model or environment version in Azure; `id` is None if a dry run did not register it."""

    id: str | None
    name: str
    version: str | None
    is_new: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.version or '(next version)'}"


class OnlineDeploymentState(Frozen):
    """An online deployment as Azure reports it; `settings` has the names and units of Azure's YAML."""

    name: str
    provisioning_state: str
    instance_count: int
    tags: dict[str, str] = {}
    model: str | None = None
    environment: str | None = None
    code: str | None = None  # id of the uploaded code; it changes with the content
    settings: dict[str, JsonValue] = {}
    environment_variables: dict[str, HiddenText] = {}  # with those that Azure adds once it is ready

    @property
    def content(self) -> tuple[object, ...]:
        """Everything that decides what it is, to recognise a change; not how many instances it has."""
        own = ((name, value) for name, value in self.environment_variables.items() if name not in SERVICE_VARIABLES)
        variables = tuple(sorted(own))
        return self.name, self.model, self.environment, self.code, self.settings, variables, self.record.fingerprint

    @property
    def record(self) -> OnlineDeploymentRecord:
        """The record that Rollway keeps on it."""
        return OnlineDeploymentRecord.of(self.tags)

    @property
    def is_ours(self) -> bool:
        """True if Rollway created it."""
        return self.record.created_by is not None

    @property
    def is_succeeded(self) -> bool:
        """True if it is ready to serve."""
        return self.provisioning_state.lower() == "succeeded"

    @property
    def is_failed(self) -> bool:
        """True if its last operation failed or was cancelled."""
        return self.provisioning_state.lower() in ("failed", "canceled")

    @property
    def is_settled(self) -> bool:
        """True if no operation is running on it."""
        return is_settled(self.provisioning_state)

    @property
    def is_being_deleted(self) -> bool:
        """True if Azure is deleting it."""
        return self.provisioning_state.lower() == "deleting"


def model_of(online_deployment: OnlineDeploymentState) -> str | None:
    """Return its model as `<name>:<version>`, or None if it has none."""
    return online_deployment.record.model or short_id(online_deployment.model)


def short_id(asset_id: str | None) -> str | None:
    """Return `<name>:<version>` of an ARM id such as `…/models/diabetes/versions/3`; other texts unchanged."""
    parts = (asset_id or "").split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) >= 3 and parts[-2].lower() == "versions" else asset_id


class EndpointState(Frozen):
    """An endpoint as Azure reports it, with its online deployments; `exists` is False if there is none."""

    name: str
    exists: bool = True
    provisioning_state: str = "Succeeded"
    auth_mode: str = "key"
    public_network_access: str = "enabled"
    kind: Literal["managed", "kubernetes"] = "managed"
    location: str | None = None
    identities: tuple[str, ...] = ()  # as in EndpointSpec; empty when Azure does not tell
    description: str | None = None
    tags: dict[str, str] = {}
    scoring_uri: str | None = None
    traffic: dict[str, int] = {}  # percent by online deployment
    mirror_traffic: dict[str, int] = {}
    online_deployments: tuple[OnlineDeploymentState, ...] = ()
    is_complete: bool = True  # False for a list of endpoints, which comes without their online deployments

    @property
    def is_settled(self) -> bool:
        """True if no operation is running on it."""
        return is_settled(self.provisioning_state)

    @property
    def is_failed(self) -> bool:
        """True if its last operation failed or was cancelled."""
        return self.exists and self.provisioning_state.lower() in ("failed", "canceled")

    @property
    def record(self) -> EndpointRecord:
        """The record that Rollway keeps on it."""
        return EndpointRecord.of(self.tags)

    @property
    def serving(self) -> dict[str, int]:
        """The traffic map without entries of weight 0."""
        return {name: weight for name, weight in self.traffic.items() if weight}

    @property
    def stable_traffic(self) -> dict[str, int]:
        """The traffic to return to if the rollout fails: today's, unless Rollway moved it and did not promote it.

        Traffic that somebody else set since then counts as stable, unless a progressive rollout has begun its steps. So
        does today's if an online deployment of the stable traffic is gone.
        """
        today, record = self.serving, self.record
        written, stable = record.written_traffic, record.stable_traffic
        if written is None or stable is None:
            return today
        has_steps = record.underway is not None and record.underway.number > 0
        if not has_steps and not traffic.is_same(written, today):
            return today
        is_there = not self.is_complete or all(self.online_deployment(name) for name in stable)
        return stable if is_there else today

    @property
    def is_moved(self) -> bool:
        """True if a rollout moved traffic and has not ended with a promotion or an abort."""
        return not traffic.is_same(self.stable_traffic, self.traffic)

    @property
    def is_rolling_out(self) -> bool:
        """True if a rollout has begun here, at whatever weight, that has not ended with a promotion or an abort."""
        return self.is_moved or self.record.underway is not None

    @property
    def is_unproven(self) -> bool:
        """True if a rollout moved traffic and the smoke test there has not passed yet."""
        return self.is_moved and not self.record.is_tested and self.record.underway is None

    @property
    def is_canary(self) -> bool:
        """True if a canary with a part of the traffic passed its smoke test."""
        return self.is_moved and self.record.is_tested

    @property
    def busy(self) -> tuple[str, str] | None:
        """Name and provisioning state of the first resource on which an operation is running; None if all are free."""
        if self.exists and not self.is_settled:
            return self.name, self.provisioning_state
        behind = self.online_deployments
        return next(((one.name, one.provisioning_state) for one in behind if not one.is_settled), None)

    @property
    def newcomer(self) -> str | None:
        """The heaviest name with traffic that the stable traffic does not have; None if there is none."""
        stable = {name.lower() for name in self.stable_traffic}
        return next((name for name in traffic.served_by(self.traffic) if name not in stable), None)

    def behind(self, weights: Mapping[str, int]) -> tuple[OnlineDeploymentState, ...]:
        """Return the online deployments of a traffic map that exist, heaviest first."""
        return tuple(one for one in map(self.online_deployment, traffic.served_by(weights)) if one is not None)

    def weight_of(self, name: str) -> int:
        """Return the percent of traffic that an online deployment gets now."""
        return next((weight for one, weight in self.traffic.items() if one.lower() == name.lower()), 0)

    def is_needed(self, name: str) -> bool:
        """Return True if an online deployment has traffic or mirrored traffic, or if stable or a rollout needs it."""
        mirrored = {one: weight for one, weight in self.mirror_traffic.items() if weight}
        canary = [self.record.underway.canary] if self.record.underway else []
        return name.lower() in {one.lower() for one in (*self.serving, *mirrored, *self.stable_traffic, *canary)}

    def online_deployment(self, name: str) -> OnlineDeploymentState | None:
        """Return the online deployment of that name, ignoring case, or None."""
        return next((one for one in self.online_deployments if one.name.lower() == name.lower()), None)
