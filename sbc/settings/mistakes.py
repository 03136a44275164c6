"""What is wrong in a configuration, as the operator is told."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: where (file, 1-based line; 0 where there is none), which key, what to do about it."""

    path: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigurationErrors(Exception):  # noqa: N818 -- it is plural on purpose: every mistake of one run
    """Every mistake found in one run, in the order of the file; its text has one line for each."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.path, mistake.line)))
        super().__init__("\n".join(map(str, self.mistakes)))
