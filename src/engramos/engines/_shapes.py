"""What a model's layers are like, and which models can be hosted."""

from typing import Any

import torch

from engramos.activation.rope import Rope
from engramos.engines._layer import LayerShape
from engramos.errors import UnsupportedError

KINDS = ("full_attention", "sliding_attention")
ROPES = ("default", "linear", "llama3", "yarn", "proportional")
"""Rotations that do not change with the length of the input."""


def text_config(model: Any) -> Any:
    """Return the configuration of the decoder, also of a model that reads more than text."""
    return model.config.get_text_config(decoder=True)


def decoder_of(model: Any) -> Any:
    """Return the module that holds the layers and the rotary embedding.

    Raises:
        UnsupportedError: if the model has none such.
    """
    for module in model.modules():
        if hasattr(module, "layers") and hasattr(module, "rotary_emb"):
            return module
    raise _refused(model, "it has no layers with rotary position embeddings")


def layer_shapes(model: Any) -> list[LayerShape]:
    """Return what each layer is like.

    Raises:
        UnsupportedError: if the model has layers, or a rotation, that a cache cannot host.
    """
    config = text_config(model)
    decoder = decoder_of(model)
    kinds = getattr(config, "layer_types", None) or _plain_kinds(config)
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise _refused(model, f"it has layers of {', '.join(unknown)}; hosted are {' and '.join(KINDS)}")
    for name in ("attn_logit_softcapping", "use_bidirectional_attention"):
        if getattr(config, name, None):
            raise _refused(model, f"its attention has {name}")
    if getattr(config, "num_kv_shared_layers", 0):
        raise _refused(model, "its layers share keys and values")
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    attentions = [layer.self_attn for layer in decoder.layers]
    if any(not hasattr(one, "scaling") for one in attentions):
        raise _refused(model, "its layers do not tell their scaling")
    return [
        LayerShape(
            index,
            len(kinds),
            heads,
            kv_heads,
            head_dim,
            float(attentions[index].scaling),
            _rope(model, decoder.rotary_emb, kind, head_dim),
            config.sliding_window if kind == "sliding_attention" else None,
        )
        for index, kind in enumerate(kinds)
    ]


def _plain_kinds(config: Any) -> list[str]:
    # Mistral and older Qwen say by one number that every layer slides
    slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return [KINDS[1] if slides else KINDS[0]] * config.num_hidden_layers


def _rope(model: Any, rotary: Any, kind: str, head_dim: int) -> Rope:
    """Return a layer's rotation, with the frequencies that the model itself uses."""
    kind_of = rotary.rope_type
    rope_type = kind_of.get(kind) if isinstance(kind_of, dict) else kind_of
    if rope_type not in ROPES:
        raise _refused(model, f"its rotary embedding is {rope_type}; hosted are {', '.join(ROPES)}")
    own = getattr(rotary, f"{kind}_inv_freq", None)
    frequencies = (rotary.inv_freq if own is None else own).detach().float()
    if 2 * len(frequencies) != head_dim:
        raise _refused(model, f"it rotates {2 * len(frequencies)} of {head_dim} numbers of a head")

    def angles(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = positions.unsqueeze(-1).float() * frequencies.to(positions.device)
        both = torch.cat((angle, angle), dim=-1)
        return both.cos(), both.sin()

    return Rope(angles)


def _refused(model: Any, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"{type(model).__name__} cannot be hosted: {why}; use a model with rotary embeddings and plain or sliding "
        f"attention, such as Llama, SmolLM2, Qwen2, Qwen3 or Gemma3"
    )
