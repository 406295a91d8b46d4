"""A package index on loopback, with packages that consist of a version."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Package:
    """A version of a package. Its module, named like the package, has the version as `__version__`."""

    name: str
    version: str
    uploaded: str | None  # such as 2023-03-09; None: the index does not tell
    requires: tuple[str, ...] = ()
    requires_python: str = ">=3.8"

    @property
    def file_name(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def wheel(self) -> bytes:
        module, folder = self.name.replace("-", "_"), self.file_name.removesuffix("-py3-none-any.whl") + ".dist-info"
        metadata = [f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}"]
        metadata += [f"Requires-Python: {self.requires_python}", *(f"Requires-Dist: {one}" for one in self.requires)]
        files = {
            f"{module}.py": f"__version__ = {self.version!r}\n",
            f"{folder}/METADATA": "\n".join([*metadata, ""]),
            f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{folder}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{folder}/RECORD"])
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return content.getvalue()


class PackageIndex:
    """The index at `url`. `requests` has the paths that were asked for."""

    def __init__(self, packages: list[Package]) -> None:
        self.packages = packages
        self.requests: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                kind, content = index.find(self.path)
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_HEAD(self) -> None:
                self.send_error(405)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def find(self, path: str) -> tuple[str, bytes]:
        """Return type and content of a page or file; no content if there is none."""
        _, kind, name, *_ = f"{path}/".split("/")
        if kind == "files":
            found = [package.wheel for package in self.packages if package.file_name == name]
            return "application/octet-stream", found[0] if found else b""
        files = [self.describe(package) for package in self.packages if package.name == name]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode() if files else b""

    @staticmethod
    def describe(package: Package) -> dict[str, object]:
        """Return the entry of a package's file, as PEP 691 and 700 have it."""
        entry: dict[str, object] = {
            "filename": package.file_name,
            "url": f"../../files/{package.file_name}",
            "hashes": {},
            "requires-python": package.requires_python,
            "size": len(package.wheel),
        }
        return entry if package.uploaded is None else entry | {"upload-time": f"{package.uploaded}T12:00:00Z"}


@contextmanager
def running_index(*packages: Package) -> Iterator[PackageIndex]:
    """Run an index with these packages."""
    index = PackageIndex(list(packages))
    thread = threading.Thread(target=index.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.server.shutdown()
        index.server.server_close()
        thread.join()
