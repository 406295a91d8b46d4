"""Liveness and readiness probes: when to probe, and when the result changes."""

from dataclasses import dataclass, field
from typing import Any

from rollway.emulator.core.durations import parse_duration


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of one probe. Times are in seconds."""

    initial_delay: float = 10.0
    period: float = 10.0
    timeout: float = 2.0
    failure_threshold: int = 30
    success_threshold: int = 1

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ProbeSettings":
        """Return the settings of a `livenessProbe` or `readinessProbe` document that has all fields."""
        delay, period, timeout = (
            parse_duration(document[name]) or 0.0 for name in ("initialDelay", "period", "timeout")
        )
        return cls(delay, period, timeout, int(document["failureThreshold"]), int(document["successThreshold"]))

    @property
    def startup_seconds(self) -> float:
        """Time after the start within which a container must pass the probe, in seconds."""
        return self.initial_delay + self.period * self.failure_threshold


@dataclass
class Probe:
    """One probe of one container. `now` is in seconds of a monotonic clock."""

    settings: ProbeSettings
    has_passed: bool = True
    _due: float = 0.0
    _failures: int = field(default=0)
    _successes: int = field(default=0)

    def begin(self, now: float) -> None:
        """Reset the probe after a start of the container."""
        self._due, self._failures, self._successes = now + self.settings.initial_delay, 0, 0

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def record_result(self, is_healthy: bool, now: float) -> None:
        """Record one result. `has_passed` changes after as many equal results in a row as the threshold says."""
        self._due = now + self.settings.period
        self._failures, self._successes = (0, self._successes + 1) if is_healthy else (self._failures + 1, 0)
        if self._failures >= self.settings.failure_threshold:
            self.has_passed = False
        elif self._successes >= self.settings.success_threshold:
            self.has_passed = True
