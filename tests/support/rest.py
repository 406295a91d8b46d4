"""A witness of its own: reads Azure over plain REST and scores over plain HTTP, without any of our code or the SDK."""

import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx

API_VERSION = "2023-04-01-preview"
TIMEOUT_SECONDS = 300


class Rest:
    """Talks to the cloud that a set of environment variables names."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        trust = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
        self.http = httpx.Client(verify=trust, timeout=TIMEOUT_SECONDS)
        self._base = variables["ARM_CLOUD_METADATA_URL"].partition("/metadata")[0]
        metadata = self.http.get(variables["ARM_CLOUD_METADATA_URL"]).json()
        self._arm = (metadata[0] if isinstance(metadata, list) else metadata)["resourceManager"].rstrip("/")
        self.sign_in()

    def sign_in(self) -> None:
        """Get a token, which replaces one that has expired."""
        variables = self._variables
        authority = variables["AZURE_AUTHORITY_HOST"]
        authority = authority if authority.startswith("https://") else f"https://{authority}"
        answer = self.http.post(
            f"{authority.rstrip('/')}/{variables['AZURE_TENANT_ID']}/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": variables["AZURE_CLIENT_ID"],
                "client_secret": variables["AZURE_CLIENT_SECRET"],
                "scope": f"{self._arm}/.default",
            },
        )
        self._headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}

    def workspace(self, path: str, *, method: str = "GET", body: Any = None) -> httpx.Response:
        """One ARM request below the workspace."""
        root = (
            f"{self._arm}/subscriptions/{self._variables['AZURE_SUBSCRIPTION_ID']}"
            f"/resourceGroups/{self._variables['AZURE_RESOURCE_GROUP']}/providers"
            f"/Microsoft.MachineLearningServices/workspaces/{self._variables['AZUREML_WORKSPACE']}"
        )
        url = f"{root}/{path}"
        return self.http.request(method, url, params={"api-version": API_VERSION}, headers=self._headers, json=body)

    def register_version(self, model: str, version: str) -> None:
        """Register a version of a model with the content of the first."""
        first = self.workspace(f"models/{model}/versions/1").raise_for_status().json()["properties"]
        body = {"properties": {name: first[name] for name in ("modelUri", "modelType")}}
        self.workspace(f"models/{model}/versions/{version}", method="PUT", body=body).raise_for_status()

    def traffic(self, endpoint: str) -> dict[str, int] | None:
        """The endpoint's traffic map, or None when there is no such endpoint."""
        answer = self.workspace(f"onlineEndpoints/{endpoint}")
        if answer.status_code == 404:
            return None
        traffic: dict[str, int] = answer.raise_for_status().json()["properties"]["traffic"]
        return traffic

    def settled_traffic(self, endpoint: str) -> dict[str, int] | None:
        """The traffic map once no operation is running on the endpoint."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            answer = self.workspace(f"onlineEndpoints/{endpoint}")
            state = answer.json().get("properties", {}).get("provisioningState", "Absent")
            if state in ("Succeeded", "Failed", "Absent"):
                return self.traffic(endpoint)
            assert time.monotonic() < deadline, f"{endpoint} is still {state}"
            time.sleep(0.1)

    def set_traffic(self, endpoint: str, traffic: dict[str, int]) -> None:
        """Put the whole endpoint with other traffic, as somebody would in the portal."""
        today = self.workspace(f"onlineEndpoints/{endpoint}").raise_for_status().json()
        body = {name: today[name] for name in ("location", "identity", "kind", "tags")}
        body["properties"] = {"authMode": today["properties"]["authMode"], "traffic": traffic}
        self.workspace(f"onlineEndpoints/{endpoint}", method="PUT", body=body).raise_for_status()
        self.settled_traffic(endpoint)

    def set_tags(self, endpoint: str, tags: dict[str, str]) -> None:
        """Tags beside those there are."""
        self.workspace(f"onlineEndpoints/{endpoint}", method="PATCH", body={"tags": tags}).raise_for_status()
        self.settled_traffic(endpoint)

    def tags(self, endpoint: str) -> dict[str, str]:
        """The endpoint's tags."""
        tags: dict[str, str] = self.workspace(f"onlineEndpoints/{endpoint}").raise_for_status().json()["tags"]
        return tags

    def is_ready(self, endpoint: str, online_deployment: str) -> bool:
        """Return True if an online deployment has been provisioned."""
        answer = self.workspace(f"onlineEndpoints/{endpoint}/deployments/{online_deployment}")
        return bool(answer.status_code == 200 and answer.json()["properties"]["provisioningState"] == "Succeeded")

    def online_deployments(self, endpoint: str) -> list[str]:
        """The names of the online deployments behind an endpoint."""
        answer = self.workspace(f"onlineEndpoints/{endpoint}/deployments")
        return [] if answer.status_code == 404 else [one["name"] for one in answer.raise_for_status().json()["value"]]

    def endpoints(self) -> list[str]:
        """The names of all endpoints of the workspace."""
        return [one["name"] for one in self.workspace("onlineEndpoints").raise_for_status().json()["value"]]

    def score(self, endpoint: str, body: Any) -> httpx.Response:
        """One request to the endpoint with its primary key."""
        uri = self.workspace(f"onlineEndpoints/{endpoint}").json()["properties"]["scoringUri"]
        key = self.workspace(f"onlineEndpoints/{endpoint}/listKeys", method="POST").json()["primaryKey"]
        return self.http.post(uri, json=body, headers={"Authorization": f"Bearer {key}"})

    def requests(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The requests that the cloud has handled after that one, oldest first; it keeps only the last thousands."""
        answer = self.http.get(f"{self._base}/_emulator/requests", params={"after": after}).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def last_request(self) -> int:
        """The number of the last request the cloud has handled; 0 before the first."""
        requests = self.requests()
        return int(requests[-1]["number"]) if requests else 0

    def writes(self, *, to: str = "", after: int = 0) -> list[str]:
        """Every write the cloud has been asked for after that request, `METHOD path`, whose path contains `to`."""
        return [
            f"{one['method']} {one['path']}"
            for one in self.requests(after=after)
            if one["method"] not in ("GET", "HEAD") and to.lower() in one["path"].lower()
        ]

    def fault(self, **fault: Any) -> None:
        """Makes the cloud misbehave, once or as often as told."""
        self.http.post(f"{self._base}/_emulator/faults", json=[fault]).raise_for_status()

    def clear_faults(self) -> None:
        """Ends all misbehaviour."""
        self.http.delete(f"{self._base}/_emulator/faults").raise_for_status()


class Client(threading.Thread):
    """Scores an endpoint without pause until it is stopped; every answer's status and model version are kept."""

    def __init__(self, rest: Rest, endpoint: str, pause_seconds: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._pause_seconds = pause_seconds  # leaves the servers a part of a small machine
        self.statuses: list[int | str] = []
        self.versions: list[str] = []
        self._stopped = threading.Event()
        self._http = rest.http
        self._uri = rest.workspace(f"onlineEndpoints/{endpoint}").json()["properties"]["scoringUri"]
        key = rest.workspace(f"onlineEndpoints/{endpoint}/listKeys", method="POST").json()["primaryKey"]
        self._headers = {"Authorization": f"Bearer {key}"}

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                answer = self._http.post(self._uri, json={"data": [[1.0]]}, headers=self._headers)
            except httpx.HTTPError as error:
                self.statuses.append(repr(error))
                continue
            self.statuses.append(answer.status_code)
            if answer.status_code == 200:
                self.versions.append(answer.json()["model_version"])
            self._stopped.wait(self._pause_seconds)

    def stop_after(self, version: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Waits until that version has answered (or the time is over), then ends the client."""
        deadline = time.monotonic() + timeout_seconds
        while version not in self.versions and time.monotonic() < deadline:
            time.sleep(0.05)
        self.stop()

    def stop(self) -> None:
        """Ends the client."""
        self._stopped.set()
        self.join()
