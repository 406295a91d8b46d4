"""Fixtures of the control plane's tests: a fake Azure and a plan."""

from collections.abc import Iterator

import pytest

from rollway.azure.folder import load_folder
from rollway.rollout.plan import Plan
from rollway.rollout.record import CREATED_BY, RUN
from rollway.spec import RolloutSpec
from tests.support.builders import RolloutFolder, a_plan
from tests.support.fake_azure import OURS, FakeAzure
from tests.support.scoring import Gateway, serving_gateway


@pytest.fixture
def azure() -> FakeAzure:
    """An endpoint without a lease: `blue` has all traffic; `green`, which our run created, has none."""
    azure = FakeAzure()
    azure.have_endpoint(traffic={"blue": 100}, tags={"team": "ml"})
    azure.have("blue")
    azure.have("green", tags={CREATED_BY: OURS, RUN: OURS})
    return azure


@pytest.fixture
def held(azure: FakeAzure) -> FakeAzure:
    """The fake Azure of `azure`, with the lease held by our run attempt."""
    azure.lease_to(OURS)
    return azure


@pytest.fixture
def made(folder: RolloutFolder) -> tuple[RolloutSpec, Plan]:
    """A folder on disk, and the plan of its first rollout."""
    spec = load_folder(str(folder.path))
    return spec, a_plan(spec)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A scoring gateway on a free port."""
    with serving_gateway() as gateway:
        yield gateway
