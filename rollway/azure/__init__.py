"""Everything that talks to Azure; no other room imports azure.* or httpx.

Functions are async; the SDK's blocking calls run in threads.
"""

import logging
import os
import sys

from azure.core.exceptions import AzureError

from rollway.errors import AzureUnavailable
from rollway.imports import quick_imports

if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars in log files; tqdm reads this when it is imported

try:
    # Importing the SDK reads the metadata of a private cloud, azure/ai/ml/_azure_environments.py, and fails if it
    # cannot be reached. Fail here, once, for every module of this package.
    with quick_imports():
        import azure.ai.ml  # noqa: F401
        from azure.ai.ml._artifacts import _blob_storage_helper, _gen2_storage_helper
except AzureError as error:
    raise AzureUnavailable(
        "the cloud that the environment names cannot be reached",
        where=f"ARM_CLOUD_METADATA_URL={os.environ.get('ARM_CLOUD_METADATA_URL')}",
        why=str(error),
        hint="is the local Azure ML running? Start it with `rollway emulator up` and load its variables again; "
        "for public Azure unset ARM_CLOUD_METADATA_URL and AZUREML_CURRENT_CLOUD",
    ) from error


def _end_bar(*_: object, **__: object) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[39m")


# After each upload the SDK ends the colour of its progress bar, even if there is none, and prints two empty lines.
for module in (_blob_storage_helper, _gen2_storage_helper):
    vars(module)["print"] = _end_bar

# The SDK writes its progress to stderr, azure/ai/ml/_utils/_logger_utils.py; the log of the tasks says more.
logging.getLogger("azure.ai.ml").setLevel(logging.WARNING)
logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)
