"""Scores of units greater than a turn: windows of turns, and sessions."""

import numpy as np

from engramos.plaintext.index import NONE, SearchIndex


def scaled(scores: np.ndarray) -> np.ndarray:
    """Return scores scaled to 0..1 by their greatest; they are 0 or more."""
    most = float(scores.max()) if len(scores) else 0.0
    return scores * np.float32(1 / most) if most > 0 else scores


def by_window(index: SearchIndex, turns: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of a turn and the turns around it, for each row, float32 (rows,).

    Beyond the ends of a session its first and last turn are repeated.
    """
    total, own = turns.copy(), np.arange(len(turns))
    for links in (index.before, index.after):
        at = np.where(links == NONE, own, links)
        moved = turns
        for _ in range(window):
            moved = moved.take(at)
            total += moved
    total *= np.float32(1 / (2 * window + 1))
    return total


def by_session(index: SearchIndex, turns: np.ndarray, num: int) -> np.ndarray:
    """Return the mean of each session's best turns, float32 (sessions + 1,); the last place, for none, is 0.

    Args:
        index: the rows.
        turns: scores of the rows, 0 or more.
        num: how many of the best turns count, 1 or more; a shorter session has its missing turns counted as 0.
    """
    num_sessions = len(index.sessions.codes)
    rows = np.flatnonzero((turns > 0) & index.alive & (index.session != NONE))
    rows = rows[np.lexsort((rows, -turns[rows], index.session[rows]))]
    session = index.session[rows]
    starts = np.flatnonzero(np.append(True, session[1:] != session[:-1])) if len(rows) else rows
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    first = place < num
    total = np.bincount(session[first], turns[rows[first]], num_sessions + 1)
    return (total / num).astype(np.float32)
