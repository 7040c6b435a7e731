"""Writes csrc/rewards/script_table.inc from Python's Unicode database.

    python build_support/make_script_table.py            # rewrites the file
    python build_support/make_script_table.py --check    # fails if it would change

A letter's script is the first word of its Unicode name ("CYRILLIC SMALL LETTER A"); that is all the
rewards need, and it asks for no file that Python does not bring.
"""

import sys
import unicodedata
from pathlib import Path

TABLE = Path(__file__).parents[1] / "csrc/rewards/script_table.inc"

SCRIPTS = {  # first word of a name -> enumerator of r1::Script
    name.upper(): name
    for name in (
        "latin greek cyrillic armenian georgian hebrew arabic devanagari bengali gurmukhi gujarati "
        "oriya tamil telugu kannada malayalam sinhala thai lao myanmar khmer tibetan mongolian "
        "ethiopic hangul hiragana katakana"
    ).split()
} | {"CJK": "han", "IDEOGRAPHIC": "han"}
BLANK_LETTERS = {0x115F, 0x1160, 0x3164, 0xFFA0}  # Hangul fillers: letters that show nothing
SYMBOLS = (  # letters that stand for quantities or are typographic variants
    (0x00AA, 0x00AA),
    (0x00B5, 0x00B5),
    (0x00BA, 0x00BA),
    (0x2100, 0x214F),
    (0x1D400, 0x1D7FF),
    (0x1EE00, 0x1EEFF),
)


def script(code):
    """Return the enumerator of r1::Script for a code point."""
    character = chr(code)
    category = unicodedata.category(character)
    if category == "Cf" or code in BLANK_LETTERS:
        return "hidden"
    if category[0] == "M":
        return "mark"
    if category[0] != "L" or any(first <= code <= last for first, last in SYMBOLS):
        return "none"
    name = unicodedata.name(character, "")
    words = name.removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split()
    # A modifier without a script, as the long-vowel mark of kana, belongs to the letter before it.
    return SCRIPTS.get(words[0] if words else "", "mark" if category == "Lm" else "other")


def ranges():
    """Return [first, last, script] without the "none" ones; holes never assigned are closed."""
    found = []
    hole = False  # only unassigned code points since the last range
    for code in range(0x80, sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cn", "Cs", "Co"):
            continue
        kind = script(code)
        if kind == "none":
            hole = False
        elif hole and found and found[-1][2] == kind:
            found[-1][1] = code
        else:
            found.append([code, code, kind])
            hole = True
    return found


def table():
    """Return the file's text."""
    lines = [
        "// Made by build_support/make_script_table.py from Unicode "
        f"{unicodedata.unidata_version}; do not edit.",
        "// clang-format off",
    ]
    row = ""
    for first, last, kind in ranges():
        entry = f"{{0x{first:X}, 0x{last:X}, Script::{kind}}},"
        if len(row) + 1 + len(entry) > 100:
            lines.append(row)
            row = ""
        row = f"{row} {entry}" if row else entry
    return "\n".join([*lines, row, "// clang-format on", ""])


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(TABLE.read_text() != table())
    TABLE.write_text(table())
