"""Laws of every answer: algebra keeps it, a changed constant does not, order is nothing."""

import random
from collections import Counter
from fractions import Fraction

import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from r1core.rewards import math_equal

quick = settings(max_examples=300, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32).map(random.Random)

# An expression is an int, a name, or (operator, left, right) with operator in + - * / ^. What is
# divided by is a positive number or a square plus one; what is raised to is an int of 2 or 3.
POINTS = [{"x": Fraction(7, 3), "y": Fraction(-5, 2)}, {"x": Fraction(-1, 7), "y": Fraction(9, 4)}]


def grow(rng, depth):
    """Return a random expression."""
    if depth == 0 or rng.random() < 0.1:
        return rng.choice([rng.randint(1, 12), rng.randint(1, 12), "x", "y"])
    operator = rng.choice("++-**/^")
    left = grow(rng, depth - 1)
    if operator == "^":
        return "^", left, rng.randint(2, 3)
    if operator == "/":
        name = rng.choice("xy")
        below = rng.choice([rng.randint(2, 9), ("+", ("^", name, 2), rng.randint(2, 9))])
        return "/", left, below
    return operator, left, grow(rng, depth - 1)


def rewrite(rng, tree):
    """Return the tree changed by laws of algebra that keep its value everywhere."""
    if not isinstance(tree, tuple):
        return rng.choice([tree, tree, tree, ("*", 1, tree), ("-", ("+", tree, 3), 3)])
    operator, left, right = tree
    if operator == "^":
        base = rewrite(rng, left)
        power = base
        for _ in range(right - 1):
            power = "*", power, base
        return rng.choice([("^", base, right), power])
    left, right = rewrite(rng, left), rewrite(rng, right)
    same = [(operator, left, right)]
    if operator in "+*":
        same.append((operator, right, left))
        if isinstance(right, tuple) and right[0] == operator:
            same.append((operator, (operator, left, right[1]), right[2]))
    if operator == "-":
        same.append(("+", ("*", ("-", 0, 1), right), left))
    if operator == "*" and isinstance(right, tuple) and right[0] in "+-":
        same.append((right[0], ("*", left, right[1]), ("*", left, right[2])))
    if operator == "/":
        factor = rng.randint(2, 9)
        same += [("/", ("*", factor, left), ("*", right, factor)), ("*", left, ("/", 1, right))]
    return rng.choice(same)


def perturb(rng, tree):
    """Return the tree with one of its numbers one larger, or the tree itself if it has none."""
    places = list(numbers(tree))
    place = rng.choice(places) if places else None

    def walk(node, path):
        if path == place:
            return node + 1
        if not isinstance(node, tuple):
            return node
        return node[0], walk(node[1], (*path, 1)), walk(node[2], (*path, 2))

    return walk(tree, ())


def numbers(tree, path=()):
    """Yield the paths to the numbers of a tree."""
    if isinstance(tree, int):
        yield path
    elif isinstance(tree, tuple):
        yield from numbers(tree[1], (*path, 1))
        yield from numbers(tree[2], (*path, 2))


def value(tree, point):
    """Return the exact value at a point."""
    if not isinstance(tree, tuple):
        return point[tree] if isinstance(tree, str) else Fraction(tree)
    left, right = value(tree[1], point), value(tree[2], point)
    if tree[0] == "/":
        return left / right
    if tree[0] == "^":
        return left ** int(right)
    return left + right if tree[0] == "+" else left - right if tree[0] == "-" else left * right


def wrap(rng, text):
    """Put one of the brackets of LaTeX around the text."""
    left, right = rng.choice(
        [("(", ")"), ("\\left(", "\\right)"), ("{(", ")}"), ("\\big(", "\\big)")]
    )
    return left + text + right


def latex(rng, tree):
    """Spell the tree in LaTeX, with brackets where needed and now and then where not."""
    if not isinstance(tree, tuple):
        return str(tree)
    operator, left, right = tree
    if operator == "/":
        command = rng.choice(["\\frac", "\\dfrac", "\\tfrac"])
        return f"{command}{{{latex(rng, left)}}}{{{latex(rng, right)}}}"
    parts = []
    for side in (left, right):
        part = latex(rng, side)
        bare = not isinstance(side, tuple) or (operator in "+-" and side[0] in "*/")
        parts.append(part if bare and rng.random() < 0.8 else wrap(rng, part))
    if operator == "^":
        return f"{parts[0]}^{{{latex(rng, right)}}}"
    sign = rng.choice([" \\cdot ", " \\times ", "\\,\\cdot\\,"]) if operator == "*" else operator
    return sign.join(parts)


def plain(rng, tree):
    """Spell the tree as a program would."""
    if not isinstance(tree, tuple):
        return str(tree)
    power = rng.choice(["^", "**"])
    sign = {"^": power, "+": " + ", "-": "-"}.get(tree[0], tree[0])
    return f"({plain(rng, tree[1])}){sign}({plain(rng, tree[2])})"


def spell(rng, tree):
    """Spell the tree in one of the two ways."""
    return rng.choice([latex, plain])(rng, tree)


def status(answer, gold):
    """Return the verdict, which must be the same the other way round."""
    found = math_equal(answer, gold).status
    assert (math_equal(gold, answer).status == "correct") is (found == "correct"), (answer, gold)
    return found


@quick
@given(seeds, st.integers(1, 3))
def test_algebra_keeps_an_answer(rng, depth):
    tree = grow(rng, depth)
    answer, gold = spell(rng, rewrite(rng, tree)), spell(rng, tree)
    assert status(answer, gold) == "correct", (answer, gold)


@quick
@given(seeds, st.integers(1, 4))
def test_a_changed_constant_changes_an_answer(rng, depth):
    tree = grow(rng, depth)
    other = perturb(rng, tree)
    assume(any(value(tree, point) != value(other, point) for point in POINTS))
    answer, gold = spell(rng, rewrite(rng, other)), spell(rng, tree)
    assert status(answer, gold) == "wrong", (answer, gold)
