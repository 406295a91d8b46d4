"""azure-ai-ml with the YAML parser and emitter in C, which read and write the same several times faster.

The SDK parses each file of a folder again that Rollway has read, and writes what it made of it. That was half of the
time of a folder, and the watcher reads hundreds of them. The C parser ends the process on text that is nested thousands
of levels deep. Rollway's own parser, in Python, reads each file first and refuses such text.
"""

from types import SimpleNamespace
from typing import Any

import yaml
from azure.ai.ml._utils import utils


def safe_load(text: Any) -> Any:
    """Return the content of a text or an open file that was parsed before."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (safe loaders)


def quicken() -> None:
    """Replace the module `yaml` in azure/ai/ml/_utils/utils.py of azure-ai-ml 1.35.2; without libyaml, by the same."""
    dumper = getattr(yaml, "CDumper", yaml.Dumper)
    vars(utils)["yaml"] = SimpleNamespace(**{**vars(yaml), "safe_load": safe_load, "Dumper": dumper})
