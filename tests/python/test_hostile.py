"""Inputs made to hang, crash or exhaust a verifier: each gets a verdict, soon and in little."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

STATUSES = {"correct", "wrong", "no_answer", "unparsed_answer", "unparsed_gold", "over_limit"}

SECONDS = 2.0
MEGABYTES = 256


def nested(left, right, depth, core="x"):
    """Return `core` inside `depth` pairs."""
    return left * depth + core + right * depth


def joined(pattern, count, glue):
    """Return the pattern with n = 0..count-1 put in for %d, glued together."""
    return glue.join(pattern.replace("%d", str(n)) for n in range(count))


def matrix(rows, entry="%d"):
    """Return a square matrix of many entries."""
    row = joined(entry, rows, "&")
    return "\\begin{pmatrix}" + "\\\\".join([row] * rows) + "\\end{pmatrix}"


def pairs():
    """Return {name: (answer, gold)}."""
    k100, mega = 100_000, 1_000_000
    shuffled = ",".join(str(n * 7 % 3001) for n in range(1, 3001))
    letters = [f"x_{{{n}}}" for n in range(400)]
    return {
        # powers and factorials
        "tower of 2": ("2^{" * 60 + "2" + "}" * 60, "1"),
        "tower of 9 without braces": ("9^9^9^9^9^9^9", "9^9^9^9^9^9^8"),
        "tower of brackets": ("5^(5^(5^(5^5)))", "5^(5^(5^(5^4)))"),
        "10^10^10": ("10^{10^{10}}", "10^{10^{10}}+1"),
        "negative tower": ("2^{-2^{2^{2^{2^2}}}}", "0"),
        "tower of square roots": ("\\sqrt{" * 60 + "2" + "}" * 60, "1"),
        "factorial of factorial": ("((10^9)!)!", "((10^9)!)!+1"),
        "factorials in a row": ("9" + "!" * 1000, "9"),
        "big factorials": ("1000000!/999999!", "1000000"),
        "factorial of a big number": ("(10^{4000})!", "1"),
        "big binomial": ("\\binom{10^9}{10^8}", "\\binom{10^9}{10^8-1}"),
        "many powers": ("+".join(f"{n}^{{4000}}" for n in range(2, 300)), "1"),
        "big modulus": ("7^{10^{100}} \\bmod 13", "1"),
        "power of a fraction": ("(1.0000001)^{10^{12}}", "e"),
        "exponent of E notation": ("1e999999999", "1e-999999999"),
        "long exponent": ("1e" + "9" * 5000, "1"),
        # nesting
        "braces": (nested("{", "}", k100), "x"),
        "open braces": ("{" * k100, "x"),
        "closing braces": ("}" * k100, "x"),
        "fractions": ("\\frac{" * k100, "x"),
        "closed fractions": (nested("\\frac{", "}{2}", 20_000), "x"),
        "roots": (nested("\\sqrt{", "}", k100), "x"),
        "brackets": (nested("(", ")", k100), "x"),
        "left and right": (nested("\\left(", "\\right)", 20_000), "x"),
        "sets": (nested("\\{", "\\}", 20_000), "x"),
        "bars": ("|" * k100, "x"),
        "bars around numbers": ("|1" * 3000 + "|" * 3000, "1"),
        "minus signs": ("-" * k100 + "1", "1"),
        "powers of x": ("x^" * k100 + "x", "x"),
        "subscripts": ("x_" * k100 + "x", "x"),
        "sines": (nested("\\sin(", ")", 1000), "x"),
        "sines of a number": (nested("\\sin(", ")", 50, "1"), nested("\\sin(", ")", 51, "1")),
        "logarithms": (nested("\\ln(", ")", 60, "10^{10^{100}}"), "1"),
        "exponentials": ("e^{" * 40 + "1" + "}" * 40, "e^{" * 39 + "1" + "}" * 39),
        "floors": (nested("\\lfloor ", "\\rfloor", 500, "\\pi"), "3"),
        "continued fraction": ("1+\\frac{1}{" * 300 + "1" + "}" * 300, "\\frac{1+\\sqrt{5}}{2}"),
        # length
        "digits": ("7" * mega, "7" * (mega - 1) + "8"),
        "digits behind the point": ("0." + "3" * mega, "1/3"),
        "thousands": ("1" + ",000" * k100, "1"),
        "sum of ones": ("1+" * (mega // 2) + "1", str(mega // 2 + 1)),
        "products of ones": ("1*" * (mega // 2) + "1", "1"),
        "blanks": (" " * mega + "1", "1"),
        "letters": ("abc" * k100, "cba" * k100),
        "backslashes": ("\\" * k100, "1"),
        "dollars": ("$" * k100, "1"),
        "percent signs": ("5" + "%" * k100, "5"),
        "commas": ("," * k100, "1"),
        "equals": ("=" * k100, "1"),
        "chain of equals": ("1=" * 50_000 + "1", "1"),
        "points": ("1" + "." * k100, "1"),
        "text commands": (nested("\\text{", "}", 20_000), "x"),
        "overlines": (nested("0.\\overline{", "}", 5_000, "3"), "1/3"),
        "long period": ("0.\\overline{" + "142857" * 5_000 + "}", "1/7"),
        # containers
        "list": (joined("%d", 20_000, ","), joined("%d", 19_999, ",")),
        "permuted set": ("\\{" + shuffled + "\\}", "\\{" + joined("%d", 3001, ",") + "\\}"),
        "permuted radicals": (joined("\\sqrt{%d}", 400, ","), joined("\\sqrt{1+%d}", 400, ",")),
        "unlike letters": (joined("x_{%d}", 1500, ","), joined("y_{%d}", 1500, ",")),
        "equal elements": (",".join(["\\sqrt{2}"] * 2000), ",".join(["2/\\sqrt{2}"] * 2000)),
        "union": (joined("(%d.2,%d.8)", 2000, "\\cup "), joined("(%d.2,%d.9)", 2000, "\\cup ")),
        "overlapping union": (joined("(0,%d)", 2000, "\\cup "), "(0,1999)"),
        "matrix": (matrix(60), matrix(60)),
        "matrix of letters": (matrix(40, "x+%d"), matrix(40, "%d+x")),
        "determinant": (matrix(40, "x_{%d}").replace("pmatrix", "vmatrix"), "0"),
        "tuples": (nested("(1,", ")", 3000), "1"),
        "signs": (joined("\\pm\\sqrt{%d}", 40, "+"), joined("\\pm\\sqrt{1+%d}", 40, "+")),
        "named values": (joined("x_{%d}=1", 2000, ","), joined("x_{%d}=2", 2000, ",")),
        "ors": (joined("x=%d", 3000, " or "), joined("x=%d", 2999, " or ")),
        # algebra
        "huge degree": ("x^{10^{100}}", "x^{10^{100}+1}"),
        "high power": ("(x+1)^{10000}", "(x+1)^{9999}(1+x)"),
        "power of many": ("(a+b+c+d+e+f+g+h)^{60}", "(h+g+f+e+d+c+b+a)^{60}"),
        "product": (joined("(x+%d)", 500, ""), joined("(x+%d)", 499, "")),
        "product of powers": (joined("(x+%d)^{99}", 200, ""), "1"),
        "variables": ("+".join(letters), "+".join(reversed(letters))),
        "product of variables": ("".join(letters), "".join(reversed(letters))),
        "square of variables": ("(" + "+".join(letters) + ")^2", "1"),
        "degenerate radicals": (joined("\\sqrt{%d}", 200, "+"), joined("\\sqrt{%d}", 199, "+")),
        "nested radicals": (nested("\\sqrt{2+", "}", 100, "2"), "2"),
        "near integer": ("e^{\\pi\\sqrt{163}}", "262537412640768744"),
        "cancellation": ("(\\sqrt{2}-1)^{3000}", "0"),
        "sine of a tower": ("\\sin(10^{10^{10}})", "\\cos(10^{10^{10}})"),
        "long sum": ("\\sum_{k=1}^{10^9} k^2", "1"),
        "nested sums": ("\\sum_{k=1}^{999}" * 9 + " k", "1"),
        "endless sum": ("\\sum_{k=1}^{\\infty} \\frac{1}{k^2}", "\\frac{\\pi^2}{6}"),
        "long product": ("\\prod_{k=1}^{10^6} (x+k)", "1"),
        "inequality of high degree": ("(x-1)^{99}(x-2)^{77}>0", "x>2"),
        "gcd of big numbers": (f"\\gcd({'9' * 1200},{'7' * 1200})", "1"),
        # bytes
        "lone surrogates": ("\ud800" * 1000, "\udfff"),
        "surrogate in a number": ("4\ud8002", "42"),
        "zeros": ("\0" * 1000, "\0"),
        "zero in a number": ("4\x002", "42"),
        "every control character": ("".join(map(chr, range(32))), "1"),
        "accents": ("x" + "\u0301" * k100, "x"),
        "right to left": ("\u202e42", "24"),
        "emoji": ("\U0001f600" * 10_000, "1"),
        "unknown commands": ("\\a" * 20_000, "1"),
        "environment left open": ("\\begin{pmatrix}" * 5000, "1"),
        "format strings": ("%s%n{0.__class__}" * 1000, "1"),
        "code": ("__import__('os').system('exit 1')", "1"),
    }


def texts():
    """Return {name: completion} for the search for an answer."""
    return {
        "boxes": "\\boxed{" * 100_000,
        "closed boxes": nested("\\boxed{", "}", 50_000),
        "many boxes": "\\boxed{1}" * 100_000,
        "many joined boxes": "\\boxed{1} and " * 50_000,
        "bare boxes": "\\boxed" * 100_000,
        "tags": "<answer>" * 100_000,
        "closed tags": "<answer>1</answer>" * 50_000,
        "thoughts": "<think>" * 100_000,
        "closing thoughts": "</think>" * 100_000,
        "announcements": "The answer is " * 50_000,
        "hashes": "#" * 500_000,
        "hash lines": "#### 1\n" * 100_000,
        "newlines": "\n" * 1_000_000,
        "stars": "**" * 300_000,
        "dollars": "$1$ " * 100_000,
        "numbers": "1 " * 300_000,
    }


def measure():
    """Run every call, report each that is slow or has no verdict; exit 1 if any."""
    import resource  # noqa: PLC0415
    import time  # noqa: PLC0415

    from r1core.rewards import math_equal, verify_math  # noqa: PLC0415

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    calls = {}
    for name, (answer, gold) in pairs().items():
        calls[name] = lambda a=answer, g=gold: math_equal(a, g).status
        calls[name + " as gold"] = lambda a=answer, g=gold: math_equal(g, a).status
        calls[name + " and itself"] = lambda a=answer: math_equal(a, a).status
    for name, text in texts().items():
        calls["text of " + name] = lambda t=text: verify_math([t], ["1"], threads=1)[0].status
        calls["gold of " + name] = lambda t=text: verify_math(["1"], [t], threads=1)[0].status
    before, rows = peak(), []
    for name, call in calls.items():
        print(f"start {name}", flush=True)  # names the culprit of a crash or a hang
        held, start = peak(), time.perf_counter()
        status = call()
        rows.append((time.perf_counter() - start, peak() - held, name, status))
    grown = peak() - before
    rows.sort(reverse=True)
    faults = [row for row in rows if row[0] >= SECONDS or row[3] not in STATUSES]
    print(f"{len(rows)} calls, memory grew by {grown:.0f} MB; the slowest:")
    for seconds, megabytes, name, status in rows[:10]:
        print(f"  {seconds * 1e3:8.1f} ms {megabytes:5.0f} MB  {name}: {status}")
    for seconds, _, name, status in faults:
        print(f"FAULT {name}: {status} after {seconds:.2f} s")
    sys.exit(bool(faults) or grown > MEGABYTES)


def test_statuses_are_those_of_the_verifier():
    from r1core.rewards.verify import Status  # noqa: PLC0415

    assert set(get_args(Status)) == STATUSES


def test_hostile_inputs_cost_little():
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    try:
        done = subprocess.run(
            [sys.executable, Path(__file__), "measure"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail("hangs in: " + late.stdout.decode().splitlines()[-1])
    lines = done.stdout.splitlines()
    report = "\n".join(line for line in lines if not line.startswith("start "))
    print(report)
    assert done.returncode == 0, report + f"\nlast: {lines[-1:]}\n{done.stderr[-2000:]}"


if __name__ == "__main__":
    measure()
