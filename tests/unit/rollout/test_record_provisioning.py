"""The time that Azure needed for an online deployment, as a run sees it and as the endpoint remembers it."""

from datetime import datetime, timedelta

import pytest

from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord

AT = "2026-01-01T12:00:00.000+00:00"


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (OnlineDeploymentRecord().created("run/1", AT), 540),
        (OnlineDeploymentRecord().created("run/2", AT), 540),  # an earlier attempt of the same flow run
        (OnlineDeploymentRecord().created("other/1", AT), None),
        (OnlineDeploymentRecord().created("run/1", AT).changed(OnlineDeploymentRecord(), "other/1"), None),
        (OnlineDeploymentRecord().created("run/1", "yesterday"), None),
        (OnlineDeploymentRecord(created_at=AT), None),
        (OnlineDeploymentRecord(), None),
    ],
)
def test_a_run_knows_how_long_its_own_online_deployment_needed(
    made: OnlineDeploymentRecord, seconds: int | None
) -> None:
    now = datetime.fromisoformat(AT) + timedelta(seconds=540.4)

    assert made.seconds_since_creation(now, "run/3") == seconds


def test_a_rollout_that_has_not_seen_it_keeps_the_time_that_the_last_one_needed() -> None:
    assert EndpointRecord().provisioned(540).provisioned(None).provisioning_seconds == 540
