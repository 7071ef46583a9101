import json
from pathlib import Path

from benchmarks.kv_table import FILES, details, read_results, summary

REUSE = {
    "settings": {"commit": "abc", "at": "2026-01-02T00:00:00"},
    "metrics": {
        "2048.ttft_ratio": 14.0,
        "2048.identical": 1.0,
        "2048.attach_ms": 9.0,
        "2048.attach_overhead_ms": 4.0,
        "full.passkey": 0.9,
        "blend15.passkey": 0.8,
        "blend15.kl": 0.02,
        "blend15.cpu_ratio": 0.31,
        "concat.passkey": 0.0,
    },
}
KV = {
    "settings": {"commit": "abc", "at": "2026-01-02T00:00:00"},
    "metrics": {
        "full.passkey": 0.8,
        "full.digits": 1.0,
        "a.kept25.passkey": 0.1,
        "b.kept25.passkey": 0.5,
        "r.resident25.passkey": 0.78,
        "r.resident25.digits": 0.9,
        "int8.kl": 1e-4,
        "int4.kl": 7e-3,
        "rotated.kl": 0.03,
        "full.passkey@1024": 0.8,
    },
}


def met(text: str) -> list[str]:
    """The last column of a table, its head left out."""
    return [line.rstrip(" |").rpartition("|")[2].strip() for line in text.splitlines()[2:]]


def test_what_was_asked_is_met_on_the_right_side_of_each_bound() -> None:
    assert met(summary({"reuse": REUSE})) == ["**no**", "yes", "yes", "**no**", "yes", "**no**", "yes"]


def test_the_best_policy_and_the_share_of_the_full_cache_are_named() -> None:
    lines = summary({"kv": KV}).splitlines()[2:]
    assert "| 0.975 | at least 0.95 | yes |" in lines[0]
    assert "**no**" in lines[1]
    assert "`b`" in lines[2]
    assert "| 0.5 |" in lines[2].replace("0.500", "0.5")
    assert met("\n\n" + "\n".join(lines[3:])) == ["yes", "**no**", "yes"]


def test_every_row_and_length_has_its_place() -> None:
    text = details({"kv": KV, "reuse": REUSE})
    assert "| b.kept25 | 0.5 |" in text
    assert "at 1,024 tokens" in text
    assert "| 2048 | 14 |" in text
    assert "`engramos eval kv` at `abc` on 2026-01-02" in text


def test_results_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "reuse.json").write_text(json.dumps(REUSE))
    assert list(read_results(tmp_path)) == ["reuse"]
    assert "reuse" in FILES
    assert summary({}).count("\n") == 1
