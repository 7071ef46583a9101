"""The configuration of a LoRA as peft stores it: made and checked by peft, read without it."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engramos.errors import ArchiveError, InvalidInputError, MissingExtraError, UnsupportedError
from engramos.parametric.adapters.low_rank import MAX_RANK, LowRank
from engramos.vault.adapter_file import check_invocation
from engramos.vault.bounded_json import decode_object

NAME = "adapter_config.json"
MAX_BYTES = 2**20
MAX_VALUES = 100_000
_HARMLESS = frozenset(
    "auto_mapping base_model_name_or_path ensure_weight_tying eva_config exclude_modules fan_in_fan_out "
    "inference_mode layers_pattern layers_to_transform lora_dropout megatron_core peft_version qalora_group_size "
    "revision runtime_config target_modules task_type velora_config".split()
)
"""Options that change how an adapter was trained or is found, not what it computes."""
_READ = frozenset(
    "alora_invocation_tokens alpha_pattern bias init_lora_weights lora_alpha peft_type r rank_pattern "
    "use_rslora".split()
)
_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Beginnings that leave the base model's weights as they are; after others an adapter fits only changed ones."""
_PATTERN = re.compile(r"\^?(?:[A-Za-z0-9_-]|\.|\\\.)+")
"""Keys that are names; any other regular expression may take forever to match."""
MAX_PATTERNS = 2_000

Patterns = tuple[tuple[re.Pattern[str], float], ...]
"""What fits the end of modules' names, and the value that they have."""


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """What a configuration says of tensors."""

    rank: int
    alpha: float
    is_rank_stabilised: bool
    rank_pattern: Patterns
    alpha_pattern: Patterns
    invocation: tuple[int, ...]
    base_model: str
    """As its author named the base model; trusted for nothing."""

    def rank_of(self, target: str) -> int:
        """Return the rank of a module's update."""
        return int(_matching(self.rank_pattern, target, self.rank))

    def scale_of(self, target: str) -> float:
        """Return what a module's update is multiplied with.

        Source: rsLoRA, https://arxiv.org/abs/2312.03732, divides by the root of the rank.
        """
        rank = self.rank_of(target)
        return _matching(self.alpha_pattern, target, self.alpha) / (
            math.sqrt(rank) if self.is_rank_stabilised else rank
        )


def config_bytes(adapter: LowRank, base_model: str = "") -> bytes:
    """Return an adapter's configuration as JSON, made by peft; equal adapters give equal bytes.

    Args:
        adapter: any low-rank adapter.
        base_model: what to call the base model; empty for no name.

    Raises:
        MissingExtraError: if peft is not installed.
        InvalidInputError: if peft refuses it.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise MissingExtraError("peft", "lora") from error
    ranks = {target: adapter.rank(target) for target in adapter.targets}
    usual = max(Counter(ranks.values()).items(), key=lambda pair: (pair[1], pair[0]))[0]
    # peft takes the first pattern that fits the end of a name: longer names come first
    others = sorted((target for target, rank in ranks.items() if rank != usual), key=lambda one: (-len(one), one))
    try:
        config = LoraConfig(
            task_type="CAUSAL_LM",
            inference_mode=True,
            base_model_name_or_path=base_model or None,
            r=usual,
            lora_alpha=adapter.scale * usual,
            target_modules=sorted(adapter.targets),
            rank_pattern={target: ranks[target] for target in others},
            alpha_pattern={target: adapter.scale * ranks[target] for target in others},
            alora_invocation_tokens=list(adapter.invocation) or None,
        )
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"peft refuses this adapter: {error}") from error
    table = {name: sorted(one) if isinstance(one, set) else one for name, one in config.to_dict().items()}
    # the order of patterns has a meaning, so keys are not sorted
    return json.dumps(table, indent=2).encode() + b"\n"


def read_config(data: bytes) -> PeftConfig:
    """Return what a configuration says, if it is one of a plain LoRA.

    `target_modules` is not read: names of tensors say which modules there are, and a stranger's regular expression is
    never run.

    Raises:
        ArchiveError: if it is no configuration of peft, or a value cannot be.
        UnsupportedError: if it is of another kind than LoRA, or asks for more than a low-rank update.
    """
    if len(data) > MAX_BYTES:
        raise _refusal(f"it has {len(data)} bytes and may have {MAX_BYTES}")
    table = decode_object(data, NAME, max_values=MAX_VALUES, has_unique_keys=True)
    kind = table.get("peft_type")
    if not isinstance(kind, str):
        raise _refusal("its peft_type is no text")
    if kind != "LORA":
        raise UnsupportedError(f"the adapter is of peft's type {kind[:40]!r}: only LORA can be imported")
    for name, value in table.items():
        if name not in _HARMLESS and name not in _READ and value not in (None, False, "", [], {}, 0):
            raise _unsupported(name, value)
    if table.get("bias", "none") != "none":
        raise _unsupported("bias", table["bias"])
    if not _is_in(table.get("init_lora_weights", True), _INITS):
        raise _unsupported("init_lora_weights", table["init_lora_weights"])
    is_rank_stabilised = table.get("use_rslora", False)
    if not isinstance(is_rank_stabilised, bool):
        raise _refusal("use_rslora is neither true nor false")
    base_model = table.get("base_model_name_or_path") or ""
    return PeftConfig(
        rank=_rank(table.get("r")),
        alpha=_alpha(table.get("lora_alpha")),
        is_rank_stabilised=is_rank_stabilised,
        rank_pattern=_patterns(table, "rank_pattern", _rank),
        alpha_pattern=_patterns(table, "alpha_pattern", _alpha),
        invocation=check_invocation(table.get("alora_invocation_tokens") or [], NAME),
        base_model=base_model[:1000] if isinstance(base_model, str) else "",
    )


def _matching(patterns: Patterns, target: str, usual: float) -> float:
    """Return the value of the first pattern that fits the end of a module's name, as peft does."""
    return next((value for pattern, value in patterns if pattern.match(target)), usual)


def _patterns(table: Mapping[str, Any], name: str, checked: Callable[[object], float]) -> Patterns:
    patterns = table.get(name) or {}
    if not isinstance(patterns, dict) or len(patterns) > MAX_PATTERNS:
        raise _refusal(f"{name} is no object of at most {MAX_PATTERNS} names")
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise UnsupportedError(
                f"{name} of the adapter has the regular expression {pattern[:80]!r}: write the modules' names there"
            )
    return tuple((re.compile(rf"(.*\.)?({pattern})$"), checked(value)) for pattern, value in patterns.items())


def _rank(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        raise _refusal(f"a rank is {str(value)[:40]!r} and must be 1 to {MAX_RANK}")
    return value


def _alpha(value: object) -> float:
    # an integer of a thousand digits is no float
    if type(value) not in (int, float) or not abs(value) < 1e300:
        raise _refusal(f"an alpha is {str(value)[:40]!r} and must be a number")
    return float(value)


def _is_in(value: object, known: tuple[object, ...]) -> bool:
    return any(value is one or (isinstance(value, str) and value == one) for one in known)


def _unsupported(name: str, value: object) -> UnsupportedError:
    return UnsupportedError(
        f"the adapter needs {name} = {str(value)[:80]!r}, which is more than a low-rank update: "
        f"train a plain LoRA without it, or convert this one with peft"
    )


def _refusal(problem: str) -> ArchiveError:
    return ArchiveError(f"{NAME} is damaged or hostile: {problem}; get an undamaged copy")
