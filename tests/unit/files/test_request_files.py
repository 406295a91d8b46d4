"""Files with recorded requests, alone and as a part of a rollout folder."""

from pathlib import Path
from typing import Any

import pytest

from rollway.azure.folder import load_folder
from rollway.errors import InvalidRollout
from rollway.files.request_files import read_requests
from tests.support.builders import RolloutFolder

ROLLOUT = "rollout.yml"
FIFTY = '{"data": 1}\n' * 50


def problems_of(folder: RolloutFolder) -> list[str]:
    """Return each problem, without the path of the folder."""
    with pytest.raises(InvalidRollout) as caught:
        load_folder(str(folder.path))
    return [str(problem).replace(f"{folder.path}/", "") for problem in caught.value.problems]


def judge(folder: RolloutFolder, strategy: str | None = "progressive", **values: Any) -> None:
    folder.change(ROLLOUT, strategy=strategy, judge=values)


def test_each_line_is_a_request_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n\n  \n[2]\r\n"x\u2028y"\nnull', encoding="utf-8", newline="")

    assert read_requests(str(tmp_path), "r.jsonl") == ({"a": 1}, [2], "x\u2028y", None)


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (None, ["there is no such file, did you mean 'request.json'?"]),
        (b"", ["has no requests"]),
        (b"\n \n", ["has no requests"]),
        (b'{}\n\n{"a": \n', ["line 3 is not JSON: Expecting value (column 7)"]),
        (
            b"{} {}\n[NaN]\n",
            ["line 1 is not JSON: Extra data (column 4)", "line 2 is not JSON: NaN is not a JSON value"],
        ),
        (b"\xff\n", ["cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"]),
        (
            b"x\n" * 8,
            [
                *[f"line {number} is not JSON: Expecting value (column 1)" for number in range(1, 6)],
                "3 more lines are not JSON",
            ],
        ),
    ],
    ids=["missing", "empty", "blank", "cut off", "two on a line", "not text", "many"],
)
def test_a_fault_is_named_with_its_line(folder: RolloutFolder, content: bytes | None, faults: list[str]) -> None:
    judge(folder, predictions={"requests": "r.jsonl"}, probes={"requests": "r.jsonl"})
    path = folder.path / "r.jsonl"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidRollout) as caught:
        read_requests(str(folder.path), "r.jsonl")

    assert [str(one) for one in caught.value.problems] == [f"{path}: {fault}" for fault in faults]
    assert str(caught.value).startswith(
        f"{path} is not a file of requests\n  where: {path}\n  try: write one JSON document a line\n\n  {path}: "
    )
    assert problems_of(folder) == [
        *[f"rollout.yml: judge.predictions.requests: r.jsonl: {fault}" for fault in faults],
        *[f"rollout.yml: judge.probes.requests: r.jsonl: {fault}" for fault in faults],
    ]


def test_valid_request_files_are_no_problem_and_no_part_of_the_rollout(folder: RolloutFolder) -> None:
    folder.write("r.jsonl", FIFTY)
    judge(folder, predictions={"requests": "r.jsonl"}, probes={"requests": "r.jsonl"})
    first = load_folder(str(folder.path))
    folder.write("r.jsonl", FIFTY.replace("1", "2"))

    assert load_folder(str(folder.path)) == first


@pytest.mark.parametrize(("count", "words"), [(49, "49 requests"), (1, "1 request")])
def test_a_file_with_too_few_requests_for_a_verdict_is_refused(folder: RolloutFolder, count: int, words: str) -> None:
    folder.write("r.jsonl", "{}\n" * count)
    judge(folder, predictions={"requests": "r.jsonl"})

    assert problems_of(folder) == [
        f"rollout.yml: judge.predictions.requests: r.jsonl has {words}, minimum_requests demands 50"
    ]


def test_a_sample_that_is_too_small_for_a_verdict_and_invalid_paths_are_refused(folder: RolloutFolder) -> None:
    folder.write("r.jsonl", FIFTY)
    judge(folder, predictions={"requests": "r.jsonl", "sample": 49, "ignore": ["$.id", "id"]})

    assert problems_of(folder) == [
        "rollout.yml: judge.predictions.sample: 49 requests are too few, minimum_requests demands 50",
        "rollout.yml: judge.predictions.ignore.1: 'id' is not a path such as $.request_id, $.timings.* or "
        "$.predictions[*].id",
    ]


def test_without_a_progressive_strategy_only_the_key_is_a_problem(folder: RolloutFolder) -> None:
    judge(folder, strategy=None, predictions={"requests": "r.jsonl"})

    assert problems_of(folder) == ["rollout.yml: judge: has a meaning only with `strategy: progressive`"]


def test_steps_that_make_no_sense_come_with_all_other_problems(folder: RolloutFolder) -> None:
    folder.change("endpoint.yml", auth_mode="kee")
    folder.change(
        ROLLOUT,
        strategy="progressive",
        steps=[{"weight": 50}, {"weight": 20}],
        judge={"predictions": {"requests": "r.jsonl"}},
        smoke_test={"request_file": "nope.json"},
    )

    assert [tuple(problem.split(": ")[:2]) for problem in problems_of(folder)] == [
        ("endpoint.yml", "auth_mode"),
        (ROLLOUT, "steps"),
        (ROLLOUT, "steps"),
        (ROLLOUT, "judge.predictions.requests"),
        (ROLLOUT, "smoke_test.request_file"),
    ]


def test_the_strategy_is_checked_for_the_kind_of_the_endpoint(folder: RolloutFolder) -> None:
    folder.change("endpoint.yml", compute="azureml:cluster")
    folder.change("deployment.yml", type="kubernetes")
    folder.change(ROLLOUT, strategy="progressive")

    assert problems_of(folder) == [
        "rollout.yml: judge.source: Azure Monitor has no metrics of Kubernetes online endpoints; use probes"
    ]


FORM = b'--abc\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--abc--\r\n'


def test_the_requests_of_a_smoke_test_are_read_with_their_bodies(folder: RolloutFolder) -> None:
    (folder.path / "cat.png").write_bytes(b"\x89PNG\x00")
    (folder.path / "form.bin").write_bytes(FORM)
    requests = [
        {"name": "json", "request_file": "request.json"},
        {"name": "cat", "request_file": "cat.png", "content_type": "image/png", "headers": {"X-A": "b"}, "route": "/a"},
        {"name": "form", "request_file": "form.bin", "content_type": "multipart/form-data", "expect": {"status": 400}},
    ]
    folder.change(ROLLOUT, smoke_test={"requests": requests})

    spec = load_folder(str(folder.path))

    json, cat, form = spec.smoke_requests
    assert (json.name, json.document, json.content) == ("json", {"data": [[1.0]]}, None)
    assert (cat.content, cat.content_type, cat.route) == (b"\x89PNG\x00", "image/png", "/a")
    assert {name: value.get_secret_value() for name, value in cat.headers.items()} == {"X-A": "b"}
    assert (form.content, form.content_type) == (FORM, 'multipart/form-data; boundary="abc"')
    assert (spec.is_smoke_tested, spec.probe_requests) == (True, (json, cat))


def test_without_a_smoke_test_there_are_no_requests(folder: RolloutFolder) -> None:
    folder.change(ROLLOUT, smoke_test="none")

    spec = load_folder(str(folder.path))

    assert (spec.smoke_requests, spec.is_smoke_tested) == ((), False)


def test_all_problems_of_all_requests_come_at_once(folder: RolloutFolder) -> None:
    (folder.path / "cat.png").write_bytes(b"\x89PNG\x00")
    requests = [
        {"name": "a", "request_file": "nope.bin", "content_type": "image/png"},
        {"name": "b", "request_file": "cat.png"},
        {"name": "c", "request_file": "cat.png", "content_type": "multipart/form-data"},
        {"name": "d", "request_file": "code", "content_type": "text/plain"},
        {"name": "e", "request_file": "cat.png", "content_type": "image/png", "expect": {"max_latency_seconds": 300}},
        {"name": "f", "request_file": "cat.png", "content_type": "image/png", "expect": {"max_latency_seconds": 300}},
    ]
    folder.change(ROLLOUT, smoke_test={"requests": requests})

    assert [problem.removeprefix("rollout.yml: smoke_test") for problem in problems_of(folder)] == [
        ": may take 1360 s, each request twice and the warm-up; allowed are 1200 s",
        ".requests.0.request_file: there is no nope.bin",
        ".requests.1.request_file: cat.png is not JSON: 'utf-8' codec can't decode byte 0x89 in position 0: invalid "
        "start byte; if it is no JSON, say what it is, as in content_type: image/png",
        ".requests.2.request_file: cat.png does not begin with a boundary, a line such as --boundary",
        ".requests.3.request_file: code cannot be read: [Errno 21] Is a directory: 'code'",
    ]


@pytest.mark.parametrize("smoke_test", ["none", {"request_file": "request.json", "expect": {"status": 400}}])
@pytest.mark.parametrize("source", ["probes", "both"])
def test_probes_need_requests(folder: RolloutFolder, smoke_test: object, source: str) -> None:
    folder.change(ROLLOUT, smoke_test=smoke_test)
    judge(folder, source=source, minimum_requests=10)

    assert problems_of(folder) == [
        "rollout.yml: judge.probes.requests: is missing: the smoke test has no request that probes could send"
    ]
    folder.write("r.jsonl", FIFTY)
    judge(folder, source=source, minimum_requests=10, probes={"requests": "r.jsonl"})
    load_folder(str(folder.path))
