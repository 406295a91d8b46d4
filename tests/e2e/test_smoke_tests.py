"""Smoke tests of any content against Microsoft's inference server, and a rollout without one."""

import json
from pathlib import Path

from tests.support.world import WARM_UP_SECONDS, World

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
FORM = (
    b"--of-the-test\r\n"
    b'Content-Disposition: form-data; name="threshold"\r\n\r\n'
    b"0.5\r\n"
    b"--of-the-test\r\n"
    b'Content-Disposition: form-data; name="image"; filename="cat.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--of-the-test--\r\n"
)
SECRET = "hunter2-correct-horse"


def test_requests_of_any_content_must_be_answered_as_they_expect(world: World) -> None:
    rollout = world.make_rollout("any_content")
    tenant = {"X-Tenant": SECRET}
    image = {"content_type": "image/png", "minimum_bytes": len(PNG)}
    form = {"body": {"const": {"bytes": len(PNG), "threshold": "0.5"}}}
    text = {"content_type": "text/plain", "text_contains": ["HELLO WORLD"], "body": {"type": "string"}}
    rollout.rollout["smoke_test"] = {
        "requests": [
            {
                "name": "image",
                "request_file": "cat.png",
                "content_type": "image/png",
                "headers": tenant,
                "expect": image,
            },
            {
                "name": "form",
                "request_file": "form.bin",
                "content_type": "multipart/form-data",
                "headers": tenant,
                "expect": form,
            },
            {
                "name": "text",
                "request_file": "hello.txt",
                "content_type": "text/plain",
                "headers": tenant,
                "expect": text,
            },
            {"name": "no tenant", "request_file": "request.json", "route": "/score", "expect": {"status": 400}},
        ],
        "warm_up_seconds": WARM_UP_SECONDS,
    }
    for request in rollout.rollout["smoke_test"]["requests"]:
        request["expect"]["max_latency_seconds"] = 120
    folder = Path(rollout.write())
    (folder / "cat.png").write_bytes(PNG)
    (folder / "form.bin").write_bytes(FORM)
    (folder / "hello.txt").write_text("hello world")

    done = world.deploy(rollout, "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(one["request"], one["is_pinned"], one["measurement"]["body"]) for one in report["smoke_tests"][:4]] == [
        ("image", True, f"({len(PNG)} bytes)"),
        ("form", True, {"bytes": len(PNG), "threshold": "0.5"}),
        ("text", True, "HELLO WORLD for ***"),
        ("no tenant", True, {"error": "no tenant"}),
    ]
    assert [(one["request"], one["is_pinned"]) for one in report["smoke_tests"][4:]] == [
        (name, False) for name in ("image", "form", "text", "no tenant")
    ]
    assert SECRET not in done.stdout + done.stderr
    assert "\x1b" not in done.stderr, "an upload leaves no colour codes"


def test_without_a_smoke_test_no_request_is_sent_and_the_plan_and_the_report_say_so(world: World) -> None:
    rollout = world.make_rollout("raises")
    rollout.rollout = {"smoke_test": "none"}

    plan = world.rollway("plan", rollout.write())
    done = world.deploy(rollout)

    assert "warning  rollout.yml: smoke_test: is none: " in plan.stdout, plan.stderr
    assert done.returncode == 0, done.stderr
    assert "smoke test         none, as rollout.yml says: Azure calls it ready" in done.stdout
    assert world.rest.online_deployments(rollout.name) == list(world.rest.traffic(rollout.name) or {})
    assert world.rest.score(rollout.name, {"data": [[1.0]]}).status_code == 424, "nobody looked at an answer"
