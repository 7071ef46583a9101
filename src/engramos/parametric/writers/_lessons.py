"""What writers ask of a lesson before they make rows of it."""

from engramos.errors import InvalidInputError
from engramos.parametric.lesson import Lesson
from engramos.parametric.writers._note_questions import said


def check_facts(lesson: Lesson, writer: str) -> None:
    """Refuse a lesson without facts.

    Raises:
        InvalidInputError: if it has none.
    """
    if not lesson.facts:
        raise InvalidInputError(f"the writer {writer} learns from facts and the lesson has none: give 1 or more")


def text_of(lesson: Lesson) -> str:
    """Return the lesson's texts; where it has none, its facts as notes."""
    if lesson.texts:
        return "\n\n".join(lesson.texts)
    return "\n".join(said(fact) for fact in lesson.facts)
