"""Azure's YAML that is valid for sure, compared with what the SDK says about it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.ai.ml import load_online_deployment, load_online_endpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollway.azure.content import spec_of
from rollway.spec.known_good import is_endpoint, is_online_deployment
from tests.support.builders import RolloutFolder

ROOT = Path(__file__).parents[3]
TEXT = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=12)
NAME = st.from_regex(r"[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]", fullmatch=True)
COUNT = st.integers(-1, 4000)
REFERENCE = st.from_regex(r"azureml:[a-z0-9][a-z0-9_.-]{0,5}(:[a-z0-9][a-z0-9.]{0,4}|@latest)", fullmatch=True)
ODD = st.one_of(st.none(), st.booleans(), COUNT, TEXT, st.just([]), st.just({}), st.just(1.5))
ROUTE = st.fixed_dictionaries({"path": st.just("/score"), "port": COUNT})
ACCESS = st.sampled_from(["enabled", "disabled", "Enabled", "off"])


def keys(needed: dict[str, Any], **optional: Any) -> Any:
    """Documents with the needed keys and some of the others; now and then one of them, or an unknown key, is odd."""
    usual = st.fixed_dictionaries(needed, optional=optional)
    spoiled = st.tuples(st.sampled_from([*needed, *optional, "unknown"]), ODD).map(lambda pair: dict([pair]))
    return st.tuples(usual, st.one_of(st.just({}), st.just({}), spoiled)).map(lambda pair: {**pair[0], **pair[1]})


PROBE = keys({}, period=COUNT, initial_delay=COUNT, timeout=COUNT, success_threshold=COUNT, failure_threshold=COUNT)
TAGS = st.dictionaries(st.sampled_from(["team", "a.b", "rollway:x"]), TEXT | COUNT)
ENVIRONMENT = keys(
    {"image": TEXT},
    name=NAME,
    version=st.sampled_from(["1", 1, "v 1"]),
    conda_file=st.just("conda.yaml"),
    inference_config=keys({f"{kind}_route": ROUTE for kind in ("liveness", "readiness", "scoring")}),
)
ENDPOINTS = keys(
    {"name": NAME},
    **{"$schema": TEXT},
    auth_mode=st.sampled_from(["key", "aml_token", "aad_token", "Key", "none"]),
    public_network_access=ACCESS,
    description=TEXT,
    tags=TAGS,
)
ONLINE_DEPLOYMENTS = keys(
    {"name": NAME, "endpoint_name": st.just("diabetes"), "instance_type": TEXT, "model": REFERENCE},
    description=TEXT,
    tags=TAGS,
    code_configuration=keys({"code": st.just("code"), "scoring_script": st.just("score.py")}),
    environment=REFERENCE | ENVIRONMENT,
    environment_variables=st.dictionaries(TEXT, TEXT | COUNT | st.booleans()),
    app_insights_enabled=st.booleans(),
    instance_count=COUNT,
    request_settings=keys({}, request_timeout_ms=COUNT, max_concurrent_requests_per_instance=COUNT),
    liveness_probe=PROBE,
    readiness_probe=PROBE,
    scale_settings=st.sampled_from([{"type": "default"}, {"type": "target_utilization"}]),
    egress_public_network_access=ACCESS,
)


def written(folder: RolloutFolder, file: str, document: object) -> Any:
    """Write a document as YAML; return it as YAML reads it."""
    folder.write(file, yaml.safe_dump(document))
    return yaml.safe_load((folder.path / file).read_text())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(document=ENDPOINTS)
def test_the_sdk_takes_every_endpoint_that_is_valid_for_sure(folder: RolloutFolder, document: Any) -> None:
    if is_endpoint(written(folder, "endpoint.yml", document)):
        assert load_online_endpoint(folder.path / "endpoint.yml").name == document["name"].lower()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(document=ONLINE_DEPLOYMENTS)
def test_the_sdk_takes_every_online_deployment_that_is_valid_for_sure(folder: RolloutFolder, document: Any) -> None:
    said = written(folder, "deployment.yml", document)
    if is_online_deployment(said):
        entity = load_online_deployment(folder.path / "deployment.yml")
        assert spec_of(entity, said, folder.path).name == document["name"].lower()


def said_in(folder: Path) -> tuple[Any, Any]:
    """Return the content of endpoint.yml and deployment.yml."""
    endpoint, online_deployment = (
        yaml.safe_load((folder / f"{name}.yml").read_text()) for name in ("endpoint", "deployment")
    )
    return endpoint, online_deployment


def test_the_folders_that_most_people_have_are_valid_for_sure(folder: RolloutFolder) -> None:
    for path in (folder.path, ROOT / "deployments" / "diabetes"):
        endpoint, online_deployment = said_in(path)
        assert (is_endpoint(endpoint), is_online_deployment(online_deployment)) == (True, True), path


@pytest.mark.parametrize("check", [is_endpoint, is_online_deployment], ids=["endpoint", "online deployment"])
@pytest.mark.parametrize("document", [None, [], "text", {}, {"name": None}], ids=json.dumps)
def test_what_is_no_such_file_is_not_valid_for_sure(check: Callable[[Any], bool], document: Any) -> None:
    assert not check(document)
