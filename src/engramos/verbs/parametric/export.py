"""export, import_adapter: adapters as PEFT folders."""

from collections.abc import Sequence
from pathlib import Path

from engramos.cube import CubeType, Edge, MemCube
from engramos.engines._mixture import check_fits
from engramos.errors import InvalidInputError
from engramos.parametric.facts import Fact
from engramos.vault.adapter_manifest import AdapterManifest
from engramos.vault.peft_folder import read_folder, write_folder
from engramos.verbs.parametric._cube import payload_of
from engramos.verbs.parametric._lessons import prepared
from engramos.verbs.parametric._parts import WeightParts, check_base
from engramos.verbs.parametric._store import Making, judged, put


def export(weights: WeightParts, cube_id: str, folder: str | Path) -> Path:
    """Write an adapter as a PEFT folder with a manifest; other libraries read it as it is.

    What leaves the memory so is not found by a later `forget`: delete it yourself.

    Raises:
        CubeNotFoundError, ModelMismatchError: if it is not there, or of another base model.
        UnsupportedError: if it is no low-rank adapter.
        ArchiveError: if the folder exists, or cannot be written.
    """
    cube = weights.read(cube_id)
    payload = payload_of(cube)
    manifest = AdapterManifest(
        cube.id,
        payload.base_fingerprint,
        str(payload.attributes.get("writer", "")),
        cube.header.parameters,
        cube.header.parents,
        payload.probes,
    )
    write_folder(Path(folder), weights.shelf.load(cube), manifest, base_model=weights.engine.model)
    return Path(folder)


def import_adapter(
    weights: WeightParts,
    folder: str | Path,
    *,
    names: tuple[str, ...] = (),
    facts: tuple[Fact, ...] = (),
    cube_ids: Sequence[str] = (),
) -> MemCube:
    """Take a PEFT folder in, in state generated: probes decide whether it becomes active.

    Args:
        weights: of the open memory.
        folder: as PEFT or `export` wrote it.
        names: subjects that its gate opens for; those of the facts where none.
        facts: what it is said to know, for `probe`.
        cube_ids: of plaintext cubes that state what it is said to know, beside `facts`.

    Raises:
        ArchiveError, CorruptPayloadError: if it is damaged or hostile, or holds something else than plain LoRA.
        ModelMismatchError: if its manifest names another base model, or its shapes are those of another.
        InvalidInputError: if a target is none of the model's, a number is NaN, or the static scan flags it.
        CubeNotFoundError: if a cube is not there.
    """
    stated = weights.facts_in([weights.parts.read(weights.scope, cube_id) for cube_id in dict.fromkeys(cube_ids)])
    facts = (*facts, *prepared(stated))
    read = read_folder(Path(folder))
    if read.manifest is not None and read.manifest.fingerprint:
        check_base(f"the adapter in {folder}", read.manifest.fingerprint, weights.table)
    check_fits(weights.engine._hosted.model, read.adapter, f"the adapter in {folder}")
    if findings := weights.scanned(read.adapter):
        raise InvalidInputError(f"the adapter in {folder} is refused: {'; '.join(findings)}")
    parents = tuple(edge for edge in (read.manifest.lineage if read.manifest else ()) if _is_here(weights, edge))
    making = Making("import", "import", names=names, type=CubeType.ADAPTER)
    cube = put(weights, read.adapter, facts, making, None if facts else parents)
    if not facts:
        cube = judged(weights, cube, {}, ["it was imported: probe it with the facts that it should know"], "gated")
    return cube


def _is_here(weights: WeightParts, edge: Edge) -> bool:
    return weights.parts.vault.get(weights.scope.tenant, edge.cube_id, version=edge.version) is not None
