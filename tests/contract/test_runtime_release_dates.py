"""The packages of an environment are as old as its pinned ones."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from rollway.emulator.runtime.images import ImageBuildFailed, ImageRecipe, build_image
from rollway.emulator.runtime.release_dates import Cutoff, cutoff_of, pinned_requirements, read_requirement_lines
from tests.support.package_index import Package, PackageIndex, running_index

# Later than any Python that may run these tests, because the cut-off is not before it.
PACKAGES = [
    Package("pip", "1.0", "2030-01-01"),
    Package("wheel", "1.0", "2030-01-01"),
    Package("setuptools", "65.0", "2032-08-01"),
    Package("setuptools", "81.0", "2036-01-01"),
    Package("setuptools", "82.0", "2036-02-01"),
    Package("numpy", "1.24", "2034-12-01"),
    Package("numpy", "2.0", "2036-01-01"),
    Package("model", "1.2", "2035-03-09", ("numpy>=1.20",)),
    Package("model", "1.3", "2036-03-09", ("numpy>=1.20",)),
    Package("helper", "1.0", "2035-02-01"),
    Package("helper", "2.0", "2036-02-01"),
]


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with running_index(*PACKAGES) as index:
        yield index


@pytest.fixture
def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Builds a conda file with the packages of an index; returns the versions of packages, and the build log."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "uv-cache"))

    def run(index: PackageIndex, *dependencies: str, of: tuple[str, ...]) -> tuple[dict[str, str], str]:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        log: list[str] = []
        recipe = ImageRecipe(None, f"dependencies: [{', '.join(dependencies)}]")
        environment = asyncio.run(build_image(recipe, tmp_path / "cache", log.append))
        code = "import sys; print(*(__import__(name).__version__ for name in sys.argv[1:]))"
        command = [str(environment / "bin/python"), "-c", code, *of]
        versions = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return dict(zip(of, versions, strict=True)), "\n".join(log)

    return run


def test_packages_without_a_version_are_as_old_as_the_newest_pinned_one(
    build: Callable[..., Any], index: PackageIndex
) -> None:
    versions, log = build(index, "model=1.2", "helper", of=("model", "numpy", "helper", "setuptools"))

    assert versions == {"model": "1.2", "numpy": "1.24", "helper": "1.0", "setuptools": "65.0"}
    assert "Packages without a version are those of 2035-03-09, when model 1.2 was released" in log


def test_without_a_pinned_package_all_are_the_newest(build: Callable[..., Any], index: PackageIndex) -> None:
    versions, log = build(index, "model", "helper>=1", of=("model", "numpy", "helper", "setuptools"))

    assert versions == {"model": "1.3", "numpy": "2.0", "helper": "2.0", "setuptools": "81.0"}
    assert "released" not in log


def test_where_a_package_must_be_newer_at_least_numpy_fits(build: Callable[..., Any], index: PackageIndex) -> None:
    versions, log = build(index, "model=1.2", "helper>=2", of=("model", "numpy", "helper"))

    assert versions == {"model": "1.2", "numpy": "1.24", "helper": "2.0"}
    assert "warning: that failed. Now only NumPy, pandas and SciPy are those of 2035-03-09" in log


def test_where_numpy_must_be_newer_too_all_are_the_newest(build: Callable[..., Any], index: PackageIndex) -> None:
    versions, log = build(index, "model=1.2", "numpy>=2", of=("model", "numpy"))

    assert versions == {"model": "1.2", "numpy": "2.0"}
    assert "warning: that failed too. Now all packages without a version are the newest" in log


def test_an_index_that_does_not_tell_dates_gives_the_newest_and_the_log_says_so(build: Callable[..., Any]) -> None:
    undated = [Package(one.name, one.version, None, one.requires) for one in PACKAGES]
    with running_index(*undated) as index:
        versions, log = build(index, "model=1.2", of=("model", "numpy", "setuptools"))

    assert versions == {"model": "1.2", "numpy": "2.0", "setuptools": "81.0"}
    assert "warning: uv does not know when the pinned packages were released" in log


def test_a_pinned_package_without_a_date_is_installed_beside_dated_ones(build: Callable[..., Any]) -> None:
    undated = Package("local", "1.0", None)
    with running_index(*PACKAGES, undated) as index:
        versions, _ = build(index, "model=1.2", "local=1.0", of=("model", "numpy", "local"))

    assert versions == {"model": "1.2", "numpy": "1.24", "local": "1.0"}


def test_the_cut_off_of_the_user_comes_first(
    build: Callable[..., Any], index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2036-02-15T00:00:00Z")

    versions, log = build(index, "model=1.2", "helper", of=("model", "numpy", "helper"))

    assert versions == {"model": "1.2", "numpy": "2.0", "helper": "2.0"}
    assert "released" not in log


def test_a_cached_environment_asks_the_index_for_nothing(build: Callable[..., Any], index: PackageIndex) -> None:
    build(index, "model=1.2", of=("model",))
    index.requests.clear()

    _, log = build(index, "model=1.2", of=("model",))

    assert (index.requests, log) == ([], "")


def test_a_package_that_needs_other_tools_keeps_them(build: Callable[..., Any]) -> None:
    needs = Package("needs", "1.0", "2036-03-01", ("setuptools>=82",))
    with running_index(*PACKAGES, needs) as index:
        versions, _ = build(index, "needs", "pip", of=("needs", "setuptools", "pip", "wheel"))

    assert versions == {"needs": "1.0", "setuptools": "82.0", "pip": "1.0", "wheel": "1.0"}


def test_an_index_without_the_tools_is_no_reason_to_fail(build: Callable[..., Any]) -> None:
    with running_index(Package("model", "1.2", "2035-03-09")) as index:
        versions, log = build(index, "model", of=("model",))

    assert versions == {"model": "1.2"}
    assert "warning: pip, setuptools<82, wheel cannot be installed" in log


def test_packages_that_fit_in_no_way_fail_the_build(build: Callable[..., Any], index: PackageIndex) -> None:
    with pytest.raises(ImageBuildFailed) as failure:
        build(index, "model=1.2", "helper=3.0", of=())

    assert str(failure.value) == "the environment's packages cannot be installed (exit code 1)"
    assert "helper==3.0" in failure.value.log


# -- pinned packages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "is_pinned"),
    [
        ("numpy==1.24.3", True),
        ("numpy==1.24.*", True),
        ("numpy~=1.24.0", True),
        ("numpy===1.24.3", True),
        ("numpy == 1.24.3 ; python_version<'3.12'  # a comment", True),
        ("inference-schema[numpy-support]==1.5.1", True),
        ("numpy==1.24.3 --hash=sha256:00", True),
        ("numpy==2", True),
        ("numpy==1.*", False),
        ("numpy~=1.24", False),
        ("numpy", False),
        ("numpy>=1.24,<2", False),
        ("pip==23.0", False),
        ("# numpy==1.24.3", False),
        ("--pre", False),
        ("-e .", False),
        ("numpy @ https://example.com/numpy-1.24.3-py3-none-any.whl", False),
    ],
)
def test_a_package_is_pinned_if_at_most_its_patch_version_is_open(line: str, is_pinned: bool) -> None:
    assert bool(pinned_requirements([line])) == is_pinned


def test_requirements_files_are_read_with_those_that_they_include(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a==1.0 \\\n  --hash=sha256:00\n-r two.txt\n--requirement=missing.txt\n")
    (tmp_path / "two.txt").write_text("b==2.0\n-r one.txt\n")

    lines = list(read_requirement_lines(["c==3.0"], [tmp_path / "one.txt"]))

    assert pinned_requirements(lines) == {"a": "a==1.0", "b": "b==2.0", "c": "c==3.0"}


# -- the cut-off --------------------------------------------------------------------------------------------------


def package(name: str, *days: int) -> dict[str, Any]:
    """A package of a pylock.toml whose files were uploaded on these days of March 2023; the first is the sdist."""
    sdist, *wheels = [{"upload-time": datetime(2023, 3, day, tzinfo=UTC)} for day in days]
    return {"name": name, "version": "1.0", "sdist": sdist, "wheels": wheels}


def test_the_newest_package_counts_and_of_a_package_its_first_file() -> None:
    lock = {"packages": [package("a", 9, 8, 30), package("b", 7)]}

    assert cutoff_of(lock, "3.9", ("a", "b")) == Cutoff("a 1.0", date(2023, 3, 8), date(2023, 3, 8), ("a", "b"))


def test_the_cut_off_is_not_before_there_were_packages_for_the_python() -> None:
    cutoff = cutoff_of({"packages": [package("a", 9)]}, "3.12", ("a",))

    assert cutoff is not None
    assert (cutoff.released, cutoff.day) == (date(2023, 3, 9), date(2023, 12, 31))


@pytest.mark.parametrize("lock", [{}, {"packages": [{"name": "a", "wheels": [{"url": "x"}]}, {"name": "b"}]}])
def test_without_dates_there_is_no_cut_off(lock: dict[str, Any]) -> None:
    assert cutoff_of(lock, "3.11", ("a",)) is None


def test_the_cut_off_is_the_end_of_the_day_and_not_for_pinned_packages() -> None:
    cutoff = Cutoff("scikit-learn 1.2.2", date(2023, 3, 9), date(2023, 3, 9), ("pandas", "scikit-learn"))

    assert cutoff.arguments() == [
        "--exclude-newer=2023-03-10T00:00:00Z",
        "--exclude-newer-package=pandas=false",
        "--exclude-newer-package=scikit-learn=false",
    ]
    assert cutoff.arguments_for_compiled_packages() == [
        "--exclude-newer-package=numpy=2023-03-10T00:00:00Z",
        "--exclude-newer-package=scipy=2023-03-10T00:00:00Z",
    ]
