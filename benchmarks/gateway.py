"""Cost of the scoring gateway, compared with scoring the inference server directly.

    python -m benchmarks.gateway

It starts an emulator of its own with one online deployment, and takes turns between the two ways in blocks of a second,
so that both see the same machine. Loopback only. One block in each turn is paced (50 requests/s, latency counted from
the moment a request was due), one is as fast as `CLIENTS` clients go. Exits with 1 when a target is missed.
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
MOST_ADDED_P50_MS, MOST_ADDED_P99_MS, LEAST_THROUGHPUT = 3.0, 15.0, 0.60


@dataclass
class Way:
    """One way to the model and what was measured on it: latencies in ms of paced requests, requests/s of bursts."""

    name: str
    connect: Callable[[], HTTPConnection]
    path: str
    headers: dict[str, str]
    latencies: list[float]
    rates: list[float]

    def score(self, connection: HTTPConnection) -> None:
        connection.request("POST", self.path, BODY, self.headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self.name}: {answer.status} {content[:200]!r}")

    def pace(self, count: int) -> None:
        """One client, `PER_SECOND`."""
        connection = self.connect()
        self.score(connection)  # the handshake of TLS is not the gateway's work
        start = time.perf_counter()
        for number in range(count):
            due = start + number / PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
            self.score(connection)
            self.latencies.append((time.perf_counter() - due) * 1000)
        connection.close()

    def burst(self, count: int) -> None:
        """`CLIENTS` clients, each sends the next request when it has its answer."""
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
    """An endpoint with one instance of a model that answers at once; gives its scoring URI and key."""
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
    """Where the inference server of the one container listens: it is on its command line."""
    children = Path(f"/proc/{emulator.pid}/task/{emulator.pid}/children").read_text().split()
    for child in children:
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "--port" in words:
            return int(words[words.index("--port") + 1])
    raise RuntimeError("the emulator runs no container")


def ways(emulator: EmulatorProcess) -> tuple[Way, Way]:
    uri, key = deploy(emulator)
    port, url = container_port(emulator), urlsplit(uri)
    tls = ssl.create_default_context(cafile=emulator.environment["SSL_CERT_FILE"])
    headers = {"Content-Type": "application/json"}
    direct = Way("direct", lambda: HTTPConnection("127.0.0.1", port, timeout=30), "/score", headers, [], [])

    def to_the_gateway() -> HTTPConnection:
        return HTTPSConnection(str(url.hostname), url.port, timeout=30, context=tls)

    return direct, Way("gateway", to_the_gateway, url.path, headers | {"Authorization": f"Bearer {key}"}, [], [])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def report(direct: Way, gateway: Way) -> bool:
    """Print the figures; gives whether all targets are met."""
    figures: list[tuple[str, float, float, float, str]] = []
    for share, most in ((0.50, MOST_ADDED_P50_MS), (0.99, MOST_ADDED_P99_MS)):
        bare, routed = (percentile(way.latencies, share) for way in (direct, gateway))
        figures.append((f"latency p{share * 100:.0f}, ms", bare, routed, routed - bare, f"at most +{most:g}"))
    bare, routed = (statistics.median(way.rates) for way in (direct, gateway))
    figures.append(("requests/s", bare, routed, routed / bare, f"at least x{LEAST_THROUGHPUT:g}"))
    print(f"{'':16}{'direct':>9}{'gateway':>9}{'':>9}  target")
    for name, one, other, change, target in figures:
        shown = f"x{change:.2f}" if "x" in target else f"{change:+.2f}"
        print(f"{name:16}{one:9.2f}{other:9.2f}{shown:>9}  {target}")
    print(f"{len(direct.latencies)} paced requests and {len(direct.rates)} bursts of each")
    added = [figures[0][3] <= MOST_ADDED_P50_MS, figures[1][3] <= MOST_ADDED_P99_MS]
    return all(added) and figures[2][3] >= LEAST_THROUGHPUT


def main() -> int:
    parser = argparse.ArgumentParser(description="What the scoring gateway costs.")
    parser.add_argument("--turns", type=int, default=10, help="how often to take turns, about 4 s each")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed.yaml"
        seed.write_text("scoring: {requests_per_second: 100000}")
        with running_emulator(Path(folder) / "state", "--seed", str(seed)) as emulator:
            return measure(emulator, turns)


def measure(emulator: EmulatorProcess, turns: int) -> int:
    """Take turns, and report; gives the exit code."""
    both = ways(emulator)
    for way in both:
        way.burst(REQUESTS_IN_A_BURST)  # warms up
        way.rates.clear()
    for _ in range(turns):
        for way in both:
            way.pace(PER_SECOND)
        for way in both:
            way.burst(REQUESTS_IN_A_BURST)
    return 0 if report(*both) else 1


if __name__ == "__main__":
    sys.exit(main())
