"""The task decorator: no tags, few retries, no results kept."""

from prefect.cache_policies import NO_CACHE

from rollway.prefect.task import task


@task("read", run_name="read", timeout_seconds=60)
async def read() -> str:
    return "read"


@task("choose", run_name="choose", timeout_seconds=60, retries=2)
async def choose() -> str:
    return "chosen"


def test_a_task_has_no_tags_because_prefect_asks_its_server_for_their_limits() -> None:
    assert read.tags == set()


def test_a_task_runs_in_every_attempt() -> None:
    assert (read.persist_result, read.cache_policy) == (False, NO_CACHE)


def test_a_task_waits_longer_before_each_retry() -> None:
    assert read.retries == 0
    assert (choose.retries, choose.retry_delay_seconds) == (2, [10.0, 30.0])
