"""A rollout with azure-ai-ml alone, as Microsoft's documentation teaches it: what `rollway deploy` is compared with.

    python benchmarks/plain_script.py diabetes blue          # the first rollout
    python benchmarks/plain_script.py diabetes green blue    # the next one, which replaces blue

It is the code of how-to-deploy-online-endpoints and how-to-safely-rollout-online-endpoints, with the files of
deployments/diabetes and the workspace of the environment. It assumes that nothing fails and that nobody else writes.
"""

import time

STARTED = time.monotonic()  # before the imports, which take seconds

import os  # noqa: E402
import sys  # noqa: E402

from azure.ai.ml import MLClient, load_online_deployment, load_online_endpoint  # noqa: E402
from azure.identity import DefaultAzureCredential  # noqa: E402

FOLDER, REQUEST = "deployments/diabetes", "scoring/diabetes/sample-request.json"


def say(what: str) -> None:
    print(f"\n{what} after {time.monotonic() - STARTED:.2f} s", flush=True)  # the SDK prints dots without a line break


def roll_out(endpoint_name: str, name: str, replaced: str | None) -> None:
    client = MLClient(
        DefaultAzureCredential(disable_instance_discovery=True),
        os.environ["AZURE_SUBSCRIPTION_ID"],
        os.environ["AZURE_RESOURCE_GROUP"],
        os.environ["AZUREML_WORKSPACE"],
        enable_telemetry=False,
    )
    if replaced is None:
        wanted = load_online_endpoint(f"{FOLDER}/endpoint.yml", params_override=[{"name": endpoint_name}])
        endpoint = client.online_endpoints.begin_create_or_update(wanted).result()
    else:
        endpoint = client.online_endpoints.get(endpoint_name)

    names = [{"name": name}, {"endpoint_name": endpoint_name}]
    deployment = load_online_deployment(f"{FOLDER}/deployment.yml", params_override=names)
    client.online_deployments.begin_create_or_update(deployment).result()  # registers the environment as well

    endpoint.traffic = {name: 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    client.online_endpoints.invoke(endpoint_name, request_file=REQUEST)
    say("serves and proven")

    if replaced is not None:
        client.online_deployments.begin_delete(replaced, endpoint_name).result()
    say("ended")


if __name__ == "__main__":
    roll_out(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
