"""engramos: a memory operating system for language models.

    from engramos import MemoryOS

Public names are loaded on first use; importing the package does no work.
"""

import importlib
from typing import Any

_HOMES = {
    "AsyncMemoryOS": "engramos.async_memory",
    "Document": "engramos.messages",
    "Filter": "engramos.rows",
    "Grant": "engramos.cube",
    "MemCube": "engramos.cube",
    "MemoryOS": "engramos.memory",
    "Message": "engramos.messages",
    "Scope": "engramos.scope",
    "Settings": "engramos.config",
}
__all__ = [
    "AsyncMemoryOS",
    "Document",
    "Filter",
    "Grant",
    "MemCube",
    "MemoryOS",
    "Message",
    "Scope",
    "Settings",
    "__version__",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'engramos' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
