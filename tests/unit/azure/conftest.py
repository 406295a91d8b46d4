"""Fixtures of the control plane's tests: a fake Azure, and a folder on disk with the move that creates it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rollway.azure import scoring
from rollway.azure.folder import load_folder
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind, Move
from rollway.rollout.plan import plan
from rollway.rollout.record import CREATED_BY, RUN
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import Wanted
from rollway.spec import RolloutSpec
from tests.support.builders import RolloutFolder, asset
from tests.support.fake_azure import OURS, FakeAzure
from tests.support.scoring import WAIT_SECONDS, Gateway, serving_gateway


@dataclass(frozen=True)
class Planned:
    """A folder on disk, what a run wants of it, and the move that creates its online deployment."""

    spec: RolloutSpec
    wanted: Wanted
    create: Move

    @property
    def name(self) -> str:
        """Name of the online deployment."""
        return self.create.target


@pytest.fixture
def azure() -> FakeAzure:
    """An endpoint without a lease: `blue` has all traffic; `green`, which our run created, has none."""
    azure = FakeAzure()
    azure.have_endpoint(traffic={"blue": 100}, tags={"team": "ml"})
    azure.have("blue")
    azure.have("green", tags={CREATED_BY: OURS, RUN: OURS})
    return azure


@pytest.fixture
def planned(folder: RolloutFolder) -> Planned:
    """The first rollout of a folder."""
    spec = load_folder(str(folder.path))
    wanted = Wanted(model=asset("model", "diabetes"), environment=asset("environment", "inference"))
    moves = plan(spec, wanted, EndpointState(name="diabetes"), Facts(attempt=OURS)).moves
    return Planned(spec, wanted, next(one for one in moves if one.kind is Kind.CREATE))


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A scoring gateway on a free port; its clients connect even if the machine stands still for a while."""
    monkeypatch.setattr(scoring, "CONNECT_SECONDS", WAIT_SECONDS)
    with serving_gateway() as gateway:
        yield gateway
