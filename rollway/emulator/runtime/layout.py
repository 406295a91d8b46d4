"""Places of a container's absolute paths on this machine, where a container has no root of its own."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rollway.emulator.runtime.dockerfile import Copied

APP_ROOT = "/var/azureml-app"
_PATH = re.compile(r"(?<![\w./~$}-])/[\w.+@-]+(?:/[\w.+@-]*)*")


@dataclass(frozen=True)
class Layout:
    """Places of one container.

    Args:
        app_root: Stands for Azure's /var/azureml-app.
        mount_path: The online deployment's `model_mount_path`.
    """

    app_root: Path
    mount_path: str | None = None

    @property
    def image_root(self) -> Path:
        """Stands for the container's /: files of the image, and a model that has a mount path."""
        return self.app_root / "image"

    def place(self, path: str) -> Path:
        """Return the place of an absolute path in the container."""
        inside = PurePosixPath("/" + path.lstrip("/"))
        if inside.is_relative_to(APP_ROOT):
            return self.app_root / inside.relative_to(APP_ROOT)
        return self.image_root / inside.relative_to("/")

    def model_dir(self, name: str, version: str) -> Path:
        """Return the folder of a model (AZUREML_MODEL_DIR). `model_mount_path` moves it out of Azure's app root."""
        root = self.app_root / "azureml-models" if self.mount_path is None else self.place(self.mount_path)
        return root / name / version

    def with_places(self, text: str) -> str:
        """Return a text in which paths that the container has are their places on this machine.

        Those are the paths below /var/azureml-app and the mount path, and those that are in the image, or can be made
        in one of its folders. Any other path stays as it is.
        """
        return _PATH.sub(lambda match: self._placed(match[0]), text)

    def _placed(self, path: str) -> str:
        inside, place = PurePosixPath(path), self.place(path)
        is_azures = inside.is_relative_to(APP_ROOT)
        is_mounted = self.mount_path is not None and inside.is_relative_to(self.mount_path)
        is_in_image = place.exists() or (place.parent != self.image_root and place.parent.is_dir())
        is_own = ".." not in inside.parts and (is_azures or is_mounted or is_in_image)
        return str(place) if is_own else path

    def executable(self, path: str) -> str:
        """Return a start command's program: its place, or its name if this machine has it in another folder."""
        file = Path(path)
        if not file.is_absolute():
            return path
        if file.is_relative_to(self.image_root) and file.is_file():
            file.chmod(file.stat().st_mode | 0o111)  # blobs have no modes, and `RUN chmod` has no effect here
        return path if file.exists() else file.name

    def copy_image_files(self, context: Path, copied: Iterable[Copied], folder: str) -> None:
        """Replace the image's files by those of its build context, and create its working directory."""
        shutil.rmtree(self.image_root, ignore_errors=True)
        self.place(folder).mkdir(parents=True, exist_ok=True)
        root = context.resolve()
        for one in copied:
            destination = self.place(one.destination)
            for name in one.sources:
                for source in sorted(root.glob(name)) if name != "." else [root]:
                    if source.resolve() == root or root in source.resolve().parents:
                        _copy(source, destination, is_folder=one.is_folder)


def _copy(source: Path, destination: Path, *, is_folder: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, destination, dirs_exist_ok=True)
        return
    target = destination / source.name if is_folder or destination.is_dir() else destination
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
