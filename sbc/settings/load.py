"""From the text of the configuration file to a `Configuration`, or to every mistake in it."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from sbc.settings.compound import Ignored, Numbered
from sbc.settings.configuration import Configuration, inside
from sbc.settings.declare import Declaration, SectionInfo, section_info
from sbc.settings.lines import Path, key_lines
from sbc.settings.mistakes import ConfigurationErrors, Mistake

FILE_LIMIT = 4 * 1024 * 1024  # characters; a configuration is written by hand, a wrong file is not


def load(text: str, sections: Sequence[type], *, path: str) -> Configuration:
    """Read and check a configuration; `path` only names the file in messages.

    Raises ConfigurationErrors with every mistake: wrong syntax (then only that), unknown keys with the nearest known
    name, wrong values, missing ones, settings given twice by two names, and what sections find between their settings.
    """
    return _Reader(text, sections, path).configuration()


class _Reader:
    def __init__(self, text: str, sections: Sequence[type], path: str) -> None:
        self.path = path
        self.infos = [section_info(cls) for cls in sections]
        _refuse_clashes(self.infos)
        self.by_name = {info.name: info for info in self.infos}
        self.mistakes: list[Mistake] = []
        self.notices: list[str] = []
        if len(text) > FILE_LIMIT:
            raise ConfigurationErrors([Mistake(path, 0, "", f"is longer than {FILE_LIMIT} characters")])
        try:
            self.document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationErrors([_syntax(path, str(error), text)]) from None
        self.lines = key_lines(text)
        self.given: dict[type, list[dict[str, Any]]] = {info.cls: [] if info.array else [{}] for info in self.infos}
        self.spelled: dict[tuple[type, int, str, int], tuple[str, int]] = {}

    def configuration(self) -> Configuration:
        self._table("", self.document, (), 0)
        for info in self.infos:
            for index in range(len(self.given[info.cls])):
                for declaration in info:
                    if declaration.required and (info.cls, index, declaration.name, 0) not in self.spelled:
                        place = self._place(info, index)
                        message = f"is missing: {declaration.doc}; {declaration.kind.words}"
                        self._mistake(place, declaration.name, message)
        if self.mistakes:
            raise ConfigurationErrors(self.mistakes)
        made = Configuration(self.infos, self.given, self.notices)
        for info, index, key, message in made.problems():
            line = self.spelled.get((info.cls, index, key, 0), ("", 0))[1]
            if line:
                self.mistakes.append(Mistake(self.path, line, f"{info.name}.{key}", message))
            else:
                self._mistake(self._place(info, index), key, message)
        if self.mistakes:
            raise ConfigurationErrors(self.mistakes)
        return made

    def _place(self, info: SectionInfo, index: int) -> Path:
        parts: Path = tuple(info.name.split("."))
        return (*parts, index) if info.array else parts

    def _mistake(self, place: Path, key: str, message: str) -> None:
        """Note a mistake at the line of the nearest thing of `place` that stands in the file."""
        full: Path = (*place, key) if key else place
        line = next((self.lines[full[:end]] for end in range(len(full), 0, -1) if full[:end] in self.lines), 0)
        name = ".".join(str(part) for part in full if isinstance(part, str))
        self.mistakes.append(Mistake(self.path, line, name, message))

    def _table(self, name: str, table: Mapping[str, Any], place: Path, index: int) -> None:
        """Read what stands in the table `name`: settings, aliases, tables inside it."""
        info = self.by_name.get(name)
        for key, raw in table.items():
            inner = f"{name}.{key}" if name else key
            if info is not None and (own := _of(info, key, aliases=True)) is not None:
                self._setting(info, index, own, place, key, raw)
            elif any(inside(other.name, inner) for other in self.infos):
                self._inner(inner, raw, (*place, key))
            elif (far := self._far(name, key)) is not None:
                self._setting(far[0], 0, far[1], place, key, raw)
            else:
                self._mistake(place, key, self._unknown(name, key, table=isinstance(raw, dict | list)))

    def _inner(self, name: str, raw: object, place: Path) -> None:
        info = self.by_name.get(name)
        if info is None or not info.array:
            if isinstance(raw, dict):
                self._table(name, raw, place, 0)
            else:
                self._mistake(place, "", f"must be a table: write it as [{name}]")
            return
        if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
            self._mistake(place, "", f"must be an array of tables: write each as [[{name}]]")
            return
        for index, each in enumerate(raw):
            self.given[info.cls].append({})
            self._table(name, each, (*place, index), index)

    def _far(self, name: str, key: str) -> tuple[SectionInfo, Declaration] | None:
        """An alias written in a table around that of its section, the top of the file included."""
        for info in self.infos:
            if not info.array and info.name != name and inside(info.name, name):
                declaration = _of(info, key, aliases=True)
                if declaration is not None and (match := declaration.matches(key)) and match[0] != declaration.name:
                    return info, declaration
        return None

    def _setting(
        self, info: SectionInfo, index: int, declaration: Declaration, place: Path, key: str, raw: object
    ) -> None:
        match = declaration.matches(key)
        number = match[1] if match else 0
        line = self.lines.get((*place, key), 0)
        slot = (info.cls, index, declaration.name, number)
        if slot in self.spelled:
            other, other_line = self.spelled[slot]
            self._mistake(place, key, f"is the same setting as {other} in line {other_line}: keep one of them")
            return
        self.spelled[slot] = (key, line)
        if isinstance(declaration.kind, Ignored):
            self.notices.append(f"{self.path}:{line}: {key} has no effect: {declaration.kind.reason}")
            return
        try:
            value = declaration.kind.read(raw)
        except ValueError as error:
            # The text of a wrong value may be the secret itself.
            self._mistake(place, key, f"must be {declaration.kind.words}" if declaration.secret else str(error))
            return
        values = self.given[info.cls][index]
        if isinstance(declaration.kind, Numbered):
            value = {**values.get(declaration.name, {}), number: value[0]}
        values[declaration.name] = value

    def _unknown(self, name: str, key: str, *, table: bool) -> str:
        """Say that a key is unknown, and which known one was probably meant."""
        what = "unknown section" if table and not name else "unknown key"
        here = [
            other.name.removeprefix(f"{name}.").partition(".")[0] for other in self.infos if inside(other.name, name)
        ]
        info = self.by_name.get(name)
        if info is not None:
            here += [each for declaration in info for each in (declaration.name, *declaration.aliases)]
        for other in self.infos:
            if not other.array and other.name != name and inside(other.name, name):
                here += [alias for declaration in other for alias in declaration.aliases]
        near = get_close_matches(key.lower(), here, 1, 0.7)
        if near:
            return f'{what}; did you mean "{near[0]}"?'
        elsewhere = [other.name for other in self.infos if _of(other, key, aliases=False) is not None]
        if elsewhere:
            return f"{what}; it belongs to [{elsewhere[0]}]"
        everywhere = {f"{other.name}.{declaration.name}": declaration for other in self.infos for declaration in other}
        near = get_close_matches(f"{name}.{key}" if name else key, everywhere, 1, 0.75)
        return f'{what}; did you mean "{near[0]}"?' if near else what


def _of(info: SectionInfo, key: str, *, aliases: bool) -> Declaration | None:
    for declaration in info:
        match = declaration.matches(key)
        if match is not None and (aliases or match[0] == declaration.name):
            return declaration
    return None


def _refuse_clashes(infos: Sequence[SectionInfo]) -> None:
    """TypeError when two settings are declared with one name or alias: that is ours, not the operator's."""
    seen: dict[str, str] = {}
    for info in infos:
        for declaration in info:
            full = f"{info.name}.{declaration.name}"
            for name in (full, *declaration.aliases):
                if name in seen:
                    raise TypeError(f"{full} and {seen[name]} are both declared as {name}")
                seen[name] = full


def _syntax(path: str, message: str, text: str) -> Mistake:
    """tomllib's own message ends in `(at line 3, column 5)` or `(at end of document)`."""
    what, _, where = message.rpartition(" (at ")
    if where.startswith("line "):
        line, _, column = where.removeprefix("line ").rstrip(")").partition(", column ")
        return Mistake(path, int(line), "", f"{what} (column {column})")
    return Mistake(path, text.count("\n") + 1, "", f"{what or message} (end of the file)")
