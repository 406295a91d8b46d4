"""Routes of an environment's `inferenceConfig`."""

from typing import Any

import pytest

from rollway.emulator.runtime.routes import Route, Routes, problems_of


def test_without_a_configuration_the_routes_are_the_inference_servers() -> None:
    assert Routes.from_document(None) == Routes.from_document({}) == Routes()
    assert Routes().ports == (5001,)


def test_each_route_has_its_own_path_and_port() -> None:
    found = Routes.from_document(
        {
            "livenessRoute": {"path": "/live", "port": 8081},
            "readinessRoute": {"path": "/ready", "port": 8080},
            "scoringRoute": {"path": "/predict", "port": 8080},
        }
    )

    live = Route("/live", 8081)
    assert found == Routes(live, Route("/ready", 8080), Route("/predict", 8080), startup=live)
    assert found.ports == (8080, 8081)


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ({"path": "live", "port": 1}, "livenessRoute.path must be a path that begins with '/'."),
        ({"path": "/a\r\nx", "port": 1}, "livenessRoute.path must be a path that begins with '/'."),
        ({"path": "/", "port": 0}, "livenessRoute.port must be a port between 1 and 65535."),
        ({"path": "/", "port": "80"}, "livenessRoute.port must be a port between 1 and 65535."),
    ],
)
def test_a_wrong_route_is_a_problem(route: dict[str, Any], problem: str) -> None:
    assert problems_of({"livenessRoute": route}) == [problem]
    with pytest.raises(ValueError, match=r"livenessRoute\."):
        Routes.from_document({"livenessRoute": route})


def test_a_route_that_is_no_object_has_both_problems() -> None:
    assert len(problems_of({"scoringRoute": "/score"})) == 2
    assert problems_of({"scoringRoute": None, "other": 1}) == []
