"""Adapters as peft's folders: what other engines and tools read and write.

A folder holds `adapter_config.json`, `adapter_model.safetensors`, and `memory.json` where engramos has written it.
"""

import hashlib
import math
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engramos.clock import new_id
from engramos.errors import ArchiveError, InvalidInputError, UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.low_rank import LowRank
from engramos.vault import adapter_manifest, peft_config
from engramos.vault.adapter_file import MAX_FILE_BYTES, decoded, encoded
from engramos.vault.adapter_manifest import AdapterManifest, Contents
from engramos.vault.durable import disk_errors, sync_folder

TENSORS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
"""Ends of names of files that run code when they are loaded."""
MAX_ENTRIES = 1_000
"""Files in a folder."""
MAX_NAME = 1_000
"""Characters of a module's name."""
_PREFIX = "base_model.model."
_MODULE = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_PARTS = {"lora_A": "down", "lora_B": "up"}


@dataclass(frozen=True, slots=True)
class PeftFolder:
    """A verified folder."""

    adapter: LowRank
    manifest: AdapterManifest | None
    """None where somebody else has written the folder."""
    base_model: str
    """As the folder's author named the base model; trusted for nothing."""


def write_folder(folder: Path, adapter: Adapter, manifest: AdapterManifest, *, base_model: str = "") -> None:
    """Write an adapter as a folder that peft loads; it is there whole, or not at all.

    An adapter with an invocation becomes an activated LoRA. Ranks that differ become peft's `rank_pattern`, which some
    serving engines do not read.

    Args:
        folder: a path that nobody has; its parent is there.
        adapter: of kind low_rank.
        manifest: what to say of it.
        base_model: what to call the base model in peft's configuration.

    Raises:
        UnsupportedError: if the adapter is of another kind.
        InvalidInputError: if a name of a module, a number or the manifest cannot be written.
        MissingExtraError: if peft is not installed.
        ArchiveError: if the path is taken, or the disk is full or refuses.
    """
    if not isinstance(adapter, LowRank):
        raise UnsupportedError(f"peft has no form for an adapter of kind {adapter.KIND}: export those of kind low_rank")
    for target in adapter.targets:
        if not _MODULE.fullmatch(target) or ".lora_" in f".{target}":
            raise InvalidInputError(f"{target[:80]!r} is no name of a module that peft could find: write it anew")
    if not math.isfinite(adapter.scale):
        raise InvalidInputError(f"the scale of the adapter is {adapter.scale}: write it anew")
    files = {peft_config.NAME: peft_config.config_bytes(adapter, base_model), TENSORS: _tensor_bytes(adapter)}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    contents = Contents(adapter.KIND, adapter.digest, adapter.settings(), digests)
    files[adapter_manifest.NAME] = adapter_manifest.manifest_bytes(manifest, contents)
    _publish(Path(folder), files)


def read_folder(folder: Path, *, max_bytes: int = MAX_FILE_BYTES) -> PeftFolder:
    """Return the adapter of a folder that engramos or peft has written; nothing in it is run.

    Only three files are read, each by its fixed name, none through a symbolic link.

    Args:
        folder: the folder.
        max_bytes: of the tensors' file.

    Raises:
        ArchiveError: if a file is missing, too long, a link or a pickle, or what it says cannot be right.
        CorruptPayloadError: if a file is not the one that the manifest names.
        UnsupportedError: if it holds more than LoRA updates of linear modules.
    """
    folder = Path(folder)
    names = _names(folder)
    files = {peft_config.NAME: _read(folder, peft_config.NAME, peft_config.MAX_BYTES)}
    files[TENSORS] = _read(folder, TENSORS, max_bytes)
    manifest, contents = None, None
    if adapter_manifest.NAME in names:
        data = _read(folder, adapter_manifest.NAME, adapter_manifest.MAX_BYTES)
        manifest, contents = adapter_manifest.read_manifest(data)
        adapter_manifest.check_files(contents, files)
    config = peft_config.read_config(files[peft_config.NAME])
    tensors, _ = decoded(files[TENSORS], TENSORS)
    adapter = _adapter(config, *_pairs(tensors))
    if contents is not None:
        adapter = _as_said(adapter, contents)
    return PeftFolder(adapter, manifest, config.base_model)


def _tensor_bytes(adapter: LowRank) -> bytes:
    named = {f"{_PREFIX}{target}.lora_A.weight": one for target, one in adapter.down.items()}
    named |= {f"{_PREFIX}{target}.lora_B.weight": one for target, one in adapter.up.items()}
    return encoded(named, {"format": "pt"})


def _publish(folder: Path, files: Mapping[str, bytes]) -> None:
    temporary = folder.with_name(f".new-{new_id()}")
    with disk_errors(ArchiveError, f"writing the adapter to {folder}"):
        if os.path.lexists(folder):
            raise ArchiveError(f"{folder} is taken: export to another path, or remove it first")
        os.mkdir(temporary, 0o700)
        try:
            for name, data in files.items():
                with open(temporary / name, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(temporary)
            os.rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync_folder(folder.parent)


def _names(folder: Path) -> set[str]:
    with disk_errors(ArchiveError, f"reading the adapter at {folder}"), os.scandir(folder) as entries:
        names: set[str] = set()
        for entry in entries:
            names.add(entry.name)
            if len(names) > MAX_ENTRIES:
                raise _refusal(folder, f"it has more than {MAX_ENTRIES} files")
            if entry.name.lower().endswith(PICKLES):
                raise ArchiveError(
                    f"{folder / entry.name} is a pickle, which runs code when it is loaded: convert it to safetensors "
                    f"where you trust it, or remove it, and import the folder again"
                )
    return names


def _read(folder: Path, name: str, most: int) -> bytes:
    path = folder / name
    with disk_errors(ArchiveError, f"reading {path}"):
        if path.is_symlink():
            raise _refusal(folder, f"{name} is a symbolic link: copy the folder with its links followed")
        # should a link or a pipe take the file's place in this instant, it is neither followed nor waited for
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise _refusal(folder, f"{name} is no file")
            if about.st_size > most:
                raise _refusal(folder, f"{name} has {about.st_size} bytes and may have {most}")
            return file.read(about.st_size)


def _pairs(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return both factors by module."""
    found: dict[str, dict[str, Tensor]] = {"down": {}, "up": {}}
    for name, tensor in tensors.items():
        module, _, rest = name.removeprefix(_PREFIX).partition(".lora_")
        part = _PARTS.get("lora_" + rest.removesuffix(".weight"))
        if not name.startswith(_PREFIX) or not name.endswith(".weight") or part is None:
            raise UnsupportedError(
                f"{TENSORS} holds {name[:120]!r}, which is no LoRA of a linear module: train the adapter without it"
            )
        if not _MODULE.fullmatch(module) or len(module) > MAX_NAME or not tensor.is_floating_point():
            raise ArchiveError(f"{TENSORS} is damaged: {name[:120]!r} is no floating-point tensor of a named module")
        found[part][module] = tensor
    return found["down"], found["up"]


def _adapter(config: peft_config.PeftConfig, down: dict[str, Tensor], up: dict[str, Tensor]) -> LowRank:
    scales = {target: config.scale_of(target) for target in down}
    scale = next(iter(scales.values()), 1.0)
    if not all(math.isclose(one, scale, rel_tol=1e-12) for one in scales.values()):
        # an adapter has one scale: the others go into the tensors, in no fewer than 32 bits
        wide = {target: torch.promote_types(one.dtype, torch.float32) for target, one in up.items()}
        up = {target: one.to(wide[target]) * scales.get(target, 1.0) for target, one in up.items()}
        scale = 1.0
    try:
        adapter = LowRank(down, up, scale, config.invocation)
    except InvalidInputError as error:
        raise ArchiveError(f"{TENSORS} is damaged: {error}") from error
    for target in adapter.targets:
        if adapter.rank(target) != config.rank_of(target):
            ranks = f"rank {adapter.rank(target)}, and {peft_config.NAME} says {config.rank_of(target)}"
            raise ArchiveError(f"{TENSORS} is damaged: {target[:80]!r} has {ranks}; get an undamaged copy")
    return adapter


def _as_said(adapter: LowRank, contents: Contents) -> LowRank:
    """Return the adapter with its exact scale, which alpha over rank misses by a rounding."""
    scale = contents.settings.get("scale")
    is_near = type(scale) in (int, float) and math.isclose(scale, adapter.scale, rel_tol=1e-12)
    exact = LowRank(adapter.down, adapter.up, float(scale), adapter.invocation) if is_near else adapter
    if contents.kind != exact.KIND or exact.digest != contents.digest:
        raise ArchiveError(f"{adapter_manifest.NAME} is of another adapter: export it again")
    return exact


def _refusal(folder: Path, problem: str) -> ArchiveError:
    return ArchiveError(f"the adapter at {folder} cannot be read: {problem}")
