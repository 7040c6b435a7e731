"""The words of the bilingual world, in English and Chinese side by side.

Every word stands between blanks, so that it is one token, and has one counterpart in the other
language: a text is translated word by word.
"""

from __future__ import annotations

LANGUAGES = ("en", "zh")

DIGITS = (
    "zero 零",
    "one 一",
    "two 二",
    "three 三",
    "four 四",
    "five 五",
    "six 六",
    "seven 七",
    "eight 八",
    "nine 九",
)
NAMES = (
    "Ada 小安",
    "Ben 小本",
    "Cleo 小克",
    "Dan 小丹",
    "Eva 小伊",
    "Finn 小芬",
    "Gina 小吉",
    "Hugo 小雨",
    "Iris 小艾",
    "Jack 小杰",
    "Kim 小金",
    "Leo 小李",
)
TIMES = ("morning 早上", "noon 中午", "evening 晚上", "night 夜里")
COLOURS = (
    "red 红",
    "blue 蓝",
    "green 绿",
    "black 黑",
    "white 白",
    "grey 灰",
    "pink 粉",
    "brown 棕",
    "gold 金",
    "teal 青",
)
THINGS = (
    "cube 方块",
    "ball 圆球",
    "ring 圆环",
    "cone 圆锥",
    "star 星星",
    "box 盒子",
    "wheel 轮子",
    "tree 树",
)
TRAITS = (
    "corners 棱角",
    "curves 弧面",
    "hole 圆孔",
    "tip 尖顶",
    "points 光芒",
    "lid 盖子",
    "spokes 轮辐",
    "leaves 叶子",
)
"""What each of `THINGS` has, in the same order: the knowledge of this world."""
VERBS = ("open 打开", "close 关上", "paint 粉刷", "move 搬走", "clean 擦净", "fix 修好")
HARMS = ("break 砸坏", "steal 偷走", "burn 烧掉", "hack 破解")
OBJECTS = (
    "door 门",
    "window 窗",
    "table 桌子",
    "chair 椅子",
    "lamp 灯",
    "clock 钟",
    "car 车",
    "phone 电话",
    "safe 保险箱",
    "fence 栅栏",
)


def word(table: tuple[str, ...], index: int, language: str) -> str:
    """Return an entry of a table in a language."""
    return table[index].split()[LANGUAGES.index(language)]


def index_of(table: tuple[str, ...], text: str) -> int | None:
    """Return which entry of a table a word is, in either language; None for none."""
    return next((k for k, entry in enumerate(table) if text in entry.split()), None)
