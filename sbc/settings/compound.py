"""Kinds of settings made of other kinds: lists, alternatives, numbered series; and the kind that is ignored."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sbc.settings.kinds import Kind

T = TypeVar("T")


class List(Kind[tuple[T, ...]]):
    """A list of values of one kind; as a text they are separated by commas. `maximum` counts elements."""

    def __init__(self, inner: Kind[T], *, maximum: int = 10_000) -> None:
        self.inner, self.maximum = inner, maximum

    @property
    def words(self) -> str:
        return f"a list, each {self.inner.words}"

    def read(self, raw: object) -> tuple[T, ...]:
        if not isinstance(raw, list):
            raise self.refuse(raw)
        self._count(raw)
        return tuple(self.inner.read(each) for each in raw)

    def read_text(self, text: str) -> tuple[T, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        self._count(parts)
        return tuple(self.inner.read_text(part) for part in parts)

    def _count(self, parts: Sequence[object]) -> None:
        if len(parts) > self.maximum:
            raise ValueError(f"has more than {self.maximum} elements")

    def show(self, value: Any) -> str:
        return ", ".join(self.inner.show(each) for each in value)

    def toml(self, value: Any) -> str:
        return "[" + ", ".join(self.inner.toml(each) for each in value) + "]"


class Either(Kind[T]):
    """The first of several kinds that takes the value; order them from the strictest."""

    def __init__(self, *kinds: Kind[T]) -> None:
        self.kinds = kinds

    @property
    def words(self) -> str:
        return ", or ".join(kind.words for kind in self.kinds)

    def read(self, raw: object) -> T:
        for kind in self.kinds:
            try:
                return kind.read(raw)
            except ValueError:
                continue
        raise self.refuse(raw)

    def read_text(self, text: str) -> T:
        for kind in self.kinds:
            try:
                return kind.read_text(text)
            except ValueError:
                continue
        raise self.refuse(text)

    def _of(self, value: object) -> Kind[T]:
        """The kind that shows this value so that it reads back as itself."""
        for kind in self.kinds:
            try:
                if kind.read_text(kind.show(value)) == value:
                    return kind
            except (ValueError, TypeError):
                continue
        return self.kinds[-1]

    def show(self, value: Any) -> str:
        return self._of(value).show(value)

    def toml(self, value: Any) -> str:
        return self._of(value).toml(value)


class Numbered(Kind[Mapping[int, T]]):
    """A series of keys: `app`, `app1`, `app2` … up to `maximum`; the value maps the number (0 for the bare key)."""

    def __init__(self, inner: Kind[T], maximum: int) -> None:
        self.inner, self.maximum = inner, maximum

    @property
    def words(self) -> str:
        return f"{self.inner.words}; the key may end in a number from 1 to {self.maximum}"

    def read(self, raw: object) -> Mapping[int, T]:
        return {0: self.inner.read(raw)}

    def read_text(self, text: str) -> Mapping[int, T]:
        return {0: self.inner.read_text(text)}

    def number(self, key: str, name: str) -> int | None:
        """Which element of the series `name` this key is, or None when it is not one."""
        digits = key.removeprefix(name)
        if not key.startswith(name) or (digits and not (digits.isascii() and digits.isdigit() and digits[0] != "0")):
            return None
        number = int(digits or 0)
        return number if number <= self.maximum else None

    def show(self, value: Any) -> str:
        return ", ".join(f"{number}={self.inner.show(each)}" for number, each in sorted(value.items()))

    def toml(self, value: Any) -> str:
        return self.inner.toml(value[0]) if 0 in value else '""'


class Ignored(Kind[None]):
    """A setting that is accepted, whatever its value, and has no effect any more; `reason` is told to the operator."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @property
    def words(self) -> str:
        return "anything, without effect"

    def read(self, raw: object) -> None:
        return None

    def show(self, value: Any) -> str:
        return ""
