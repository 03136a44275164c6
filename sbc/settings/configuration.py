"""The configuration as the rooms get it: one immutable instance of each section."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sbc.settings.compound import Ignored, Numbered
from sbc.settings.declare import Declaration, SectionInfo, section_info
from sbc.settings.mistakes import ConfigurationErrors, Mistake

T = TypeVar("T")

SECRET_SHOWN = "***"  # noqa: S105 -- what stands in place of a secret
TABLE = "settings table"  # where a mistake of an overlaid row is said to stand


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs between two configurations; `restart`: a running node cannot take it over."""

    name: str
    old: str
    new: str
    restart: bool


class Configuration:
    """`configuration[Class]` is the instance of a section, `configuration.each(Class)` those of a `[[…]]` section.

    `notices` are lines to log: settings that were accepted and have no effect.
    """

    __slots__ = ("_given", "_infos", "_made", "notices")

    def __init__(
        self,
        infos: Sequence[SectionInfo],
        given: Mapping[type, Sequence[Mapping[str, Any]]],
        notices: Sequence[str] = (),
    ) -> None:
        self._infos = tuple(infos)
        self._given = given
        self._made = {info.cls: tuple(info.cls(**values) for values in given[info.cls]) for info in infos}
        self.notices = tuple(notices)

    def __getitem__(self, cls: type[T]) -> T:
        if section_info(cls).array:
            raise TypeError(f"there may be many {cls.__name__}: use each()")
        only: T = self._made[cls][0]
        return only

    def each(self, cls: type[T]) -> tuple[T, ...]:
        """The instances of an array section in the order of the file; () when there are none."""
        return self._made[cls]

    def problems(self) -> Iterator[tuple[SectionInfo, int, str, str]]:
        """What the sections find wrong between their settings: (section, index, key, message)."""
        for info in self._infos:
            for index, instance in enumerate(self._made[info.cls]):
                check = getattr(instance, "problems", None)
                for key, message in check() if check is not None else ():
                    yield info, index, key, message

    def settings(self) -> Iterator[tuple[str, Declaration, Any]]:
        """(dotted name, declaration, value) of every setting that is not in an array section and has an effect."""
        for info in self._infos:
            if not info.array:
                for declaration in info:
                    if not isinstance(declaration.kind, Ignored):
                        yield (
                            f"{info.name}.{declaration.name}",
                            declaration,
                            getattr(self._made[info.cls][0], declaration.name),
                        )

    def shown(self) -> dict[str, str]:
        """Every setting with its value as text; secrets masked."""
        return {name: _shown(declaration, value) for name, declaration, value in self.settings()}

    def secrets(self) -> list[str]:
        """Names of the secret settings that are given: the file that holds them must be private."""
        return [
            f"{info.name}.{declaration.name}"
            for info in self._infos
            for values in self._given[info.cls]
            for declaration in info
            if declaration.secret and declaration.kind.hides(values.get(declaration.name))
        ]

    def overlaid(self, rows: Iterable[tuple[str, str]]) -> tuple["Configuration", list[Mistake]]:
        """This configuration with rows (name, value) of the SQL settings table laid over it.

        A row that is wrong is left out and returned as a mistake: a row must never keep a node from starting. Names may
        be dotted names or aliases.
        """
        given: dict[type, list[dict[str, Any]]] = {
            cls: [dict(one) for one in many] for cls, many in self._given.items()
        }
        mistakes = []
        taken: dict[tuple[type, str, int], str] = {}
        for name, text in sorted(rows):
            try:
                info, declaration, number = find(self._infos, name)
                value = read_text(declaration, text)
                if earlier := taken.get((info.cls, declaration.name, number)):
                    raise ValueError(f"is the same setting as {earlier}, which is given too")
                trial = dict(given[info.cls][0])
                if isinstance(declaration.kind, Numbered):
                    value = {**trial.get(declaration.name, {}), number: value[0]}
                trial[declaration.name] = value
                check = getattr(info.cls(**trial), "problems", None)
                for _key, message in check() if check is not None else ():
                    raise ValueError(message)
            except ValueError as error:
                mistakes.append(Mistake(TABLE, 0, name, str(error)))
                continue
            given[info.cls][0] = trial
            taken[info.cls, declaration.name, number] = name
        return Configuration(self._infos, given, self.notices), mistakes

    def checked(self, name: str, text: str) -> tuple[str, str]:
        """(dotted name, value in its usual spelling) of one setting given as text; ConfigurationErrors when wrong."""
        try:
            info, declaration, number = find(self._infos, name)
            value = read_text(declaration, text)
        except ValueError as error:
            raise ConfigurationErrors([Mistake(TABLE, 0, name, str(error))]) from None
        _, mistakes = self.overlaid([(name, text)])
        if mistakes:
            raise ConfigurationErrors(mistakes)
        if isinstance(declaration.kind, Numbered):
            return f"{info.name}.{declaration.name}{number or ''}", declaration.kind.inner.show(value[0])
        return f"{info.name}.{declaration.name}", declaration.kind.show(value)


def find(infos: Iterable[SectionInfo], name: str) -> tuple[SectionInfo, Declaration, int]:
    """The declaration that a dotted name or an alias means; ValueError when there is none that a table may hold."""
    table, _, key = name.rpartition(".")
    for info in infos:
        if info.array:
            continue
        for declaration in info:
            match = declaration.matches(key)
            if match is None:
                continue
            if table == info.name or (match[0] in declaration.aliases and inside(info.name, table)):
                if isinstance(declaration.kind, Ignored):
                    raise ValueError(f"has no effect: {declaration.kind.reason}")
                return info, declaration, match[1]
    raise ValueError("there is no such setting")


def inside(name: str, table: str) -> bool:
    """Whether section `name` is `table` or lies in it; the empty table holds everything."""
    return not table or name == table or name.startswith(f"{table}.")


def read_text(declaration: Declaration, text: str) -> Any:
    """The value of a text; the ValueError never shows a secret."""
    try:
        return declaration.kind.read_text(text)
    except ValueError as error:
        raise ValueError(f"must be {declaration.kind.words}" if declaration.secret else str(error)) from None


def changes(old: Configuration, new: Configuration) -> list[Change]:
    """What a reload changes, secrets masked; an array section that differs is one change that names its table."""
    before = {name: (declaration, value) for name, declaration, value in old.settings()}
    found = [
        Change(name, _shown(declaration, before[name][1]), _shown(declaration, value), declaration.restart)
        for name, declaration, value in new.settings()
        if name in before and before[name][1] != value
    ]
    for info in new._infos:
        if info.array and old.each(info.cls) != new.each(info.cls):
            restart = any(declaration.restart for declaration in info)
            found.append(
                Change(info.name, f"{len(old.each(info.cls))} given", f"{len(new.each(info.cls))} given", restart)
            )
    return found


def _shown(declaration: Declaration, value: Any) -> str:
    if declaration.secret and declaration.kind.hides(value):
        return SECRET_SHOWN
    return declaration.kind.show(value)
