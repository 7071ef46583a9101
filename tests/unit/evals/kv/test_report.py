"""The result, its outcomes as `engramos eval compare` reads them, its tables and its plots."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from engramos.errors import ConfigError, StoreError
from engramos.evals.compare import compare
from engramos.evals.kv.plot import draw_kv, draw_reuse
from engramos.evals.kv.report import lines_of, result_of, table, write
from engramos.evals.kv.reuse_report import result_of as reuse_result_of
from engramos.evals.kv.reuse_report import tables
from engramos.evals.kv.rows import rows_of
from engramos.evals.kv.run import Outcome, Run
from engramos.evals.kv.tasks import Sample
from engramos.evals.outcomes import read_outcomes

SETTINGS = {"model": "models/tiny", "dtype": "float32", "threads": 1, "lengths": [1024], "kept": [0.25, 0.5]}
ROWS = rows_of(["snapkv", "knorm", "raas"], [0.25, 0.5], ["int8", "int4"], ["quest"])


def made_run(num: int = 4) -> Run:
    run = Run(text="made", left_out=["ruler at 1024: no data"])
    for index in range(num):
        metrics = {}
        for place, row in enumerate(ROWS.rows):
            one = {
                "bytes": 1e6 * row.kept,
                "passkey": float((index + place) % 2),
                "nll": 2.0,
                "kl": 0.001 * (place + 1),
            }
            if row.policy is not None:
                one["aware_passkey"] = 1.0
            if row.codec is not None:
                one |= {"stored_bytes": 3e5, "bits": 9.0 - place}
            metrics[row.name] = one
        run.outcomes.append(Outcome(Sample(f"passkey-1024-{index}", "passkey", 1024, ()), metrics))
    return run


def shown(made) -> str:
    console = Console(width=220, highlight=False)
    with console.capture() as captured:
        console.print(made)
    return captured.get()


def reuse_result() -> dict:
    metrics = {}
    for length in (512, 1024):
        metrics[f"{length}.prefill_ttft_ms"] = 4.0 * length
        for begin in (f"{length}.", f"{length}.int8."):
            names = ("ttft_ms", "ttft_ratio", "ttft_cpu_ratio", "identical", "attach_ms", "verify_ms", "read_ms")
            metrics |= {begin + name: 1.0 + length / 512 for name in names}
            metrics |= {begin + name: 7.0 for name in ("attach_overhead_ms", "read_mb_per_s", "bytes")}
    for way in ("full", "concat", "blend15"):
        metrics |= {f"{way}.{name}": 0.5 for name in ("passkey", "kl", "kl_text", "cpu_ratio")}
    settings = SETTINGS | {"prefixes": [512, 1024, 9000], "codecs": ["int8"], "samples": 2, "text": "made"}
    return reuse_result_of(metrics, settings, ["prefix 9000: the window"])


def test_metrics_are_flat_and_the_settings_say_where_they_come_from() -> None:
    result = result_of(made_run(), ROWS, SETTINGS)
    assert result["metrics"]["full.passkey"] == 0.5
    assert result["metrics"]["snapkv.kept25.bytes"] == 250_000
    assert result["metrics"]["int8.kl"] == 0.002
    assert result["metrics"]["int8.bits"] == 8.0
    assert result["metrics"]["full.ppl"] == pytest.approx(7.389, abs=1e-3)
    assert {"commit", "version", "torch", "transformers", "at", "asked", "text"} <= result["settings"].keys()
    assert any("raas" in one for one in result["settings"]["left_out"])
    json.dumps(result)


def test_two_rows_are_compared_sample_by_sample_by_the_command_for_that(tmp_path: Path) -> None:
    run = made_run()
    result = result_of(run, ROWS, SETTINGS)
    paths = write(tmp_path / "out", result, lines_of(result, run))
    assert [path.name for path in paths] == ["kv.json", "kv.jsonl"]
    outcomes = read_outcomes(tmp_path / "out")
    found = compare(outcomes, outcomes, "snapkv.kept25", "full")
    assert found["questions"] == 4
    assert found["metrics"]["passkey"]["difference"] == 0.0
    assert found["metrics"]["kl"]["difference"] > 0.0


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="another folder"):
        write(tmp_path / "file" / "out", result_of(made_run(), ROWS, SETTINGS))


def test_the_table_has_a_line_for_each_row_and_says_what_was_left_out() -> None:
    text = shown(table(result_of(made_run(), ROWS, SETTINGS), ROWS))
    for row in ROWS.rows:
        assert sum(row.name in line.split() for line in text.replace("│", " ").splitlines()) == 1
    assert "left out: ruler at 1024: no data" in text
    assert "raas" in text
    assert "ruler" not in text.splitlines()[2], "a column that nothing was measured for"


def test_the_tables_of_reuse_have_prefixes_codecs_and_ways() -> None:
    text = shown(tables(reuse_result()))
    assert sum("int8" in line for line in text.splitlines()) == 2
    assert "blend15" in text
    assert "9,000" not in text
    assert "left out: prefix 9000" in text


def test_plots_show_every_policy_codec_and_way_by_name(tmp_path: Path) -> None:
    draw_kv(result_of(made_run(), ROWS, SETTINGS), ROWS, tmp_path / "new" / "kv.svg")
    text = (tmp_path / "new" / "kv.svg").read_text()
    for name in ("snapkv", "knorm", "quest", "int8", "int4", "full cache", "question known"):
        assert name in text
    draw_reuse(reuse_result(), tmp_path / "reuse.svg")
    text = (tmp_path / "reuse.svg").read_text()
    for name in ("concat", "blend15", "stored, int8", "1,024"):
        assert name in text


def test_a_plot_of_codecs_alone_and_of_policies_alone_can_be_drawn(tmp_path: Path) -> None:
    for number, rows in enumerate((rows_of([], [0.5], ["int8"], []), rows_of(["knorm"], [0.5], [], []))):
        run = Run(text="made")
        metrics = {row.name: {"bytes": 10.0, "passkey": 1.0, "kl": 0.0, "bits": 8.0} for row in rows.rows}
        run.outcomes.append(Outcome(Sample("passkey-64-0", "passkey", 64, ()), metrics))
        draw_kv(result_of(run, rows, SETTINGS), rows, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1_000


def test_the_same_result_draws_the_same_file(tmp_path: Path) -> None:
    result = result_of(made_run(), ROWS, SETTINGS)
    for name in ("a.svg", "b.svg"):
        draw_kv(result, ROWS, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_plot_of_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format"):
        draw_kv(result_of(made_run(), ROWS, SETTINGS), ROWS, tmp_path / "kv.txt")
