"""What is wrong with an adapter or a lesson is a named error, and the base model is untouched after it (P18, P19)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.integration.parametric_models import (
    ASKED,
    LORA,
    SAID,
    TEXTS,
    drawn_adapter,
    engine,
    fresh_engine,
    opened,
)

from engramos.cube import MemCube
from engramos.errors import (
    ArchiveError,
    CorruptPayloadError,
    CubeNotFoundError,
    EngramosError,
    InvalidInputError,
    ModelError,
    ModelMismatchError,
    UnsupportedError,
)
from engramos.memory import MemoryOS
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact, without_duplicates
from engramos.parametric.scan import Scan
from engramos.parametric_memory import ParametricMemory
from engramos.vault.adapter_manifest import AdapterManifest
from engramos.vault.blobs import tenant_key
from engramos.vault.peft_folder import write_folder
from engramos.verbs.parametric._store import Making, judged, put


@pytest.fixture
def adapters(memory: MemoryOS) -> Iterator[ParametricMemory]:
    with opened(memory) as made:
        yield made
        assert made.is_base_untouched
        assert made.engine.base.held == ()


def path_of(folder: Path, cube: MemCube) -> Path:
    return folder / "blobs" / tenant_key(cube.header.scope.tenant) / cube.digest[:2] / cube.digest


def peft(folder: Path, adapter: LowRank, fingerprint: dict[str, str] | None = None) -> Path:
    write_folder(folder, adapter, AdapterManifest("0" * 26, fingerprint or {}, "lora", {}, (), {}))
    return folder


def test_an_adapter_of_another_base_model_is_refused_by_every_verb(
    memory: MemoryOS, adapters: ParametricMemory, tmp_path: Path
) -> None:
    memory.add(list(TEXTS))
    (cube,) = adapters.learn(writer=LORA).adapters
    with opened(memory, engine(weights="weights-2")) as other:
        assert other.route(ASKED[0]).adapter_id is None
        for act in (
            lambda: other.probe(cube.id),
            lambda: other.export(cube.id, tmp_path / "out"),
            lambda: other.merge([cube.id, cube.id + "x"]),
        ):
            with pytest.raises((ModelMismatchError, CubeNotFoundError)) as refused:
                act()
        with pytest.raises(ModelMismatchError) as refused:
            other.probe(cube.id)
        assert refused.value.differing == ("weights",)
        path = adapters.export(cube.id, tmp_path / "peft")
        with pytest.raises(ModelMismatchError) as refused:
            other.import_adapter(path)
        assert refused.value.differing == ("weights",)
        assert not (tmp_path / "out").exists()
        assert [one.cube.id for one in other.list()] == [cube.id]
        assert len(other.learn().adapters) == 1, "what another model knows is not known here"


def test_imports_that_cannot_be_right_are_refused_and_nothing_is_stored(
    adapters: ParametricMemory, folder: Path, tmp_path: Path
) -> None:
    model = adapters.engine
    fine = drawn_adapter(model, size=0.01)
    name = fine.targets[0]
    nan = LowRank(fine.down, dict(fine.up) | {name: fine.up[name] * float("nan")})
    nowhere = LowRank(
        {"model.layers.7.mlp.down_proj": torch.ones(1, 96)}, {"model.layers.7.mlp.down_proj": torch.ones(48, 1)}
    )
    narrow = LowRank({name: torch.ones(1, 5)}, {name: torch.ones(fine.up[name].shape[0], 1)})
    for number, (wrong, error) in enumerate(
        ((nan, EngramosError), (nowhere, InvalidInputError), (narrow, ModelMismatchError))
    ):
        path = tmp_path / f"peft{number}"
        with pytest.raises(error):
            adapters.import_adapter(peft(path, wrong))
        assert adapters.list() == ()
        assert [one for one in (folder / "blobs").rglob("*") if one.is_file()] == []


def test_an_import_that_the_static_scan_flags_is_refused(memory: MemoryOS, tmp_path: Path) -> None:
    with opened(memory, scan=Scan()) as adapters:
        loud = drawn_adapter(adapters.engine, size=3.0)
        with pytest.raises(InvalidInputError, match=r"is refused: static scan"):
            adapters.import_adapter(peft(tmp_path / "loud", loud))
        assert adapters.list() == ()


def test_a_pickle_in_a_folder_is_never_read(adapters: ParametricMemory, tmp_path: Path) -> None:
    fine = drawn_adapter(adapters.engine, size=0.01)
    path = peft(tmp_path / "peft", fine)
    (path / "adapter_model.safetensors").rename(path / "adapter_model.bin")
    (path / "adapter_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(ArchiveError):
        adapters.import_adapter(path)
    assert not Path("hacked").exists()
    assert adapters.list() == ()


def test_a_folder_whose_tensors_were_changed_is_refused(adapters: ParametricMemory, tmp_path: Path) -> None:
    path = peft(tmp_path / "peft", drawn_adapter(adapters.engine, size=0.01))
    file = path / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptPayloadError):
        adapters.import_adapter(path)
    (path / "memory.json").write_text(json.dumps({"format": "none"}))
    with pytest.raises(ArchiveError):
        adapters.import_adapter(path)


@pytest.mark.parametrize("harm", ["flipped", "short", "missing", "other"])
def test_a_damaged_file_is_not_attached_and_the_reason_is_told(
    memory: MemoryOS, adapters: ParametricMemory, folder: Path, harm: str
) -> None:
    memory.add(list(TEXTS))
    (cube,) = adapters.learn().adapters
    path = path_of(folder, cube)
    data = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data if harm == "flipped" else data[:100] if harm == "short" else b"x" * len(data))
    with opened(memory) as again:
        routed = again.route(ASKED[0])
        assert routed.adapter_id is None
        assert routed.why.startswith(f"adapter {cube.id} cannot be used: ")
        assert again.answer(ASKED[0], max_tokens=4)[0].source == "base"
        with pytest.raises(EngramosError):
            again.probe(cube.id)
    assert memory.verify().findings != ()


def test_named_cubes_that_contradict_each_other_are_refused_and_of_all_cubes_the_newest_counts(
    memory: MemoryOS, adapters: ParametricMemory
) -> None:
    ids = memory.add(["Ana Lima works at Acme.", "Ana Lima works at Zeta."]).cube_ids
    with pytest.raises(InvalidInputError, match="supersede the one that is no longer true"):
        adapters.learn(ids)
    assert adapters.list() == ()
    adapters.learn()
    assert adapters.answer(ASKED[0], max_tokens=8)[0].text == "Zeta"
    facts = [Fact("Ana Lima", ASKED[0], answer) for answer in ("Acme", "Zeta")]
    with pytest.raises(InvalidInputError, match="supersede the one that is no longer true"):
        without_duplicates(tuple(facts))


def test_nothing_to_learn_and_ids_that_are_none_are_named_errors(memory: MemoryOS, adapters: ParametricMemory) -> None:
    assert adapters.learn().adapters == ()
    (vague,) = memory.add("Hm, well.").cube_ids
    with pytest.raises(InvalidInputError, match="no fact is stated plainly"):
        adapters.learn(vague)
    unknown = "0" * 26
    for act in (
        adapters.learn,
        adapters.forget,
        adapters.demote,
        adapters.probe,
        adapters.rollback,
        adapters.undo,
        lambda one: adapters.export(one, "nowhere"),
    ):
        with pytest.raises((CubeNotFoundError, InvalidInputError)):
            act(unknown)
    (source,) = memory.add(TEXTS[0]).cube_ids
    for act in (adapters.demote, adapters.probe, adapters.rollback, adapters.undo):
        with pytest.raises(InvalidInputError, match="give the id of an adapter"):
            act(source)
    with pytest.raises(InvalidInputError, match="not by both"):
        adapters.learn(source, question="x")
    (cube,) = adapters.learn(source).adapters
    with pytest.raises(InvalidInputError, match="give plaintext cubes that are active"):
        adapters.learn(cube.id)
    with pytest.raises(InvalidInputError, match="roll it back instead"):
        adapters.undo(cube.id)


def test_sources_that_are_trusted_too_little_never_train(memory: MemoryOS, adapters: ParametricMemory) -> None:
    (low,) = memory.add("Ana Lima works at Evil.", trust=0.3).cube_ids
    memory.add(TEXTS[1])
    done = adapters.learn()
    assert done.plan.distrusted == (low,)
    assert {fact.answer for fact in done.plan.facts} == {SAID[1]}
    assert all(low not in {edge.cube_id for edge in cube.header.parents} for cube in done.adapters)
    assert adapters.route(ASKED[0]).adapter_id is None
    with pytest.raises(InvalidInputError, match=r"trusted 0\.3 and training asks 0\.5"):
        adapters.learn(low)
    memory.update(low, trust=0.9, expected_version=1)
    assert len(adapters.learn(low).adapters) == 1


def test_a_model_without_numbers_writes_nothing(memory: MemoryOS, folder: Path) -> None:
    model = fresh_engine()
    with torch.no_grad():
        model._hosted.model.model.norm.weight.fill_(float("nan"))
    memory.add(list(TEXTS))
    for writer in ("knn", LORA):
        with opened(memory, model, writer=writer) as adapters, pytest.raises(ModelError):
            adapters.learn()
    assert [one for one in (folder / "blobs").rglob("*") if one.is_file()] == []


def test_a_model_that_is_changed_while_it_learns_is_noticed(memory: MemoryOS) -> None:
    model = fresh_engine()
    memory.add(list(TEXTS))

    def harm(shard: int, shards: int, step: int) -> None:
        with torch.no_grad():
            model._hosted.model.model.norm.weight.mul_(1.0001)

    with opened(memory, model) as adapters:
        with pytest.raises(ModelError, match="weights have changed during learning"):
            adapters.learn(progress=harm)
        assert not adapters.is_base_untouched


def test_a_stored_adapter_with_a_wrong_digest_is_not_attached(memory: MemoryOS, adapters: ParametricMemory) -> None:
    memory.add(list(TEXTS))
    (cube,) = adapters.learn().adapters
    weights = adapters._weights
    stranger = put(weights, drawn_adapter(adapters.engine, 5), (), Making("import", "import", names=("Zed",)), ())
    payload = replace(stranger.payload, digest=cube.digest, num_bytes=cube.payload.num_bytes)
    judged(weights, MemCube(stranger.header, payload), {}, (), "gated")
    with opened(memory) as again:
        routed = again.route("Who is Zed?")
        assert routed.adapter_id is None
        assert "another adapter" in routed.why


def test_only_low_rank_adapters_are_exported_and_merged(
    memory: MemoryOS, adapters: ParametricMemory, tmp_path: Path
) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    parts = [adapters.learn(one).adapters[0].id for one in ids[:2]]
    with pytest.raises(UnsupportedError):
        adapters.export(parts[0], tmp_path / "out")
    with pytest.raises(InvalidInputError, match="only low-rank adapters are merged"):
        adapters.merge(parts)
