"""Loading a model: a folder, a name on the hub, or a GGUF file, and telling it apart from all others."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engramos.activation.codecs.base import DTYPES
from engramos.clock import new_id
from engramos.config import cache_folder
from engramos.engines._shapes import text_config
from engramos.errors import ConfigError, MissingExtraError, ModelError, translate

CONVERTED = "converted-1"
"""The form of converted folders; a new one is made where it changes."""
_IGNORED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "quantization_config", "architectures")


def load(name: str, dtype: str, device: str) -> tuple[Any, Any, str]:
    """Return a model, its tokenizer, and the digest of its weights.

    Args:
        name: a folder, a GGUF file, or a name on the hub.
        dtype: `float32`, `bfloat16` or `float16`.
        device: such as `cpu` or `cuda`.

    Raises:
        ConfigError: if there is no such model.
        MissingExtraError: if the packages for it are not installed.
        ModelError: if it cannot be loaded.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}: use {', '.join(DTYPES)}")
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ConfigError(f"there is no file {path}: give a GGUF file, a folder, or a name on the hub")
        path = converted(path)
    elif not path.is_dir() and (path.is_absolute() or name.startswith((".", "~"))):
        raise ConfigError(f"there is no folder {path}: give a folder, a GGUF file, or a name on the hub")
    source = str(path) if path.is_dir() else name
    from transformers import AutoModelForCausalLM, AutoTokenizer

    step = "check the folder, or the name on the hub and the connection to it"
    table = {OSError: ModelError, ValueError: ModelError, KeyError: ModelError}
    with translate(table, f"loading {name}", next_step=step):
        model = AutoModelForCausalLM.from_pretrained(source, dtype=DTYPES[dtype])
        tokenizer = AutoTokenizer.from_pretrained(source)
    return model.to(device).eval(), tokenizer, digest_of_weights(model, path if path.is_dir() else None)


def converted(path: Path) -> Path:
    """Return the folder that holds a GGUF file as safetensors; it is made at the first call.

    transformers converts a GGUF file anew at each load, which takes a hundred times as long as reading the result.

    Raises:
        MissingExtraError: if the packages for it are not installed.
        ModelError: if the file is damaged, or of a model that transformers cannot read.
    """
    with translate({OSError: ModelError}, f"reading {path}"), open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = cache_folder() / "models" / f"{path.stem}-{digest[:16]}-{CONVERTED}"
    if (target / "config.json").is_file():
        return target
    temporary = target.with_name(f".{target.name}-{new_id()}")
    try:
        import accelerate  # noqa: F401
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("reading of GGUF files", "gguf") from error
    step = "check that the file is whole, and that transformers knows its architecture"
    table = {OSError: ModelError, ValueError: ModelError, KeyError: ModelError, RuntimeError: ModelError}
    with translate(table, f"converting {path}", next_step=step):
        _convert(path, temporary)
        if not target.exists():
            temporary.rename(target)
    return target


def _convert(path: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    # a model that was read from GGUF counts as quantised and refuses to be saved: its numbers move to a plain one
    plain = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    model = AutoModelForCausalLM.from_config(plain, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config = read.generation_config
    target.mkdir(parents=True)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(target)


def digest_of_weights(model: Any, folder: Path | None = None) -> str:
    """Return the SHA-256 of a model's weights: of its folder's safetensors files, else of its tensors.

    Raises:
        ModelError: if a file cannot be read.
    """
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors")) if folder is not None else []
    for path in files:
        with translate({OSError: ModelError}, f"reading {path}"), open(path, "rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    if not files:
        for name, tensor in sorted(model.state_dict().items()):
            bits = tensor.detach().cpu().contiguous().view(torch.uint8).numpy()
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(bits.tobytes())
    return digest.hexdigest()


def fingerprint_of(model: Any, tokenizer: Any, weights: str) -> Mapping[str, str]:
    """Return all that changes the numbers in a cache, by name."""
    config = text_config(model).to_dict()
    rope = config.get("rope_parameters")
    plain = {key: value for key, value in config.items() if key not in _IGNORED}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    written = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return {
        "weights": weights,
        "config": _digest(json.dumps(plain, sort_keys=True, default=str)),
        "tokenizer": _digest(written),
        "template": _digest(str(tokenizer.chat_template or "")),
        "dtype": str(model.dtype).removeprefix("torch."),
        "rope": _digest(json.dumps(rope, sort_keys=True, default=str)),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
