"""Role: the methods of a folder, by name.

The folder listing is the registry: `embedders/hashing.py` is the method `hashing` of the role `embedders`. Packages of
others add methods by an entry point in the group `engramos.<role>`.
"""

import difflib
import functools
import importlib
import importlib.metadata
import pkgutil
import tomllib
from dataclasses import dataclass, fields
from typing import Any

from engramos.errors import ConfigError, UnknownMethodError


@dataclass(frozen=True, slots=True)
class Role:
    """One role: the package that holds its methods."""

    name: str
    """The role's name, as entry points and messages use it."""
    package: str
    """The package whose modules are the methods; its `base` module holds the role's base class."""
    base: str
    """The name of the base class in that module."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all methods, sorted; nothing is imported but the package itself."""
        package = importlib.import_module(self.package)
        own = {module.name for module in pkgutil.iter_modules(package.__path__)} - {"base"}
        added = {point.name for point in _added(self.name)}
        return tuple(sorted(name for name in own | added if not name.startswith("_")))

    def load(self, name: str) -> type:
        """Return the class that is the method `name`.

        Raises:
            UnknownMethodError: with the known names.
        """
        if name not in self.names():
            raise UnknownMethodError(self.name, name, self.names())
        for point in _added(self.name):
            if point.name == name:
                return point.load()
        base = getattr(importlib.import_module(f"{self.package}.base"), self.base)
        module = importlib.import_module(f"{self.package}.{name}")
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        if len(own) != 1:
            raise ConfigError(f"{module.__name__} holds {len(own)} methods of role {self.name}: keep exactly one")
        return own[0]

    def make(self, name: str, **parameters: Any) -> Any:
        """Return the method `name` with these parameters.

        Raises:
            UnknownMethodError: with the known names.
            ConfigError: if a parameter is unknown (the nearest known one is named) or has a wrong value.
        """
        method = self.load(name)
        known = [field.name for field in fields(method) if field.init]
        for key in parameters:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known) or 'none'}"
                raise ConfigError(f"{self.name} method {name!r} has no parameter {key!r}; {hint}")
        return method(**parameters)

    def parse(self, text: str) -> Any:
        """Return the method that a text names: `snapkv`, or `{ method = "snapkv", window = 64 }` (TOML).

        Raises:
            UnknownMethodError: with the known names.
            ConfigError: if the text is no TOML table, or a parameter does not fit.
        """
        name, parameters = self.read(text)
        return self.make(name, **parameters)

    def read(self, text: str) -> tuple[str, dict[str, Any]]:
        """Return the method's name and the parameters that a text names, unchecked.

        Raises:
            ConfigError: if the text is no TOML table, or names no method.
        """
        if not text.lstrip().startswith("{"):
            return text.strip(), {}
        try:
            table = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{text!r} is no inline TOML table: {error}") from error
        name = table.pop("method", None)
        if not isinstance(name, str):
            raise ConfigError(f'{text!r} names no method: write {{ method = "NAME", ... }}')
        return name, table


@functools.cache
def _added(role: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """Return the methods that other packages add; looked up once, because it reads what all packages say."""
    return tuple(importlib.metadata.entry_points(group=f"engramos.{role}"))
