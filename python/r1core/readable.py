"""Numbers and untrusted text, made fit for people to read.

A completion is data: control characters in it are shown, never obeyed by a terminal.
"""

from __future__ import annotations

LONGEST_TEXT = 1500  # characters shown of a prompt or completion; the middle is cut


def visible(text: str) -> str:
    """Replace control characters but newline and tab by symbols: a terminal would obey them."""
    return "".join(symbol(character) for character in text)


def symbol(character: str) -> str:
    """Return the character, or a picture of it if it controls a terminal."""
    code = ord(character)
    if code < 0x20 and character not in "\n\t":
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if 0x7F <= code < 0xA0 else character


def shorten(text: str, longest: int = LONGEST_TEXT) -> str:
    """Cut the middle out of a long text and say how much was cut."""
    if len(text) <= longest:
        return text
    head, tail = longest * 2 // 3, longest // 3
    return f"{text[:head]} … [{len(text) - head - tail} characters] … {text[-tail:]}"


def clock_text(seconds: float) -> str:
    """Return "0:45", "12:03" or "2:30:00"."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def short_number(value: float) -> str:
    """Return "830", "8.1k" or "2.4M"."""
    for scale, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * scale:  # what would round to 1000 of the smaller unit
            return f"{value / scale:.1f}{suffix}"
    return f"{value:.0f}"
