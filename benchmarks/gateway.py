"""Cost of the scoring gateway, compared with scoring the inference server directly.

    python -m benchmarks.gateway

It starts its own emulator, with one online deployment, on loopback. It measures the two routes in turns of a few
seconds, so that both see the same load of the machine. A turn has a paced block (50 requests/s, with latency counted
from the time at which a request was due) and a burst (`CLIENTS` clients, each as fast as possible). The exit code is 1
if a target is missed.
"""

import argparse
import json
import os
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.emulator_process import REPOSITORY, EmulatorProcess, running_emulator

PER_SECOND = 50
CLIENTS = 4
REQUESTS_IN_A_BURST = 200
BODY = json.dumps({"data": [[round(0.1 * number, 1) for number in range(10)]] * 4}).encode()
MAX_ADDED_P50_MS, MAX_ADDED_P99_MS, MIN_THROUGHPUT = 1.0, 5.0, 0.80


@dataclass
class Route:
    """One route to the model, with its measurements.

    Args:
        latencies: Latencies of paced requests, in ms.
        rates: Requests per second of each burst.
    """

    name: str
    connect: Callable[[], HTTPConnection]
    path: str
    headers: dict[str, str]
    latencies: list[float]
    rates: list[float]

    def score(self, connection: HTTPConnection) -> None:
        """Send one request. Raise RuntimeError unless the status is 200."""
        connection.request("POST", self.path, BODY, self.headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.name}: {response.status} {content[:200]!r}")

    def pace(self, count: int) -> None:
        """Send `count` requests from one client, `PER_SECOND` per second, and record their latencies."""
        connection = self.connect()
        self.score(connection)  # opens the connection: the TLS handshake is not measured
        start = time.perf_counter()
        for number in range(count):
            due = start + number / PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
            self.score(connection)
            self.latencies.append((time.perf_counter() - due) * 1000)
        connection.close()

    def burst(self, count: int) -> None:
        """Send `count` requests from `CLIENTS` clients, each as fast as possible, and record the rate."""
        connections = [self.connect() for _ in range(CLIENTS)]
        for connection in connections:
            self.score(connection)

        def work(connection: HTTPConnection) -> None:
            for _ in range(count // CLIENTS):
                self.score(connection)
            connection.close()

        threads = [threading.Thread(target=work, args=(one,)) for one in connections]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rates.append(count / (time.perf_counter() - start))


def deploy(emulator: EmulatorProcess) -> tuple[str, str]:
    """Create an endpoint with one instance of a fast model. Return its scoring URI and key."""
    os.environ.update(emulator.environment)
    from azure.ai.ml import MLClient  # noqa: PLC0415 - reads the environment when it is imported
    from azure.ai.ml.entities import (  # noqa: PLC0415
        CodeConfiguration,
        Environment,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
        OnlineRequestSettings,
    )
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    fixtures = REPOSITORY / "tests/fixtures"
    where = [os.environ[name] for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE")]
    client = MLClient(DefaultAzureCredential(disable_instance_discovery=True), *where, enable_telemetry=False)
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="benchmark")).result()
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name="benchmark",
        environment=Environment(image="docker.io/library/python", conda_file=str(fixtures / "conda.yaml")),
        code_configuration=CodeConfiguration(code=str(fixtures / "good"), scoring_script="score.py"),
        instance_type="Standard_DS3_v2",
        instance_count=1,
        request_settings=OnlineRequestSettings(max_concurrent_requests_per_instance=CLIENTS),
    )
    client.online_deployments.begin_create_or_update(deployment).result()
    endpoint = client.online_endpoints.get("benchmark")
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    print(file=sys.stderr)  # ends the SDK's line of dots
    return str(endpoint.scoring_uri), str(client.online_endpoints.get_keys("benchmark").primary_key)


def container_port(emulator: EmulatorProcess) -> int:
    """Return the port of the only container's inference server, from its command line."""
    children = Path(f"/proc/{emulator.pid}/task/{emulator.pid}/children").read_text().split()
    for child in children:
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "--port" in words:
            return int(words[words.index("--port") + 1])
    raise RuntimeError("the emulator runs no container")


def create_routes(emulator: EmulatorProcess) -> tuple[Route, Route]:
    """Deploy the model and return the direct route and the route through the gateway."""
    uri, key = deploy(emulator)
    port, url = container_port(emulator), urlsplit(uri)
    tls = ssl.create_default_context(cafile=emulator.environment["SSL_CERT_FILE"])
    headers = {"Content-Type": "application/json"}
    direct = Route("direct", lambda: HTTPConnection("127.0.0.1", port, timeout=30), "/score", headers, [], [])

    def connect_to_gateway() -> HTTPConnection:
        return HTTPSConnection(str(url.hostname), url.port, timeout=30, context=tls)

    return direct, Route("gateway", connect_to_gateway, url.path, headers | {"Authorization": f"Bearer {key}"}, [], [])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def report(direct: Route, gateway: Route) -> bool:
    """Print the figures. Return True if all targets are met."""
    figures: list[tuple[str, float, float, float, str]] = []
    for share, limit in ((0.50, MAX_ADDED_P50_MS), (0.99, MAX_ADDED_P99_MS)):
        bare, routed = (percentile(route.latencies, share) for route in (direct, gateway))
        figures.append((f"latency p{share * 100:.0f}, ms", bare, routed, routed - bare, f"at most +{limit:g}"))
    bare, routed = (statistics.median(route.rates) for route in (direct, gateway))
    figures.append(("requests/s", bare, routed, routed / bare, f"at least x{MIN_THROUGHPUT:g}"))
    print(f"{'':16}{'direct':>9}{'gateway':>9}{'':>9}  target")
    for name, one, other, change, target in figures:
        shown = f"x{change:.2f}" if "x" in target else f"{change:+.2f}"
        print(f"{name:16}{one:9.2f}{other:9.2f}{shown:>9}  {target}")
    print(f"{len(direct.latencies)} paced requests and {len(direct.rates)} bursts of each")
    added = [figures[0][3] <= MAX_ADDED_P50_MS, figures[1][3] <= MAX_ADDED_P99_MS]
    return all(added) and figures[2][3] >= MIN_THROUGHPUT


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the cost of the scoring gateway.")
    parser.add_argument("--turns", type=int, default=10, help="number of turns, about 4 s each")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed.yaml"
        seed.write_text("scoring: {requests_per_second: 100000}")
        with running_emulator(Path(folder) / "state", "--seed", str(seed)) as emulator:
            return measure(emulator, turns)


def measure(emulator: EmulatorProcess, turns: int) -> int:
    """Measure both routes in turns, print the figures, and return the exit code."""
    both = create_routes(emulator)
    for route in both:
        route.burst(REQUESTS_IN_A_BURST)  # warms up
        route.rates.clear()
    for _ in range(turns):
        for route in both:
            route.pace(PER_SECOND)
        for route in both:
            route.burst(REQUESTS_IN_A_BURST)
    return 0 if report(*both) else 1


if __name__ == "__main__":
    sys.exit(main())
