"""A conversation in LoCoMo's format, written for these tests."""

import json
from pathlib import Path
from typing import Any


def sample() -> dict[str, Any]:
    """Return one sample of two sessions and six questions; one has no evidence, two have malformed evidence."""

    def turn(session: int, number: int, speaker: str, text: str) -> dict[str, str]:
        return {"speaker": speaker, "dia_id": f"D{session}:{number}", "text": text}

    def ask(question: str, category: int, *evidence: str) -> dict[str, Any]:
        return {"question": question, "answer": "x", "evidence": list(evidence), "category": category}

    return {
        "sample_id": "talk-1",
        "conversation": {
            "speaker_a": "Ana",
            "speaker_b": "Bo",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                turn(1, 1, "Ana", "I adopted a grey kitten named Pixel yesterday."),
                turn(1, 2, "Bo", "How lovely! Where did you find him?"),
                turn(1, 3, "Ana", "At the shelter behind the railway station."),
            ],
            "session_2_date_time": "9:10 am on 2 June, 2023",
            "session_2": [
                turn(2, 1, "Bo", "My violin teacher moved to Oslo."),
                turn(2, 2, "Ana", "Will you keep practising the violin?"),
                turn(2, 3, "Bo", "Yes, every evening, with lessons over video."),
            ],
        },
        "qa": [
            ask("What is Ana's kitten called?", 4, "D1:1"),
            ask("Where did Ana find the kitten?", 1, "D1:1; D:1:3"),
            ask("Who moved to Oslo?", 4, "D2:01"),
            ask("When did the violin teacher move?", 2, "D2:1", "D9:9"),
            ask("Does Bo practise the violin?", 5, "D2:3", "D"),
            ask("What would Ana like?", 3),
        ],
    }


def write_sample(folder: Path, samples: Any = None) -> Path:
    """Write a data folder with LoCoMo's file, and return the folder."""
    (folder / "locomo").mkdir(parents=True)
    text = json.dumps([sample()] if samples is None else samples)
    (folder / "locomo" / "locomo10.json").write_text(text, encoding="utf-8")
    return folder
