"""The demo: import a conversation, ask it questions, and leave the memory for the next command."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group
from rich.progress import Progress
from rich.text import Text

from engramos import MemoryOS
from engramos.errors import EngramosError
from engramos.messages import read_time

OPENERS = ("What is new with", "What does", "When did")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=Path(__file__).with_name("lighthouse.json"))
    parser.add_argument("--folder", type=Path, default=Path("demo-memory"))
    arguments = parser.parse_args()
    console = Console()
    try:
        show(console, arguments.file, arguments.folder)
    except EngramosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def show(console: Console, file: Path, folder: Path) -> None:
    with MemoryOS.open(folder, user="demo") as memory:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"importing {file.name}", total=None)
            found = memory.import_file(file, progress=lambda num: progress.advance(task, num))
        for problem in found.problems[:10]:
            print(f"skipped {problem.position}: {problem.problem}", file=sys.stderr)
        console.print(
            f"[bold]{found.format}[/]: {found.num_records} records read, {found.num_cubes} cubes added, "
            f"{found.num_known} records known from before, {len(found.problems)} skipped\n"
        )
        questions, asked_at = questions_for(file, memory)
        for question in questions:
            console.print(answers(memory, question, asked_at))
        block = memory.context(questions[0], asked_at=asked_at, budget_tokens=200)
        console.print(f"\n[bold]A prompt block for[/] {questions[0]!r} [bold]within 200 tokens:[/]")
        console.print(block.text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"\nThe memory is in {folder}/. Ask it more:")
    console.print(
        f'  .venv/bin/engramos search "{questions[-1]}" --folder {folder} --user demo', highlight=False, soft_wrap=True
    )


def answers(memory: MemoryOS, question: str, asked_at: datetime) -> Group:
    """Return a question with its hits: what was said, by whom and when, the score, and what made it."""
    lines = [Text(f"\n{question}", style="bold cyan")]
    for hit in memory.search(question, limit=3, asked_at=asked_at):
        header, payload = hit.cube.header, hit.cube.payload
        day = f"{header.valid_at:%Y-%m-%d} " if header.valid_at else ""
        by = payload.speaker or payload.title or payload.role or ""
        lines.append(Text.assemble((f" {hit.score:.2f} ", "bold"), (f"{day}{by}: ", "green"), hit.text))
        most = sorted(hit.parts, key=lambda name: -hit.parts[name])[:3]
        why = ", ".join(f"{name} {hit.parts[name]:.2f}" for name in most)
        place = " ".join(part for part in (header.scope.session, header.source.ref) if part)
        lines.append(Text(f"      source {place}; score from {why}", style="dim"))
    return Group(*lines)


def questions_for(file: Path, memory: MemoryOS) -> tuple[list[str], datetime]:
    """Return the questions beside a file, those that a LoCoMo file brings along, or some about its speakers."""
    beside = file.with_suffix(".questions.json")
    if beside.is_file():
        table = json.loads(beside.read_text(encoding="utf-8"))
        return table["questions"], read_time(table["asked_at"])
    cubes = memory.list(limit=10_000)
    asked_at = max((cube.header.valid_at for cube in cubes if cube.header.valid_at), default=datetime.now(UTC))
    if file.suffix == ".json":
        value = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(value, list) and value and isinstance(value[0], dict) and "qa" in value[0]:
            return [one["question"] for one in value[0]["qa"][:8]], asked_at
    names = list(dict.fromkeys(cube.payload.speaker or cube.payload.title for cube in cubes))
    known = [name for name in names if name][:2] or ["this"]
    return [f"{opener} {name}?" for opener in OPENERS for name in known], asked_at


if __name__ == "__main__":
    sys.exit(main())
