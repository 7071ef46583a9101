"""Backup: a consistent copy of a memory's file and blobs in a new folder."""

import shutil
from pathlib import Path
from typing import Any

from engramos.errors import StoreError, translate
from engramos.vault.blobs import BlobStore
from engramos.vault.durable import sync_file, sync_folder


def copy(connection: Any, blobs: BlobStore, target: Path, file_name: str) -> None:
    """Copy the open database and the blobs to `target`, which appears whole and durable, or not at all.

    Args:
        connection: in autocommit mode.
        blobs: of the same memory.
        target: a folder that does not exist.
        file_name: of the database in it.

    Raises:
        StoreError: if the folder exists already or cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    with translate({OSError: StoreError}, f"backing up to {target}", next_step="choose a new folder with space"):
        if target.exists():
            raise StoreError(f"{target} exists already: choose a new folder")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        connection.execute("VACUUM INTO ?", (str(partial / file_name),))
        sync_file(partial / file_name)
        blobs.copy_to(partial / "blobs")
        sync_folder(partial)
        partial.rename(target)
        sync_folder(target.parent)
