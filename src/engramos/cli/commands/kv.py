"""`engramos kv`: KV caches of prompts, documents and memories, kept as cubes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Codec, Device, Dtype, Model, load_engine
from engramos.cli.options import DryRun, Id
from engramos.cli.output import iso, one_line, printable
from engramos.cli.screen import plural
from engramos.errors import InvalidInputError

if TYPE_CHECKING:
    from engramos.cube import MemCube
    from engramos.kv import KVMemory
    from engramos.memory import MemoryOS

HELP = "Keep what a local model has read, so that it need not read it again."
MODEL = "SmolLM2-135M-Instruct"
BUILD_EXAMPLE = f"engramos kv build --file notes.md --title notes --model {MODEL}"
LIST_EXAMPLE = "engramos kv list"
ATTACH_EXAMPLE = f'engramos kv attach $ID --prompt "When was the roof mended?" --model {MODEL}'
DROP_EXAMPLE = "engramos kv drop $ID"
EXPLAIN_EXAMPLE = f'engramos kv explain "The roof was" --model {MODEL}'

Text = Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What is read.")]
File = Annotated[Path | None, typer.Option("--file", help="Read this file instead.", metavar="PATH")]
Cubes = Annotated[list[str] | None, typer.Option("--cube", metavar="ID", help="Of these memories; may repeat.")]
Question = Annotated[str | None, typer.Option("--question", help="Of the memories that this question needs.")]
Title = Annotated[str | None, typer.Option("--title", help="Shown in lists.")]
DiskBytes = Annotated[
    int | None, typer.Option("--disk-bytes", help="What all KV cubes may take; the least useful are dropped.")
]
Kept = Annotated[float | None, typer.Option("--kept", help="Keep this share of the tokens, such as 0.25, not all.")]
Policy = Annotated[str | None, typer.Option("--policy", help="Which tokens stay; only beside --kept.")]
AllowStale = Annotated[bool, typer.Option("--allow-stale", help="Although its sources have changed.")]
After = Annotated[str | None, typer.Option("--prompt", help="Answer this, after what the cube holds.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="At most so many new tokens.")]


@contextmanager
def opened(
    invocation: Invocation, model: str, dtype: str, device: str, **settings: Any
) -> "Iterator[tuple[MemoryOS, KVMemory]]":
    """Load the model and open the memory's KV cubes on it."""
    engine = load_engine(model, dtype, device)
    with invocation.memory() as memory, memory.kv(engine, **settings) as kv:
        yield memory, kv


def build(
    invocation: Invocation,
    model: Model,
    text: Text = None,
    file: File = None,
    cube_ids: Cubes = None,
    question: Question = None,
    title: Title = None,
    codec: Codec = "int8",
    kept: Kept = None,
    policy: Policy = None,
    disk_bytes: DiskBytes = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> None:
    """Read a text, a file or memories with a model, and keep the KV cache as a cube.

    A cube of memories goes stale when one of them changes, and is erased with any of them.
    """
    given = [one for one in (text, file, cube_ids, question) if one]
    if len(given) != 1:
        raise InvalidInputError("say what to read: a text, --file, --cube or --question, and only one of them")
    if (kept is not None or policy is not None) and (cube_ids or question):
        raise InvalidInputError("a cube of memories keeps everything: leave out --kept and --policy")
    if file is not None:
        text = file.read_text(encoding="utf-8")
    with opened(invocation, model, dtype, device, codec=codec, disk_bytes=disk_bytes) as (_, kv):
        built = (
            kv.build(text, title=title, kept=kept, policy=policy)
            if text
            else kv.promote(cube_ids or (), question=question, title=title)
        )
    output = invocation.output
    if output.is_json:
        output.object(_cube_json(built.cube) | {"is_new": built.is_new})
        return
    output.line(built.id)
    size = f"{plural(built.num_tokens, 'token')}, {built.num_bytes:,} bytes"
    output.say(f"built from {size}" if built.is_new else f"it is there already: {size}")


def list_cubes(invocation: Invocation) -> None:
    """List the KV cubes of a user; no model is loaded."""
    output = invocation.output
    with invocation.memory() as memory:
        from engramos.rows import Filter

        where, cubes, after = Filter(forms=("activation",)), [], ""
        while page := memory.list(where, after=after, limit=1_000):
            cubes += page
            after = page[-1].id
        rows = [_cube_json(cube) | {"stale": memory_stale(memory, cube)} for cube in cubes]
    if output.is_json:
        output.objects(rows)
        return
    for row in rows:
        state = "stale" if row["stale"] else "fresh"
        title = one_line(printable(row["title"] or "(no title)"))
        output.line(f"{row['id']}  {row['num_tokens']:>7,} tokens  {row['num_bytes']:>13,} bytes  {state}  {title}")
    output.say(plural(len(rows), "KV cube"))


def memory_stale(memory: Any, cube: "MemCube") -> list[dict[str, Any]]:
    """Return the sources of a KV cube that have changed, as JSON values."""
    from engramos.verbs.kv.is_stale import changed_sources

    found = changed_sources(memory._parts, memory.scope, cube)
    return [{"id": one.cube_id, "version": one.version, "why": one.why} for one in found]


def attach(
    invocation: Invocation,
    cube_id: Id,
    model: Model,
    prompt: After = None,
    max_tokens: MaxTokens = 64,
    allow_stale: AllowStale = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> None:
    """Attach a KV cube to a model: verify its bytes, its model and its tenant; answer a prompt after it."""
    output = invocation.output
    with opened(invocation, model, dtype, device) as (_, kv):
        from engramos.clock import now_us
        from engramos.engines.base import Sampling

        began = now_us()
        cache = kv.attach(cube_id, allow_stale=allow_stale)
        values: dict[str, Any] = {"id": cube_id, "num_tokens": cache.num_tokens, "num_bytes": cache.num_bytes}
        values["attach_s"] = (now_us() - began) / 1e6
        if prompt:
            scores = kv.engine.prefill(kv.engine.tokens(prompt), cache)
            pieces = list(kv.engine.generate(scores, cache, Sampling(max_tokens)))
            values |= {"answer": "".join(one.text for one in pieces), "reason": pieces[-1].reason}
    if output.is_json:
        output.object(values)
        return
    if prompt:
        output.line(printable(values["answer"]))
    size = f"{plural(values['num_tokens'], 'token')}, {values['num_bytes']:,} bytes"
    output.say(f"attached {size} in {values['attach_s']:.3f} s")


def drop(invocation: Invocation, cube_id: Id, dry_run: DryRun = False) -> None:
    """Erase a KV cube and its bytes; what it was made of stays. No model is loaded."""
    output = invocation.output
    with invocation.memory() as memory:
        from engramos.verbs.kv._cube import payload_of

        payload_of(memory.get(cube_id))
        done = memory.forget(cube_id, act="erase", reason="kv: dropped", dry_run=dry_run)
    if output.is_json:
        blobs = list(done.blobs)
        output.object({"ids": list(done.cube_ids), "blobs": blobs, "is_scrubbed": done.is_scrubbed})
        return
    for one in done.cube_ids:
        output.line(one)
    output.say("would drop it" if dry_run else "dropped it, with its bytes")


def explain(
    invocation: Invocation,
    model: Model,
    text: Text = None,
    file: File = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> None:
    """Say how much of a prompt is stored, and why no more is."""
    if bool(text) == (file is not None):
        raise InvalidInputError("say which prompt: a text, or --file, and only one of them")
    with opened(invocation, model, dtype, device) as (_, kv):
        found = kv.explain(text or Path(str(file)).read_text(encoding="utf-8"))
    output = invocation.output
    if output.is_json:
        output.object({name: getattr(found, name) for name in found.__dataclass_fields__})
        return
    output.line(f"{found.reason}: {found.num_tokens} of {plural(found.prompt_tokens, 'token')} are stored")
    output.say(found.sentence)


def _cube_json(cube: "MemCube") -> dict[str, Any]:
    payload: Any = cube.payload
    return {
        "id": cube.id,
        "type": cube.header.type.value,
        "title": payload.attributes.get("title"),
        "num_tokens": len(payload.token_ids),
        "num_bytes": payload.num_bytes,
        "codec": payload.codec,
        "model": cube.header.model,
        "created_at": iso(cube.header.created_at),
        "parents": [{"id": edge.cube_id, "version": edge.version} for edge in cube.header.parents],
        "trust": cube.header.trust,
    }


COMMANDS = (
    ("build", build, BUILD_EXAMPLE),
    ("list", list_cubes, LIST_EXAMPLE),
    ("attach", attach, ATTACH_EXAMPLE),
    ("drop", drop, DROP_EXAMPLE),
    ("explain", explain, EXPLAIN_EXAMPLE),
)
"""Name, function and example of each command of the group."""
