"""What a person sees: cubes, hits and histories as text for a terminal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engramos.cli.output import Output, day, one_line, printable

if TYPE_CHECKING:
    from engramos.cube import MemCube

WIDE = 100
"""From so many columns on, tables have their less important columns too."""
BAR_WIDTH = 24
_GAP = "   "
"""What a table has between two columns."""
_LEAST_WIDTH, _MOST_WIDTH = 10, 26
_BLOCKS = " ▏▎▍▌▋▊▉█"


def who(cube: "MemCube") -> str:
    """Return who said it, or the title of the document that it is from."""
    names = (getattr(cube.payload, name, None) for name in ("speaker", "title", "role"))
    return next((name for name in names if name), "")


def source(cube: "MemCube") -> str:
    """Return where it came from: its id there, else its conversation."""
    return cube.header.source.ref or cube.header.scope.session or ""


def body(cube: "MemCube") -> str:
    """Return a cube's text, or for a cube without one its digest."""
    return printable(cube.text or f"{cube.header.form} {cube.digest}")


def hit_block(rank: int, cube: "MemCube", score: float, parts: Mapping[str, float] | None = None) -> RenderableType:
    """Return one found cube: a line of when and who, its text, a line of where from and its id."""
    head = Text.assemble((f"{rank:>3}", "name"), f"  {score:5.2f}  ")
    head.append("  ".join(part for part in (day(cube.header.valid_at), printable(who(cube))) if part), "name")
    foot = Text("  ·  ".join([cube.header.type.value, *([printable(source(cube))] if source(cube) else [])]), "soft")
    foot.append("  ·  ", "soft").append(cube.id, "id")
    rows: list[RenderableType] = [
        head,
        Padding(Text(body(cube)), (0, 0, 0, 5), expand=False),
        Padding(foot, (0, 0, 0, 5), expand=False),
    ]
    if parts is not None:
        rows.append(Padding(bars(parts), (0, 0, 0, 5), expand=False))
    return Group(*rows, Text(""))


def bars(parts: Mapping[str, float]) -> Table:
    """Return the parts of a score, greatest first, each with a bar as long as its share of the greatest."""
    shown = sorted(((name, part) for name, part in parts.items() if part), key=lambda pair: -pair[1])
    most = max((abs(part) for _, part in shown), default=1.0)
    table = Table.grid(padding=(0, 2))
    for name, part in shown:
        table.add_row(Text(name, "soft"), Text(f"{part:5.2f}"), Text(bar(abs(part) / most), "good"))
    return table


def bar(share: float) -> str:
    """Return a bar for a share in [0, 1]."""
    eighths = round(share * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")


def cube_block(cube: "MemCube") -> RenderableType:
    """Return a cube with its text and what is known of it."""
    header = cube.header
    facts = {
        "id": cube.id,
        "version": f"{cube.version}",
        "type": f"{header.type} ({header.form})",
        "state": header.state.value,
        "said by": who(cube),
        "true from": _time(header.valid_at),
        "true until": _time(header.invalid_at),
        "known since": _time(header.created_at),
        "hidden since": _time(header.expired_at),
        "conversation": header.scope.session or "",
        "source": " ".join(part for part in (header.source.origin, header.source.ref) if part),
        "labels": ", ".join(header.labels),
        "trust": "" if header.trust == 1.0 else f"{header.trust:g}",
        "erased after": _time(header.retention.expires_at),
        "legal hold": "yes" if header.retention.is_held else "",
        "shared with": ", ".join(f"{grant.user} ({grant.right})" for grant in header.grants),
        "comes from": ", ".join(f"{edge.relation} {edge.cube_id} v{edge.version}" for edge in header.parents),
        "made by": f"{header.method}, {header.actor}",
    }
    return Group(Text(body(cube)), Text(""), fact_table(facts))


def fact_table(facts: Mapping[str, str]) -> Table:
    """Return names and values in two columns; what is empty is left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="soft", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, Text(printable(value), "id" if name == "id" else ""))
    return table


def show_rows(
    output: Output, columns: Sequence[str], rows: Sequence[Sequence[str]], *, narrow: Sequence[str] = ()
) -> None:
    """Write a table on a terminal, and lines of cells between tabs where stdout is none.

    Args:
        output: where to.
        columns: their names; the last one takes what room is left.
        rows: the cells.
        narrow: columns that are left out below `WIDE` columns.
    """
    lines = [[one_line(printable(cell)) for cell in row] for row in rows]
    if not output.is_terminal:
        for line in lines:
            output.line("\t".join(line))
        return
    kept = [at for at, name in enumerate(columns) if output.width >= WIDE or name not in narrow]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="soft")
    room = output.width - len(_GAP) * len(kept)
    for at in kept:
        longest = max(cell_len(cell) for cell in (columns[at], *(line[at] for line in lines)))
        width = max(_LEAST_WIDTH, room) if at == kept[-1] else min(longest, _MOST_WIDTH)
        room -= width
        style = "id" if columns[at] == "id" else ""
        table.add_column(columns[at], no_wrap=True, overflow="ellipsis", style=style, width=min(width, longest))
    for line in lines:
        table.add_row(*(Text(line[at]) for at in kept))
    output.show(table)


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def size(num_bytes: int) -> str:
    """Return a number of bytes for people: `4.2 MB`."""
    amount = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1_000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} TB"


def plural(num: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun: `1 cube`, `3 cubes`."""
    return f"{num:,} {one if num == 1 else many or one + 's'}"


def plain(value: Any) -> str:
    """Return a setting's or a number's value for people."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
