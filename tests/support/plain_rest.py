"""Plain REST on any emulator, for tests that have one of their own: azure-ai-ml knows one cloud per process."""

import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.emulator_process import EmulatorProcess

FIXTURES = Path(__file__).parents[1] / "fixtures"
NO_LAGS = FIXTURES / "no-lags.yaml"
# The longest request timeout of Azure. With its default of 5 s, a machine that stops for as long answers with a 408.
PATIENT = {"requestTimeout": "PT3M"}
ENDPOINT = {"location": "westeurope", "properties": {"authMode": "Key"}}


class PlainRest:
    """The first principal's access to the first workspace."""

    def __init__(self, emulator: EmulatorProcess, token: str | None = None) -> None:
        variables = emulator.environment
        self.http = emulator.http()
        self.http.headers["Authorization"] = f"Bearer {token or get_token(emulator)}"
        group = (
            f"/subscriptions/{variables['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{variables['AZURE_RESOURCE_GROUP']}"
        )
        provider = "providers/Microsoft.MachineLearningServices"
        self.root = f"{group}/{provider}/workspaces/{variables['AZUREML_WORKSPACE']}"
        self._url = emulator.url

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request below the workspace."""
        url = f"{self._url}{self.root}{path}{'&' if '?' in path else '?'}api-version=2023-04-01-preview"
        return self.http.request(method, url, json=body)

    def state(self, path: str) -> str:
        """The provisioning state of a resource."""
        return str(self.send("GET", path).raise_for_status().json()["properties"]["provisioningState"])


def get_token(emulator: EmulatorProcess, client_id: str = "") -> str:
    """A token for ARM, as the first principal; others need `{client_id}-secret` as their secret."""
    variables = emulator.environment
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id or variables["AZURE_CLIENT_ID"],
        "client_secret": f"{client_id}-secret" if client_id else variables["AZURE_CLIENT_SECRET"],
        "scope": f"{emulator.url}/.default",
    }
    url = f"{emulator.url}/{variables['AZURE_TENANT_ID']}/oauth2/v2.0/token"
    return str(emulator.http().post(url, data=form).raise_for_status().json()["access_token"])


def wait_for(rest: PlainRest, path: str, seconds: float = 180) -> str:
    """The provisioning state of a resource once no operation runs on it; containers start in real time."""
    deadline = time.monotonic() + seconds
    while (state := rest.state(path)) not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, f"{path} is still {state}"
        time.sleep(0.05)
    return state


def register_assets(rest: PlainRest, script: str = "good") -> dict[str, Any]:
    """Registers the code of a fixture, an environment and no model; gives the body that deploys them."""
    upload = rest.send("POST", f"/codes/{script}/versions/1/startPendingUpload", {}).raise_for_status().json()
    reference = upload["blobReferenceForConsumption"]
    url, _, query = reference["credential"]["sasUri"].partition("?")
    content = (FIXTURES / script / "score.py").read_bytes()
    headers = {"x-ms-blob-type": "BlockBlob", "Authorization": ""}
    rest.http.put(f"{url}/{script}/score.py?{query}", content=content, headers=headers).raise_for_status()
    code = {"codeUri": f"{reference['blobUri']}/{script}"}
    rest.send("PUT", f"/codes/{script}/versions/1", {"properties": code}).raise_for_status()
    image = {"image": "docker.io/library/python", "condaFile": (FIXTURES / "conda.yaml").read_text()}
    rest.send("PUT", "/environments/fixtures/versions/1", {"properties": image}).raise_for_status()
    properties = {
        "environmentId": f"{rest.root}/environments/fixtures/versions/1",
        "codeConfiguration": {"codeId": f"{rest.root}/codes/{script}/versions/1", "scoringScript": "score.py"},
        "instanceType": "Standard_DS3_v2",
        "endpointComputeType": "Managed",
        "requestSettings": dict(PATIENT),
    }
    return {"location": "westeurope", "sku": {"name": "Default", "capacity": 1}, "properties": properties}
