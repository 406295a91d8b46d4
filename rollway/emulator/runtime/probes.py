"""Liveness and readiness probes of an online deployment: when to look, and what several looks mean."""

from dataclasses import dataclass, field
from typing import Any

from rollway.emulator.core.durations import parse_duration


@dataclass(frozen=True)
class ProbeSettings:
    """One probe as the online deployment sets it; times in seconds."""

    initial_delay: float = 10.0
    period: float = 10.0
    timeout: float = 2.0
    failure_threshold: int = 30
    success_threshold: int = 1

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ProbeSettings":
        """The settings of a `livenessProbe` or `readinessProbe`, with all of Azure's defaults filled in."""
        delay, period, timeout = (
            parse_duration(document[name]) or 0.0 for name in ("initialDelay", "period", "timeout")
        )
        return cls(delay, period, timeout, int(document["failureThreshold"]), int(document["successThreshold"]))

    @property
    def startup_seconds(self) -> float:
        """How long a container may fail it from its start, in seconds."""
        return self.initial_delay + self.period * self.failure_threshold


@dataclass
class Probe:
    """The looks at one container since it was started; `now` is in seconds of any steady clock."""

    settings: ProbeSettings
    has_passed: bool = True
    _due: float = 0.0
    _failures: int = field(default=0)
    _successes: int = field(default=0)

    def begin(self, now: float) -> None:
        """The container has been started."""
        self._due, self._failures, self._successes = now + self.settings.initial_delay, 0, 0

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def record_result(self, is_healthy: bool, now: float) -> None:
        """One look; `has_passed` changes after as many equal ones in a row as the thresholds say."""
        self._due = now + self.settings.period
        self._failures, self._successes = (0, self._successes + 1) if is_healthy else (self._failures + 1, 0)
        if self._failures >= self.settings.failure_threshold:
            self.has_passed = False
        elif self._successes >= self.settings.success_threshold:
            self.has_passed = True
