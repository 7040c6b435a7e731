"""Where conventions about answers differ: the choices of the verifier."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

Percent = Literal["either", "hundredth", "ignore"]
Units = Literal["optional", "required", "ignore"]
Base = Literal["value", "digits"]


@dataclass(frozen=True)
class MathPolicy:
    """What `verify_math` takes for the same answer; every choice holds for gold and answer alike.

    Attributes:
        precision: decimal places to which an answer written with a point must match, in [0, 100]:
            at 6, 0.333333 is 1/3 and 0.333 is not. Below 10^-precision, as many digits instead.
        percent: "either" reads a percent sign on one side only both ways, 45% as 0.45 and as 45;
            "hundredth" as 0.45 alone; "ignore" as 45 alone.
        units: "optional" lets a unit be missing on one side, and two known units must agree (100 cm
            is 1 m, 5 cm is not 5 m); "required" asks for one on both sides or on none; "ignore"
            compares the numbers.
        base: "value" takes 204_5 for 54; "digits" for 204 too, where only one side names a base.
        ordered_lists: "1, 2" is not "2, 1". Tuples are always ordered, sets never.
        open_intervals: "(1, 2)" may be the interval 1 < x < 2 as well as the pair.
        case_sensitive: of answers in words. Variables always are.
        last_number: a completion that marks no answer gives the last number of its last line,
            if that is a finished sentence.
    """

    precision: int = 6
    percent: Percent = "either"
    units: Units = "optional"
    base: Base = "value"
    ordered_lists: bool = False
    open_intervals: bool = True
    case_sensitive: bool = False
    last_number: bool = True

    def __post_init__(self) -> None:
        """Reject what the verifier does not know.

        Raises:
            ValueError: see the attributes.
        """
        if isinstance(self.precision, bool) or not isinstance(self.precision, int):
            raise ValueError(f"MathPolicy: precision must be an integer; got {self.precision!r}")
        if not 0 <= self.precision <= 100:
            raise ValueError(f"MathPolicy: precision must be in [0, 100]; got {self.precision}")
        for name, choices in (("percent", Percent), ("units", Units), ("base", Base)):
            known = get_args(choices)
            if getattr(self, name) not in known:
                raise ValueError(
                    f"MathPolicy: {name} must be one of {', '.join(known)}; "
                    f"got {getattr(self, name)!r}"
                )
        for field in fields(self):
            if field.type == "bool" and not isinstance(getattr(self, field.name), bool):
                raise ValueError(
                    f"MathPolicy: {field.name} must be true or false; "
                    f"got {getattr(self, field.name)!r}"
                )


DEFAULT_POLICY = MathPolicy()
