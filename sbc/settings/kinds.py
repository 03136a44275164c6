"""What the value of a setting may be: each kind reads a TOML value or a text and says what is wrong with it.

`read(raw)` takes what `tomllib` gives, `read_text(text)` what stands in the SQL settings table or comes from the
console; both return the value or raise ValueError with the end of a sentence for the operator. `show(value)` is the
text that `read_text` takes back; `toml(value)` the same as TOML; `words` describes the kind in the reference.
"""

import json
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Kind(Generic[T_co]):
    """One kind of value. Rooms may derive their own: give `words` and `read`, and `show` where str() will not do."""

    @property
    def words(self) -> str:
        """What may stand there, for the reference page and for error messages."""
        raise TypeError(f"{type(self).__name__} does not say what it takes")

    def read(self, raw: object) -> T_co:
        """The value of a TOML value, or ValueError."""
        raise TypeError(f"{type(self).__name__} does not say how it reads")

    def read_text(self, text: str) -> T_co:
        """The value of a text that is not TOML (settings table, console, API), or ValueError."""
        return self.read(text.strip())

    def show(self, value: Any) -> str:
        """The value as `read_text` takes it back."""
        return str(value)

    def toml(self, value: Any) -> str:
        """The value as it stands in the configuration file."""
        return json.dumps(self.show(value), ensure_ascii=False)

    def hides(self, value: Any) -> bool:
        """Whether this value of a secret setting must be kept from sight; one that is not set need not."""
        return bool(value)

    def refuse(self, raw: object) -> ValueError:
        """The error for a value that is not of this kind at all."""
        return ValueError(f"must be {self.words}, not {_seen(raw)}")


def _seen(raw: object) -> str:
    """A wrong value as the operator wrote it, cut to a readable length."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, Mapping):
        return "a table"
    if isinstance(raw, list):
        return "a list"
    text = json.dumps(raw, ensure_ascii=False) if isinstance(raw, str) else str(raw)
    return text if len(text) <= 60 else text[:57] + "..."


def _bounds(minimum: float | None, maximum: float | None, unit: str = "") -> str:
    if minimum is not None and maximum is not None:
        return (
            f" from {minimum:g}{unit} to {maximum:g}{unit}" if maximum < 1e6 else f" from {minimum:g} to {maximum:.0f}"
        )
    if minimum is not None:
        return f" of at least {minimum:g}{unit}"
    return f" of at most {maximum:g}{unit}" if maximum is not None else ""


class Flag(Kind[bool]):
    """`off` or `on`; also true and false, 0 and 1."""

    @property
    def words(self) -> str:
        return "off or on"

    _READ: Mapping[object, bool] = {"off": False, "on": True, 0: False, 1: True, "0": False, "1": True}

    def read(self, raw: object) -> bool:
        if isinstance(raw, float | list | dict):
            raise self.refuse(raw)
        found = self._READ.get(raw.lower() if isinstance(raw, str) else raw)
        if found is None:
            raise self.refuse(raw)
        return found

    def show(self, value: Any) -> str:
        return "on" if value else "off"


class Words(Kind[str]):
    """One of a few words; each may have the number by which it was known before.

    `refused` maps words that are known but have no meaning any more (old numbers may lead to them) to the reason.
    """

    def __init__(self, numbers: Mapping[str, int | None], *, refused: Mapping[str, str] | None = None) -> None:
        self.numbers = dict(numbers)
        self.refused = dict(refused or {})
        self._by_number = {number: word for word, number in self.numbers.items() if number is not None}

    @property
    def words(self) -> str:
        usable = [word for word in self.numbers if word not in self.refused]
        return f"{', '.join(usable[:-1])} or {usable[-1]}" if len(usable) > 1 else usable[0]

    def read(self, raw: object) -> str:
        word = self._word(raw)
        if word is None:
            raise self.refuse(raw)
        if word in self.refused:
            raise ValueError(f'"{word}" is refused: {self.refused[word]}')
        return word

    def _word(self, raw: object) -> str | None:
        if isinstance(raw, bool):
            raw = "on" if raw else "off"
        if isinstance(raw, int):
            return self._by_number.get(raw)
        if not isinstance(raw, str):
            return None
        if raw.lower() in self.numbers or raw.lower() in self.refused:
            return raw.lower()
        try:
            return self._by_number.get(int(raw))
        except ValueError:
            return None


class Integer(Kind[int]):
    """A whole number within bounds."""

    def __init__(self, minimum: int | None = None, maximum: int | None = None) -> None:
        self.minimum, self.maximum = minimum, maximum

    @property
    def words(self) -> str:
        return "a whole number" + _bounds(self.minimum, self.maximum)

    def read(self, raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise self.refuse(raw)
        if (self.minimum is not None and raw < self.minimum) or (self.maximum is not None and raw > self.maximum):
            raise self.refuse(raw)
        return raw

    def read_text(self, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise self.refuse(text) from None
        return self.read(number)

    def toml(self, value: Any) -> str:
        return str(value)


class Number(Kind[float]):
    """A number, with or without decimals, within bounds."""

    def __init__(self, minimum: float | None = None, maximum: float | None = None) -> None:
        self.minimum, self.maximum = minimum, maximum

    @property
    def words(self) -> str:
        return "a number" + _bounds(self.minimum, self.maximum)

    def read(self, raw: object) -> float:
        if not isinstance(raw, int | float) or isinstance(raw, bool) or raw != raw:
            raise self.refuse(raw)
        if (self.minimum is not None and raw < self.minimum) or (self.maximum is not None and raw > self.maximum):
            raise self.refuse(raw)
        return float(raw)

    def read_text(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise self.refuse(text) from None
        return self.read(number)

    def show(self, value: Any) -> str:
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)

    def toml(self, value: Any) -> str:
        return self.show(value)


class Duration(Kind[float]):
    """A time span in seconds: `"40s"`, `"1.5h"`, `"30d"`, or a plain number in `default_unit`."""

    UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

    def __init__(self, minimum: float = 0.0, maximum: float | None = None, *, default_unit: str = "s") -> None:
        self.minimum, self.maximum = minimum, maximum
        self.default_unit = default_unit

    @property
    def words(self) -> str:
        plain = {"s": "seconds", "d": "days", "h": "hours", "m": "minutes", "ms": "milliseconds"}[self.default_unit]
        bounds = _bounds(self.minimum or None, self.maximum, " s")
        return f'a time like "40s" or "30d" (a plain number means {plain}){bounds}'

    def read(self, raw: object) -> float:
        if isinstance(raw, str):
            return self.read_text(raw)
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            raise self.refuse(raw)
        return self._within(raw * self.UNITS[self.default_unit], raw)

    def read_text(self, text: str) -> float:
        written = text.strip().lower()
        number = written.rstrip("abcdefghijklmnopqrstuvwxyz ")
        unit = written[len(number) :].strip() or self.default_unit
        try:
            return self._within(float(number) * self.UNITS[unit], text)
        except (ValueError, KeyError):
            raise self.refuse(text) from None

    def _within(self, seconds: float, raw: object) -> float:
        # The comparison is written so that nan fails it.
        if not self.minimum <= seconds <= (float("1e12") if self.maximum is None else self.maximum):
            raise self.refuse(raw)
        return float(seconds)

    def show(self, value: Any) -> str:
        for unit in ("d", "h", "m", "s"):
            if value and value % self.UNITS[unit] == 0:
                return f"{value / self.UNITS[unit]:.0f}{unit}"
        return f"{value:g}s"


class Text(Kind[str]):
    """Any text without control characters; `required` refuses the empty one."""

    def __init__(self, *, required: bool = False, maximum: int = 4096) -> None:
        self.required, self.maximum = required, maximum  # maximum in characters: no setting is a document

    @property
    def words(self) -> str:
        return "a text that is not empty" if self.required else "a text"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or (self.required and not raw):
            raise self.refuse(raw)
        if len(raw) > self.maximum:
            raise ValueError(f"is longer than {self.maximum} characters")
        if any(ord(char) < 32 or ord(char) == 127 for char in raw):
            raise ValueError("must not contain control characters")
        return raw

    def read_text(self, text: str) -> str:
        return self.read(text)  # blanks of a text are its own


class FilePath(Text):
    """The path of a file or directory, relative to the working directory; nothing is opened here."""

    @property
    def words(self) -> str:
        return "the path of a file"
