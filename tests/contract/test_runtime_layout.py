"""Places of a container's absolute paths on this machine."""

from pathlib import Path

import pytest

from rollway.emulator.runtime.dockerfile import Copied
from rollway.emulator.runtime.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A container with a mount path and one file of its image, /srv/app/server.py."""
    (tmp_path / "app/image/srv/app").mkdir(parents=True)
    (tmp_path / "app/image/srv/app/server.py").touch()
    return Layout(tmp_path / "app", "/mnt/models")


def test_a_model_is_below_azures_app_root_or_its_own_mount_path(tmp_path: Path) -> None:
    assert Layout(tmp_path).model_dir("m", "2") == tmp_path / "azureml-models/m/2"
    assert Layout(tmp_path, "/mnt/models").model_dir("m", "2") == tmp_path / "image/mnt/models/m/2"
    assert Layout(tmp_path, "/var/azureml-app/x").model_dir("m", "2") == tmp_path / "x/m/2"


@pytest.mark.parametrize(
    ("text", "placed"),
    [
        ("/var/azureml-app/azureml-models/m/1", "{app}/azureml-models/m/1"),
        ("--models=/mnt/models/m", "--models={app}/image/mnt/models/m"),
        ("/srv/app/server.py:/srv/app/new", "{app}/image/srv/app/server.py:{app}/image/srv/app/new"),
        ("/srv", "{app}/image/srv"),
        ("/usr/bin/python /mnt/modelsx /etc", "/usr/bin/python /mnt/modelsx /etc"),
        ("https://host/srv/app and a/srv/app", "https://host/srv/app and a/srv/app"),
        ("/ // /../x", "/ // /../x"),
    ],
)
def test_only_paths_that_the_container_has_are_replaced(layout: Layout, text: str, placed: str) -> None:
    assert layout.with_places(text) == placed.format(app=layout.app_root)


def test_files_of_the_image_are_copied_as_docker_does(tmp_path: Path, layout: Layout) -> None:
    context = tmp_path / "context"
    (context / "src/deep").mkdir(parents=True)
    for name in ("a.py", "b.py", "src/c.py", "src/deep/d.py"):
        (context / name).write_text(name)
    (tmp_path / "secret").touch()

    layout.copy_image_files(
        context,
        [
            Copied(("*.py",), "/srv", is_folder=True),
            Copied(("src",), "/opt/src", is_folder=False),
            Copied(("a.py",), "/opt/renamed.py", is_folder=False),
            Copied(("../secret",), "/srv", is_folder=True),
        ],
        "/work",
    )

    found = sorted(str(file.relative_to(layout.image_root)) for file in layout.image_root.rglob("*"))
    files = ["opt", "opt/renamed.py", "opt/src", "opt/src/c.py", "opt/src/deep", "opt/src/deep/d.py"]
    assert found == [*files, "srv", "srv/a.py", "srv/b.py", "work"]


def test_a_program_of_the_image_can_be_executed_and_one_of_another_machine_is_found_by_its_name(layout: Layout) -> None:
    own = layout.image_root / "srv/app/server.py"

    assert layout.executable(str(own)) == str(own)
    assert own.stat().st_mode & 0o111
    assert layout.executable("/opt/conda/bin/python-of-nobody") == "python-of-nobody"
    assert layout.executable("python") == "python"
