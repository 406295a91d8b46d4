"""A client of the emulator that runs on a state directory: it asks for the key or token of an endpoint."""

import json
import ssl
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from rollway.emulator.folder import read_client_environment
from rollway.emulator.login.identity import AZURE_ML

API_VERSION = "2024-04-01"


class Refused(Exception):
    """The emulator refused a request. The text is its reason."""


def read_key(folder: Path, endpoint: str) -> str:
    """Return a key or token that opens an endpoint, whatever its auth mode is.

    Args:
        folder: The state directory.
        endpoint: Name of an endpoint of the first workspace, or the resource id of any endpoint.

    Raises:
        NotRunning: No emulator runs on `folder`.
        Refused: There is no such endpoint, or the principal may not read its keys.
    """
    values = read_client_environment(folder)
    url = values["AZURE_AUTHORITY_HOST"]
    workspace = (
        f"/subscriptions/{values['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{values['AZURE_RESOURCE_GROUP']}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{values['AZUREML_WORKSPACE']}"
    )
    path = endpoint if endpoint.startswith("/") else f"{workspace}/onlineEndpoints/{endpoint}"
    trust = ssl.create_default_context(cafile=values["SSL_CERT_FILE"])
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trust))

    def ask(method: str, path: str, token: str = "", form: dict[str, str] | None = None) -> dict[str, Any]:
        data = urlencode(form).encode() if form else b"" if method == "POST" else None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            request = Request(url + path, data, headers, method=method)  # noqa: S310 - the emulator's own address
            with opener.open(request, timeout=30) as response:
                found: dict[str, Any] = json.load(response)
        except HTTPError as exc:
            raise Refused(json.load(exc)["error"]["message"]) from exc
        return found

    def sign_in(resource: str) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": values["AZURE_CLIENT_ID"],
            "client_secret": values["AZURE_CLIENT_SECRET"],
            "scope": f"{resource}/.default",
        }
        return str(ask("POST", f"/{values['AZURE_TENANT_ID']}/oauth2/v2.0/token", form=form)["access_token"])

    token, version = sign_in(url), f"?api-version={API_VERSION}"
    mode = ask("GET", f"{path}{version}", token)["properties"]["authMode"]
    if mode == "Key":
        return str(ask("POST", f"{path}/listKeys{version}", token)["primaryKey"])
    if mode == "AMLToken":
        return str(ask("POST", f"{path}/token{version}", token)["accessToken"])
    return sign_in(AZURE_ML)
