"""Completions in the style of R1 on GSM8K and MATH, with golds: what the verifier is timed on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

MEAN_BYTES = 365
WORDS = (
    "so the total is then we add both sides and divide by the common factor which leaves wait "
    "let me check the sign of this term again because it matters therefore we obtain the number"
).split()


@dataclass(frozen=True)
class Row:
    """A graded reply: its kind of answer, the text, the gold, and whether it is right."""

    kind: str
    completion: str
    gold: str
    right: bool


def integer(draw: random.Random, off: int) -> tuple[str, str]:
    value = draw.randint(-999, 9999)
    return str(value), str(value + off)


def fraction(draw: random.Random, off: int) -> tuple[str, str]:
    top, bottom = draw.randint(2, 99), draw.randint(2, 99)
    return f"\\frac{{{top}}}{{{bottom}}}", f"\\dfrac{{{2 * top + off}}}{{{2 * bottom}}}"


def decimal(draw: random.Random, off: int) -> tuple[str, str]:
    cents = draw.randint(1, 99_999)
    return f"{cents / 100:.2f}", f"{(cents + off) / 100:.2f}"


def radical(draw: random.Random, off: int) -> tuple[str, str]:
    factor, radicand = draw.randint(2, 30), draw.choice([2, 3, 5, 7, 11])
    return f"{factor}\\sqrt{{{radicand}}}", f"\\sqrt{{{factor * factor * radicand + off}}}"


def polynomial(draw: random.Random, off: int) -> tuple[str, str]:
    a, b = draw.randint(1, 20), draw.randint(1, 20)
    return f"x^2+{a + b}x+{a * b}", f"(x+{a})(x+{b + off})"


def pair(draw: random.Random, off: int) -> tuple[str, str]:
    a, b = draw.randint(-50, 50), draw.randint(-50, 50)
    return f"({a},{b})", f"({a + off}, {b})"


def interval(draw: random.Random, off: int) -> tuple[str, str]:
    low = draw.randint(-50, 50)
    return f"[{low},{low + 5})", f"\\left[{low}, {low + 5 + off}\\right)"


def matrix(draw: random.Random, off: int) -> tuple[str, str]:
    a, b, c, d = (draw.randint(0, 9) for _ in range(4))
    form = "\\begin{{pmatrix}} {} & {} \\\\ {} & {} \\end{{pmatrix}}"
    return form.format(a, b, c, d), form.format(a + off, b, c, d)


KINDS: dict[str, tuple[float, Callable[[random.Random, int], tuple[str, str]]]] = {
    "integer": (0.62, integer),
    "fraction": (0.10, fraction),
    "decimal": (0.06, decimal),
    "radical": (0.06, radical),
    "polynomial": (0.05, polynomial),
    "pair": (0.04, pair),
    "interval": (0.04, interval),
    "matrix": (0.03, matrix),
}


def make_rows(count: int, seed: int = 0) -> list[Row]:
    """Return completions of about `MEAN_BYTES` bytes, one in three of them wrong."""
    draw = random.Random(seed)
    weights = [share for share, _ in KINDS.values()]
    rows = []
    for kind in draw.choices(list(KINDS), weights, k=count):
        off = int(draw.random() < 1 / 3)
        gold, answer = KINDS[kind][1](draw, off)
        tail = f"</think>\nThe final answer is $\\boxed{{{answer}}}$."
        thoughts = "<think>"
        while len(thoughts) + len(tail) < MEAN_BYTES:
            number = f" {draw.randint(1, 99)}" if draw.random() < 0.08 else ""
            thoughts += draw.choice(WORDS) + number + " "
        rows.append(Row(kind, thoughts + tail, f"${gold}$", off == 0))
    return rows
