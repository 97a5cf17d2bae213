"""Does the classifier look at the lesion?"""

import importlib
from typing import Any

__version__ = "0.1.0"

ABOVE = {
    "examine": "tasks.examination.network",
    "examine_files": "tasks.examination.files",
    "InputSpec": "lesionlens.config.examination",
    "load_run": "commands.models",
    "results": "db.queries.results",
}
"""What `import lesionlens` offers, and where it lies: loaded when asked for, as it may need torch and the record."""


def __getattr__(name: str) -> Any:
    if name not in ABOVE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(ABOVE[name]), name)
