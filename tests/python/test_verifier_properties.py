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


def spell_sympy(rng, expression):
    """Spell what sympy holds, in LaTeX or as a program would."""
    return rng.choice([sympy.latex, str])(expression)


@quick
@given(seeds)
def test_polynomials_are_judged_as_by_sympy(rng):
    x, y = sympy.symbols("x y")
    factors = [
        rng.randint(-3, 3) * x ** rng.randint(0, 2) + rng.randint(-3, 3) * y + rng.randint(1, 9)
        for _ in range(rng.randint(1, 3))
    ]
    product = sympy.Mul(*factors)
    other = product + rng.choice([0, 0, 1, x, -y, x * y, sympy.Rational(1, 10**9)])
    answer = spell_sympy(rng, sympy.expand(other))
    gold = spell_sympy(rng, rng.choice([product, sympy.factor(product), sympy.expand(product)]))
    same = sympy.expand(product - other) == 0
    assert status(answer, gold) == ("correct" if same else "wrong"), (answer, gold)


@quick
@given(seeds)
def test_radicals_are_judged_as_by_sympy(rng):
    product, gold = sympy.Integer(1), ""
    for _ in range(rng.randint(1, 3)):
        rational = sympy.Rational(rng.randint(-9, 9), rng.randint(1, 5))
        factor, radicand = rng.choice([-2, -1, 1, 3]), rng.randint(2, 30)
        product *= rational + factor * sympy.sqrt(radicand)
        gold += f"({sympy.latex(rational)} + {factor} \\cdot \\sqrt{{{radicand}}})"
    tiny = sympy.Rational(1, 10**25)
    other = sympy.expand(product) + rng.choice([0, 0, 1, tiny, sympy.sqrt(2) * tiny])
    answer = spell_sympy(rng, other)
    same = sympy.expand(product - other) == 0
    assert status(answer, gold) == ("correct" if same else "wrong"), (answer, gold)


@settings(quick, max_examples=100)
@given(seeds)
def test_quotients_of_radicals_are_judged_as_by_sympy(rng):
    above, below = (rng.randint(1, 9) + sympy.sqrt(rng.randint(2, 20)) for _ in range(2))
    other = sympy.radsimp(above / below) + rng.choice([0, 0, 1, sympy.Rational(1, 10**20)])
    answer, gold = spell_sympy(rng, other), spell_sympy(rng, above / below)
    same = sympy.radsimp(other - above / below).expand() == 0
    assert status(answer, gold) == ("correct" if same else "wrong"), (answer, gold)


@quick
@given(seeds)
def test_values_of_sine_and_cosine_are_those_of_sympy(rng):
    below = rng.choice([1, 2, 3, 4, 5, 6, 10, 12])
    above = rng.randint(0, 2 * below)
    name = rng.choice(["sin", "cos"])
    exact = getattr(sympy, name)(sympy.pi * above / below)
    answer = f"\\{name}" + rng.choice(
        [
            f"\\frac{{{above}\\pi}}{{{below}}}",
            f"({above}*pi/{below})",
            f" {180 * above // below}^\\circ",
        ]
    )
    shift = rng.choice([0, 1])
    gold = spell_sympy(rng, exact + shift)
    assert status(answer, gold) == ("wrong" if shift else "correct"), (answer, gold)


@quick
@given(seeds)
def test_unions_of_intervals_are_judged_by_their_points(rng):
    def union():
        parts = []
        for _ in range(rng.randint(1, 3)):
            low, high = sorted(rng.sample(range(6), 2))
            parts.append((rng.choice("(["), low, high, rng.choice(")]")))
        return parts

    def points(parts):
        twice = range(-1, 13)
        return [
            any(
                (2 * low < n or (n == 2 * low and left == "["))
                and (n < 2 * high or (n == 2 * high and right == "]"))
                for left, low, high, right in parts
            )
            for n in twice
        ]

    def text(parts):
        return " \\cup ".join(f"{left}{low},{high}{right}" for left, low, high, right in parts)

    one, other = union(), union()
    rng.shuffle(swapped := list(one))
    assert status(text(swapped), text(one)) == "correct", (swapped, one)
    same = points(one) == points(other)
    assert status(text(one), text(other)) == ("correct" if same else "wrong"), (one, other)


@quick
@given(seeds)
def test_lists_are_judged_without_order_and_tuples_with(rng):
    one = [rng.randint(1, 3) for _ in range(rng.randint(3, 4))]
    other = [rng.randint(1, 3) for _ in range(rng.randint(3, 4))]
    shuffled = rng.sample(one, len(one))
    for second in (other, shuffled):
        first_text, second_text = ", ".join(map(str, one)), ", ".join(f"{n}.0" for n in second)
        lists = status(first_text, second_text)
        tuples = status(f"({first_text})", f"({second_text})")
        sets = status(f"\\{{{first_text}\\}}", f"\\{{{second_text}\\}}")
        assert (lists == "correct") is (Counter(one) == Counter(second)), (one, second)
        assert (tuples == "correct") is (one == second), (one, second)
        assert (sets == "correct") is (set(one) == set(second)), (one, second)


@quick
@given(st.integers(-(10**40), 10**40), st.integers(1, 10**20), st.integers(-2, 2))
def test_rationals_are_judged_as_by_fractions(above, below, change):
    gold, other = f"\\frac{{{above}}}{{{below}}}", Fraction(above + change, below)
    assert status(str(other), gold) == ("wrong" if change else "correct")


@quick
@given(st.integers(0, 10**12), st.integers(2, 10), st.integers(0, 1))
def test_bases_are_judged_by_value(number, base, change):
    digits, rest = "", number
    while rest or not digits:
        digits, rest = str(rest % base) + digits, rest // base
    assert status(f"{digits}_{{{base}}}", str(number + change)) == (
        "wrong" if change else "correct"
    )


TOKENS = [
    *"0123456789xyabein+-*/^_=<>(){}[]|!,.:;%$ &~'\"\\±≤√π∞½²−°",
    *("\\frac", "\\sqrt", "\\pm", "\\cup", "\\text{", "\\left(", "\\right)", "\\pi", "\\infty"),
    *("\\sin", "\\ln", "\\le", "\\{", "\\}", "\\%", "\\$", "\\overline{", "\\cdot", "\\in", "\\\\"),
    *("12", "1,000", "0.5", "{2}", "^{2}", "_5", "cm", " m", " or ", " and ", "x=", "(1,2)", "yes"),
]
mathematical = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)


@settings(quick, max_examples=1500)
@given(mathematical, mathematical)
def test_order_does_not_matter_for_arbitrary_formulas(answer, gold):
    status(answer, gold)
    assert math_equal(answer, answer).status != "wrong", answer


@settings(quick, max_examples=500)
@given(st.text(max_size=20), st.text(max_size=20))
def test_order_does_not_matter_for_arbitrary_text(answer, gold):
    status(answer, gold)
    assert math_equal(answer, answer).status != "wrong", answer
