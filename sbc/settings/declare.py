"""How a room declares its settings: a frozen dataclass, one `setting(...)` a field, `@section` on top.

    @section("registrar", doc="Registrations")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class RegistrarSettings:
        refresh_rate: int = setting(200, Integer(1, 100_000), doc="upper refreshes started per second at most")

`array=True` declares the elements of `[[name]]`; a dotted name (`push.app`, `push.remove_on`) a table inside another.
A section may have a method `problems(self) -> Iterable[tuple[str, str]]` that yields (key, message) for what is wrong
between its settings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar, overload

from sbc.settings.compound import Numbered
from sbc.settings.kinds import Kind

T = TypeVar("T")
C = TypeVar("C", bound=type)

_INFO = "__section__"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declared setting. `shown` is its default in words where the value itself would mislead (host name)."""

    name: str
    kind: Kind[Any]
    default: Any
    factory: Callable[[], Any] | None
    doc: str
    aliases: tuple[str, ...]
    secret: bool
    restart: bool
    shown: str | None

    @property
    def required(self) -> bool:
        """Whether the operator must give it."""
        return self.default is MISSING and self.factory is None

    def default_value(self) -> Any:
        """The value when nothing is given; only for settings that are not required."""
        return self.factory() if self.factory is not None else self.default

    def matches(self, key: str) -> tuple[str, int] | None:
        """(the spelling, its number) when `key` is this setting's name or alias, a numbered one included."""
        for name in (self.name, *self.aliases):
            if key == name:
                return name, 0
            if isinstance(self.kind, Numbered) and (number := self.kind.number(key, name)) is not None:
                return name, number
        return None


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """What `@section` noted about a class."""

    name: str
    cls: type
    array: bool
    doc: str
    settings: tuple[Declaration, ...]

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self.settings)


@overload
def setting(
    default: T, kind: Kind[T], *, doc: str, aliases: Sequence[str] = (), secret: bool = False, restart: bool = False,
    shown: str | None = None,
) -> T: ...  # fmt: skip
@overload
def setting(
    *, kind: Kind[T], doc: str, aliases: Sequence[str] = (), secret: bool = False, restart: bool = False,
    factory: Callable[[], T] | None = None, shown: str | None = None,
) -> T: ...  # fmt: skip
def setting(
    default: Any = MISSING,
    kind: Kind[Any] | None = None,
    *,
    doc: str,
    aliases: Sequence[str] = (),
    secret: bool = False,
    restart: bool = False,
    factory: Callable[[], Any] | None = None,
    shown: str | None = None,
) -> Any:
    """Declare one setting: its default, its kind, one line for the reference, the other names it is known by.

    Without a default and a factory it is required. The value of a secret is never shown. `restart` marks what a reload
    cannot change. Wrong declarations raise TypeError at import: they are ours, not the operator's.
    """
    if kind is None:
        raise TypeError("a setting needs a kind")
    declaration = Declaration("", kind, default, factory, doc, tuple(aliases), secret, restart, shown)
    if declaration.required:
        return field(metadata={_INFO: declaration}, repr=not secret)
    if factory is not None:
        return field(default_factory=factory, metadata={_INFO: declaration}, repr=not secret)
    return field(default=default, metadata={_INFO: declaration}, repr=not secret)


def section(name: str, *, doc: str, array: bool = False) -> Callable[[C], C]:
    """Make a dataclass of settings the section `[name]`, or with `array` the elements of `[[name]]`."""

    def note(cls: C) -> C:
        declared = []
        for each in fields(cls):
            declaration = each.metadata.get(_INFO)
            if not isinstance(declaration, Declaration):
                raise TypeError(f"{cls.__name__}.{each.name} is not declared by setting()")
            declared.append(replace(declaration, name=each.name))
        setattr(cls, _INFO, SectionInfo(name, cls, array, doc, tuple(declared)))
        return cls

    return note


def section_info(cls: type) -> SectionInfo:
    """What was declared on a section class; TypeError when it is none."""
    info = cls.__dict__.get(_INFO)
    if not isinstance(info, SectionInfo):
        raise TypeError(f"{cls.__name__} is not a section of settings")
    return info
