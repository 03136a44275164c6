"""On which line each key of a TOML text stands; `tomllib` does not tell.

The text must be one that `tomllib` accepts: this scanner only follows its structure and never judges it.
"""

import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]

_BARE_END = frozenset(" \t\r\n.=]#,}")
_SCALAR_END = frozenset(",]}#\n")


def key_lines(text: str) -> dict[Path, int]:
    """Map the path of every key, table and array element to its 1-based line.

    `[[push.app]]` gives ("push", "app", 0), a key in it ("push", "app", 0, "id"). A table that is named only as part of
    a longer header or dotted key has the line where it was first named.
    """
    return _Scanner(text).lines


class _Scanner:
    def __init__(self, text: str) -> None:
        # tomllib does the same first; line numbers stay right, since only the end of a line changes.
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.elements: dict[Path, int] = {}  # index of the newest element of each array of tables
        table: Path = ()
        while self._skip_blank():
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip_spaces(self) -> None:
        while self._peek() in (" ", "\t"):
            self.at += 1

    def _skip_blank(self) -> bool:
        """Pass blanks, line ends and comments; False at the end of the text."""
        while True:
            char = self._peek()
            if not char:
                return False
            if char == "\n":
                self.line += 1
                self.at += 1
            elif char in " \t":
                self.at += 1
            elif char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return True

    def _note(self, path: Path) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self.line)

    def _header(self) -> Path:
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        parts = list(self._key())
        self.at += 2 if array else 1
        table: Path = ()
        for number, part in enumerate(parts):
            table = (*table, part)
            if array and number == len(parts) - 1:
                self.lines.setdefault(table, self.line)
                self.elements[table] = self.elements.get(table, -1) + 1
            if table in self.elements:
                table = (*table, self.elements[table])
        self._note(table)
        return table

    def _pair(self, table: Path) -> None:
        path = (*table, *self._key())
        self._note(path)
        self.at += 1  # the equals sign
        self._value(path)

    def _key(self) -> Iterator[str]:
        """The parts of a dotted key; ends before `=` or `]`."""
        while True:
            self._skip_spaces()
            if self._peek() in ("'", '"'):
                quote, start = self._peek(), self.at
                self._string()
                name = self.text[start + 1 : self.at - 1]
                yield _unescape(name) if quote == '"' else name
            else:
                start = self.at
                while self._peek() not in _BARE_END:
                    self.at += 1
                yield self.text[start : self.at]
            self._skip_spaces()
            if self._peek() != ".":
                return
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip_spaces()
        char = self._peek()
        if char in ("'", '"'):
            self._string()
        elif char == "[":
            self._sequence(path, "]")
        elif char == "{":
            self._sequence(path, "}")
        else:
            while self._peek() and self._peek() not in _SCALAR_END:
                self.at += 1

    def _sequence(self, path: Path, closing: str) -> None:
        self.at += 1
        index = 0
        while self._skip_blank() and self._peek() != closing:
            if closing == "}":
                self._pair(path)
            else:
                self._note((*path, index))
                self._value((*path, index))
            index += 1
            self._skip_blank()
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _string(self) -> None:
        quote = self._peek()
        long = self.text.startswith(quote * 3, self.at)
        end = quote * 3 if long else quote
        start = self.at
        self.at += len(end)
        while not self.text.startswith(end, self.at):
            self.at += 2 if quote == '"' and self._peek() == "\\" else 1
        self.at += len(end)
        while long and self._peek() == quote:  # up to two quotes may stand before the closing three
            self.at += 1
        self.line += self.text.count("\n", start, self.at)


def _unescape(name: str) -> str:
    """The text of a basic-string key; only keys with a backslash need work."""
    if "\\" not in name:
        return name
    return str(tomllib.loads(f'key = "{name}"')["key"])
