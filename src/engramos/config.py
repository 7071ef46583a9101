"""Settings: the only reader of settings files and of the environment.

A value comes from, in rising order: the default, a TOML file, the environment (`ENGRAMOS_<NAME>`), an argument. The
file is the one named by `ENGRAMOS_CONFIG`, else `engramos.toml` in the working folder, else
`~/.config/engramos/config.toml`.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from engramos.errors import ConfigError
from engramos.scope import Scope

PREFIX = "ENGRAMOS_"
DURABILITIES = ("full", "relaxed")


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set; each is one key in the file and one variable in the environment."""

    folder: Path = Path("memory")
    """Where the memory lies."""
    tenant: str = "local"
    """Whose memory it is; tenants never see each other."""
    user: str = "me"
    """Whose cubes are written and searched."""
    agent: str | None = None
    """The agent that writes, if one does."""
    embedder: str = "bge_small"
    """What makes vectors: a method's name, or `{ method = "...", key = value }`; `none` for words alone."""
    embedder_key: str | None = field(default=None, repr=False)
    """The API key for an embedder behind an endpoint."""
    durability: str = "full"
    """`full`: an acknowledged write survives power loss. `relaxed`: only the death of the process."""
    driver: str = "sqlite3"
    """`sqlite3`, or `apsw` for a newer SQLite."""
    index_bytes: int = 2_000_000_000
    """How much memory the search indexes of all users may take together, in bytes."""
    ann: str = "none"
    """A nearest-neighbour index for great memories: `lists`, `qdrant`, or either with parameters; `none`: all exact."""
    ann_from: int = 200_000
    """How many cubes a user must have before one is built."""
    batch: int = 256
    """How many texts are embedded and committed at a time by imports and by reembed."""
    data: Path | None = None
    """Folder with evaluation data."""
    failpoint: str | None = None
    """For crash tests: `NAME:kill` or `NAME:raise`."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Where each value came from."""

    def __post_init__(self) -> None:
        if self.durability not in DURABILITIES:
            raise ConfigError(f"durability is {self.durability!r}: use full or relaxed")
        if self.index_bytes < 1_000_000:
            raise ConfigError(f"index_bytes is {self.index_bytes}: give at least 1000000")
        if self.ann_from < 1:
            raise ConfigError(f"ann_from is {self.ann_from}: give 1 or more")
        if not 1 <= self.batch <= 10_000:
            raise ConfigError(f"batch is {self.batch}: give 1 to 10000")

    @property
    def scope(self) -> Scope:
        """The scope of verbs that are given none."""
        return Scope(self.tenant, self.user, self.agent)


NAMES = tuple(one.name for one in fields(Settings) if one.name != "sources")


def load(given: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings, with where each came from in `sources`.

    Args:
        given: values that win over all others; None values do not count.
        environment: instead of the process's own.

    Raises:
        ConfigError: if a file is no TOML, a key is unknown (the nearest is named), or a value does not fit.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    sources = dict.fromkeys(NAMES, "default")
    path = _file(environment)
    if path is not None:
        for name, value in _read(path).items():
            values[_known(name, f"in {path}")], sources[name] = value, str(path)
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name in NAMES:
            values[name], sources[name] = value, variable
    for name, value in (given or {}).items():
        if value is not None:
            values[_known(name, "among the arguments")], sources[name] = value, "argument"
    return Settings(**{name: _typed(name, value) for name, value in values.items()}, sources=sources)


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder for what can be made again, such as converted models: `$XDG_CACHE_HOME/engramos`."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("HOME", "/nonexistent"))
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "engramos"


def preset(variable: str, value: str) -> None:
    """Set a variable that a library reads at its import, unless the user has set it."""
    os.environ.setdefault(variable, value)


def _file(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(f"{PREFIX}CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{PREFIX}CONFIG names {named}, which is no file: create it, or unset the variable")
        return Path(named)
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/nonexistent"), ".config"))
    return next((path for path in (Path("engramos.toml"), home / "engramos" / "config.toml") if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}; correct it, or move it away") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}; check its permissions") from error


def _known(name: str, where: str) -> str:
    if name in NAMES:
        return name
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(NAMES)}"
    raise ConfigError(f"there is no setting {name!r} ({where}); {hint}")


def _typed(name: str, value: Any) -> Any:
    if name in ("folder", "data"):
        return Path(value).expanduser()
    if name in ("index_bytes", "ann_from", "batch"):
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} is {value!r}: give a whole number") from error
    if name in ("embedder", "ann") and isinstance(value, dict):
        pairs = ", ".join(f"{key} = {_toml(one)}" for key, one in value.items())
        return f"{{ {pairs} }}"
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}: give a text")
    return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
