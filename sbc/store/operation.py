"""What a write is: something that the writer thread runs inside a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection

from sbc.sip.errors import LocalError
from sbc.store.secret import Secret
from sbc.store.session import Session

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class StoreError(LocalError):
    """An operation that the database refused; the cause is the driver's error. Nothing of it was stored."""


def nothing() -> None:
    """The result of an operation that has none."""


class Operation(Generic[T_co]):
    """A change that is stored whole or not at all. Runs in the writer thread: it touches nothing but the session."""

    __slots__ = ()

    def run(self, session: Session, secret: Secret) -> Callable[[], T_co]:
        """Issue the statements; return a function that gives the result, called after the commit."""
        raise TypeError(f"{type(self).__name__} does not say what it does")


@dataclass(frozen=True, slots=True)
class Execute(Operation[T]):
    """Any change, as a function of a SQLAlchemy connection: for what is rare (administration). Never commits itself."""

    change: Callable[[Connection], T]

    def run(self, session: Session, secret: Secret) -> Callable[[], T]:
        result = self.change(session.connection())
        return lambda: result
