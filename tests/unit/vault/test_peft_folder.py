"""Folders of peft: what we write peft computes alike, what peft writes we do, and nothing hostile is believed."""

import hashlib
import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.contract.adapter_examples import EXAMPLES

from engramos.cube import Edge, Relation
from engramos.engines.transformers import Transformers
from engramos.errors import ArchiveError, CorruptPayloadError, InvalidInputError, UnsupportedError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer
from engramos.vault.adapter_manifest import AdapterManifest
from engramos.vault.peft_folder import read_folder, write_folder

peft = pytest.importorskip("peft")
torch.set_num_threads(1)
# transformers has renamed a property that peft still asks for
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
KINDS = ("q_proj", "v_proj", "o_proj", "down_proj")
CONFIG, TENSORS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "memory.json"
IDS = torch.randint(0, 250, (2, 19), generator=torch.Generator().manual_seed(1))
SOURCES = (Edge(Relation.DERIVED_FROM, "cube-1", 1), Edge(Relation.DERIVED_FROM, "cube-2", 7))
ABOUT = AdapterManifest("adapter-1", {"weights": "w"}, "lora", {"rank": 4}, SOURCES, {"recall": 0.95})


def base():
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny").base


def adapter(rank=3, scale=0.7, invocation=(), layers=(0, 1, 2), more=0):
    """Return an adapter of `rank`, plus `more` for each layer."""
    model, random = tiny_model(), torch.Generator().manual_seed(0)
    down, up = {}, {}
    for name, module in model.named_modules():
        if name.endswith(KINDS) and int(name.split(".")[2]) in layers:
            size = rank + more * int(name.split(".")[2])
            down[name] = torch.randn(size, module.in_features, generator=random) / 10
            up[name] = torch.randn(module.out_features, size, generator=random) / 10
    return LowRank(down, up, scale, invocation)


def our_logits(one, active=None):
    model = base()
    with torch.no_grad(), model.using(one, active):
        return model.scores(model.run(model.embedded(IDS)))


def their_logits(folder, ids=IDS):
    with torch.no_grad():
        return peft.PeftModel.from_pretrained(tiny_model(), str(folder))(ids).logits


def exported(tmp_path, one=None):
    one = one or adapter()
    write_folder(tmp_path / "out", one, ABOUT, base_model="tiny")
    return tmp_path / "out"


def written_by_peft(folder, **fields):
    """Return the model of peft whose random LoRA is saved in a folder."""
    torch.manual_seed(0)
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]} | fields)
    model = peft.get_peft_model(tiny_model(), config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    model.save_pretrained(str(folder))
    return model


def edited(folder, **fields):
    """Change a configuration; without a manifest that would notice."""
    (folder / MANIFEST).unlink(missing_ok=True)
    table = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(table | fields))


def near(one, other):
    return float((one - other).abs().max()) <= 1e-5 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("fields", [{}, {"more": 2}, {"layers": (1,)}, {"scale": -1.3}, {"rank": 1, "scale": 2.0}])
def test_peft_computes_what_our_adapter_does(tmp_path, fields):
    one = adapter(**fields)
    ours, theirs = our_logits(one), their_logits(exported(tmp_path, one))
    assert not near(ours, our_logits(None))
    assert near(theirs, ours)


@pytest.mark.parametrize("fields", [{}, {"more": 2}, {"scale": 1 / 3}, {"invocation": (5, 6)}])
def test_an_exported_folder_comes_back_to_the_last_bit(tmp_path, fields):
    one = adapter(**fields)
    found = read_folder(exported(tmp_path, one))
    assert found.adapter.digest == one.digest
    assert found.manifest == ABOUT
    assert found.base_model == "tiny"


def test_an_export_is_the_same_whenever_it_is_made(tmp_path):
    first, again = tmp_path / "a", tmp_path / "b"
    for folder in (first, again):
        write_folder(folder, adapter(more=1), ABOUT)
    assert sorted(os.listdir(first)) == [CONFIG, TENSORS, MANIFEST]
    assert [(first / name).read_bytes() for name in os.listdir(first)] == [
        (again / name).read_bytes() for name in os.listdir(first)
    ]


def test_an_invocation_becomes_an_activated_lora_that_acts_from_there_on(tmp_path):
    token = int(IDS[0, 11])
    one = adapter(invocation=(token,))
    folder = exported(tmp_path, one)
    assert json.loads((folder / CONFIG).read_text())["alora_invocation_tokens"] == [token]
    active = torch.zeros(IDS.shape, dtype=torch.bool)
    for row in range(len(IDS)):
        places = (IDS[row] == token).nonzero()
        if len(places):
            active[row, int(places[-1]) :] = True
    ours, theirs = our_logits(one, active), their_logits(folder, IDS)
    assert active[0].any()
    assert not active[0].all()
    assert near(theirs, ours)
    assert torch.equal(ours[0, :11], our_logits(None)[0, :11])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"use_rslora": True},
        {"target_modules": r".*layers\.[01]\.(self_attn\.(q|v)_proj|mlp\.up_proj)"},
        {"target_modules": "all-linear", "r": 2},
        {"rank_pattern": {"q_proj": 7, "layers.1.mlp.down_proj": 2}, "alpha_pattern": {"down_proj": 11}},
        {"rank_pattern": {r"^model\.layers\.0\.self_attn\.q_proj": 5}, "use_rslora": True},
        {"layers_to_transform": [1], "lora_dropout": 0.1, "init_lora_weights": "gaussian"},
    ],
)
def test_what_peft_has_written_does_the_same_here(tmp_path, fields):
    model = written_by_peft(tmp_path, **fields)
    with torch.no_grad():
        theirs = model(IDS).logits
    found = read_folder(tmp_path)
    assert found.manifest is None
    assert not near(theirs, our_logits(None))
    assert near(our_logits(found.adapter), theirs)


def test_a_stranger_s_regular_expression_is_never_run(tmp_path):
    written_by_peft(tmp_path)
    wanted = read_folder(tmp_path).adapter.digest
    edited(tmp_path, target_modules="(a+)+$" * 50)
    assert read_folder(tmp_path).adapter.digest == wanted
    for name in ("rank_pattern", "alpha_pattern"):
        edited(tmp_path, **{name: {"(a+)+$": 4}})
        with pytest.raises(UnsupportedError, match="regular expression"):
            read_folder(tmp_path)
        edited(tmp_path, **{name: {}})


@pytest.mark.parametrize(
    "fields",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"trainable_token_indices": [1, 2]},
        {"lora_bias": True},
    ],
)
@pytest.mark.filterwarnings("ignore:Setting .save_emb", "ignore:.lora_bias=True", "ignore:Adapter .default")
def test_more_than_plain_lora_is_refused_by_name(tmp_path, fields):
    written_by_peft(tmp_path, **fields)
    with pytest.raises(UnsupportedError):
        read_folder(tmp_path)


@pytest.mark.parametrize("fields", [{"init_lora_weights": "pissa"}, {"layer_replication": [[0, 2]]}, {"later": "x"}])
def test_options_that_change_the_base_model_or_are_unknown_are_refused(tmp_path, fields):
    written_by_peft(tmp_path)
    edited(tmp_path, **fields)
    with pytest.raises(UnsupportedError, match=next(iter(fields))):
        read_folder(tmp_path)


def test_another_kind_of_peft_is_refused(tmp_path):
    model = peft.get_peft_model(tiny_model(), peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[]))
    model.save_pretrained(str(tmp_path))
    with pytest.raises(UnsupportedError, match="IA3"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"r": 0},
        {"r": 5},
        {"r": 5000},
        {"r": "4"},
        {"r": True},
        {"lora_alpha": None},
        {"lora_alpha": "8"},
        {"lora_alpha": 10**400},
        {"use_rslora": 1},
        {"rank_pattern": [4]},
        {"rank_pattern": {"q_proj": 3}},
        {"alpha_pattern": {"q_proj": "x"}},
        {"alora_invocation_tokens": [-1]},
        {"alora_invocation_tokens": "ab"},
        {"peft_type": 3},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(tmp_path, fields):
    written_by_peft(tmp_path)
    edited(tmp_path, **fields)
    with pytest.raises(ArchiveError):
        read_folder(tmp_path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path, number):
    written_by_peft(tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    next(iter(tensors.values())).view(-1)[-1] = number
    save_file(tensors, tmp_path / TENSORS)
    with pytest.raises(ArchiveError, match="NaN"):
        read_folder(tmp_path)


def test_tensors_that_are_missing_or_misnamed_or_of_a_wrong_shape_are_refused(tmp_path):
    written_by_peft(tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    name = next(iter(tensors))
    others = {key: one for key, one in tensors.items() if key != name}
    for changed, error in (
        (others, ArchiveError),
        ({}, ArchiveError),
        ({**tensors, "base_model.model.a b.lora_A.weight": torch.ones(4, 4)}, ArchiveError),
        ({**tensors, "base_model.model.../x.lora_A.weight": torch.ones(4, 4)}, ArchiveError),
        ({**others, name: torch.ones(3, 3)}, ArchiveError),
        ({**others, name: tensors[name].to(torch.int32)}, ArchiveError),
        ({**tensors, "model.a.lora_A.weight": torch.ones(4, 4)}, UnsupportedError),
        ({**tensors, "base_model.model.a.weight": torch.ones(4, 4)}, UnsupportedError),
    ):
        save_file(changed, tmp_path / TENSORS)
        with pytest.raises(error):
            read_folder(tmp_path)


@pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.bin", "optimizer.PT", "x.pkl", "model.pth"])
def test_a_pickle_is_refused_by_its_name_and_never_run(tmp_path, name):
    written_by_peft(tmp_path)
    ran = tmp_path / "ran"
    (tmp_path / name).write_bytes(pickle.dumps(Hostile(str(ran))))
    with pytest.raises(ArchiveError, match=r"pickle.*convert"):
        read_folder(tmp_path)
    assert not ran.exists()


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", [CONFIG, TENSORS, MANIFEST])
def test_links_pipes_and_folders_are_no_files(tmp_path, name):
    folder = exported(tmp_path)
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(ArchiveError, match="symbolic link"):
        read_folder(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ArchiveError, match="no file"):
        read_folder(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ArchiveError):
        read_folder(folder)


def test_missing_files_and_files_that_are_too_long_are_refused(tmp_path):
    folder = exported(tmp_path)
    with pytest.raises(ArchiveError, match="may have 100"):
        read_folder(folder, max_bytes=100)
    for name in (CONFIG, MANIFEST):
        data = (folder / name).read_bytes()
        os.truncate(folder / name, 2**33)
        with pytest.raises(ArchiveError, match="may have"):
            read_folder(folder)
        (folder / name).write_bytes(data)
    (folder / TENSORS).unlink()
    with pytest.raises(ArchiveError, match=TENSORS):
        read_folder(folder)
    with pytest.raises(ArchiveError, match="none"):
        read_folder(tmp_path / "none")


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_a_file_that_is_not_the_one_that_was_exported_is_refused(tmp_path, name):
    folder = exported(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CorruptPayloadError, match=name):
        read_folder(folder)


def remade(folder, **fields):
    table = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(table | fields))


def test_a_manifest_that_names_other_files_is_refused(tmp_path):
    folder = exported(tmp_path)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    digest = hashlib.sha256(b"").hexdigest()
    for changed in ({**files, "../outside": digest}, {"../" + name: one for name, one in files.items()}, {}):
        remade(folder, files=changed)
        with pytest.raises(ArchiveError, match="files are not"):
            read_folder(folder)


def test_a_manifest_of_another_adapter_is_refused(tmp_path):
    folder = exported(tmp_path)
    about = json.loads((folder / MANIFEST).read_text())["adapter"]
    for changed in ({"digest": "0" * 64}, {"kind": "codebook"}, {"settings": {"scale": 0.8, "invocation": []}}):
        remade(folder, adapter=about | changed)
        with pytest.raises(ArchiveError, match="another adapter"):
            read_folder(folder)


def test_a_manifest_holds_no_text_of_a_memory_and_what_cannot_be_read_again_is_not_written(tmp_path):
    table = json.loads((exported(tmp_path) / MANIFEST).read_text())
    assert table["lineage"] == [["derived_from", "cube-1", 1], ["derived_from", "cube-2", 7]]
    assert table.keys() == {
        "format", "id", "adapter", "base", "writer", "parameters", "lineage", "probes", "files"
    }  # fmt: skip
    for changed in (
        {"id": ""},
        {"probes": {"recall": float("nan")}},
        {"parameters": {"x": {1}}},
        {"writer": "x" * 2000},
    ):
        with pytest.raises(InvalidInputError, match="manifest"):
            write_folder(tmp_path / "other", adapter(), replace(ABOUT, **changed))
    assert os.listdir(tmp_path) == ["out"]


def test_what_peft_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(UnsupportedError, match="codebook"):
        write_folder(tmp_path / "a", EXAMPLES["codebook"]()[0], ABOUT)
    for name in ("", "a b", "../a", "a.lora_A", ".a"):
        with pytest.raises(InvalidInputError, match="no name of a module"):
            write_folder(tmp_path / "a", LowRank({name: torch.ones(1, 2)}, {name: torch.ones(2, 1)}), ABOUT)
    endless = adapter()
    object.__setattr__(endless, "scale", float("inf"))
    for one in (LowRank({"a": torch.full((1, 2), float("nan"))}, {"a": torch.ones(2, 1)}), endless):
        with pytest.raises(InvalidInputError):
            write_folder(tmp_path / "a", one, ABOUT)
    assert os.listdir(tmp_path) == []


def test_a_path_that_is_taken_is_refused_and_left_as_it_is(tmp_path):
    folder = exported(tmp_path)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with pytest.raises(ArchiveError, match="taken"):
        write_folder(folder, adapter(scale=3.0), ABOUT)
    with pytest.raises(ArchiveError, match="writing"):
        write_folder(tmp_path / "none" / "out", adapter(), ABOUT)
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before
    assert os.listdir(tmp_path) == ["out"]
