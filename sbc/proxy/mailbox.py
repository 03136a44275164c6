"""Messages that nobody woke for: kept, and delivered in their order at the next REGISTER (RFC 3428).

The sender hears 202 once its message is stored. A device that registers gets what waits for its user, one message after
the other, each until it has answered; what it refuses is not offered again, what it does not answer is.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.observe.calllog import CallLog
from sbc.proxy.target import Target, newcomer
from sbc.registrar.registrar import Awake
from sbc.sip.build import make_request
from sbc.sip.errors import ParseError, RemoteError
from sbc.sip.message import Request, Response
from sbc.store import queries
from sbc.store.journal import MarkMessage, SaveMessage
from sbc.store.mail import ExpireMessages, users_with_mail
from sbc.store.records import Message, User
from sbc.store.service import Store
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transport.flow import Flow
from sbc.upper.face import via

log = Logger()

MAX_BODY = 65_536
"""Bytes of a message that is kept: RFC 3428 §8 asks for less than 1,300 where no congestion is known."""

MAX_WAITING = 100
"""Messages kept for one user: nobody reads more after a holiday, and a flood must end somewhere."""

MAX_TRIES = 10
"""Deliveries without an answer after which a message is given up: ten times awake and never an answer is an answer."""

LATE = 64.0
"""Seconds for which an answer to a message that was sent before it was kept is still waited for: the longest that a
connection may hold it back until its other end is reached again."""

MAX_LATE = 1_000
"""Such messages remembered."""

USERS_KNOWN = 100_000
"""Users with mail remembered in RAM, 100 bytes each; if there are more, every REGISTER asks the database."""

LOOK_AGAIN = 10.0
"""Seconds between two looks for messages that another node has stored, or a restart left."""

KEPT = ("content-type", "content-language", "content-encoding", "content-disposition", "subject", "in-reply-to", "date")
"""Header fields that go with the body; others are about the way the message came."""


class Mailbox:
    """The waiting messages of this node's users.

    `keep` says for how many seconds a message is kept at most, 0 for ever, None: none is kept; `clock_at` is UTC epoch
    seconds; `shown_call_id` what a Call-ID becomes on the way to a device.
    """

    def __init__(
        self,
        *,
        store: Store,
        driver: Driver,
        identifiers: Identifiers,
        log: CallLog,
        keep: Callable[[], float | None],
        clock_at: Callable[[], float],
        shown_call_id: Callable[[bytes], bytes],
    ) -> None:
        self._store = store
        self._driver = driver
        self._identifiers = identifiers
        self.shown_call_id = shown_call_id
        self._log = log
        self._keep = keep
        self._clock_at = clock_at
        self._waiting: dict[int, int] = {}
        """Messages by user since its mailbox was last empty, as far as known; at least one each."""
        self._full = False
        self._delivering: dict[int, Delivery] = {}
        self._late: OrderedDict[bytes, tuple[float, Message]] = OrderedDict()
        """By Via branch: kept messages that a device may have got all the same."""

    def busy(self, user_id: int) -> bool:
        """Whether earlier messages of this user wait: a later one must not overtake them."""
        return user_id in self._waiting

    def takes(self, request: Request) -> bool:
        """Whether this message may be kept."""
        try:
            expires = request.expires
        except ParseError:
            expires = None
        kept = self._keep()
        return request.method == b"MESSAGE" and kept is not None and expires != 0 and len(request.body) <= MAX_BODY

    def store(self, request: Request, user: User, sent: Sequence[bytes] = ()) -> Deferred[bool]:
        """Keep a message; fires with True once it is durable, with False where the user has too many.

        `sent`: the Via branches under which it went to devices that said nothing.
        """
        if self._waiting.get(user.id, 0) >= MAX_WAITING:
            return succeed(False)
        self._waiting[user.id] = self._waiting.get(user.id, 0) + 1
        row = self._row(request, user)
        saved = self._store.write(SaveMessage(row))
        return saved.addCallbacks(partial(self._stored, row, sent), partial(self._unstored, user.id))

    def awake(self, news: Awake) -> None:
        """A device registered: deliver what waits for its user."""
        self.deliver(news.user_id, newcomer(news), news.device)

    def deliver(self, user_id: int, target: Target, device: str) -> None:
        """Deliver what waits for a user to this device (by its identity), which is awake."""
        under_way = self._delivering.get(user_id)
        if under_way is not None:
            under_way.moved(target, device)
        elif user_id and (user_id in self._waiting or self._full):
            self._delivering[user_id] = Delivery(self, user_id, target, device)
            self._delivering[user_id].next()

    def answered_late(self, response: Response) -> None:
        """A response that no transaction waits for: perhaps of a device that has got a message before it was kept."""
        late = self._late.pop(response.branch, None) if 200 <= response.status < 300 else None
        if late is not None:
            self._mark(late[1], "delivered").addErrback(self._broken)

    def look(self) -> Deferred[None]:
        """Learn of messages that others stored, and let old ones expire; call it every `LOOK_AGAIN` seconds."""
        now_at = self._clock_at()
        self._store.write(ExpireMessages(now_at)).addErrback(self._broken)
        found = self._store.report(lambda connection: users_with_mail(connection, now_at, USERS_KNOWN))
        return found.addCallbacks(self._found, self._broken)

    def _found(self, users: list[int]) -> None:
        self._full = len(users) >= USERS_KNOWN
        for user in users:
            self._waiting.setdefault(user, 1)

    def _row(self, request: Request, user: User) -> Message:
        now_at = self._clock_at()
        limits = [seconds for seconds in (self._keep(), request.expires) if seconds]
        headers = {name: _text(value) for name in KEPT if (value := request.first(name.encode())) is not None}
        headers.setdefault("date", format_datetime(datetime.fromtimestamp(now_at, UTC), usegmt=True))
        return Message(
            user_id=user.id,
            call_id=_text(request.call_id),
            from_uri=_text(request.first(b"from") or b""),
            to_uri=_text(request.first(b"to") or b""),
            content_type=_text(request.first(b"content-type") or b"text/plain"),
            body=request.body,
            headers=json.dumps({**headers, "cseq": request.cseq.number}, separators=(",", ":")),
            received_at=now_at,
            expires_at=now_at + min(limits) if limits else None,
        )

    def _stored(self, row: Message, sent: Sequence[bytes], message_id: int) -> bool:
        self._waiting.setdefault(row.user_id, 1)
        now_at = self._clock_at()
        self._log.event(row.call_id, kinds.STORED, f"message {message_id}", now_at)
        for branch in sent:
            self._late[branch] = (now_at, replace(row, id=message_id))
        while self._late and (len(self._late) > MAX_LATE or next(iter(self._late.values()))[0] < now_at - LATE):
            self._late.popitem(last=False)
        return True

    def _mark(self, message: Message, state: str) -> Deferred[None]:
        detail = f"message {message.id}: {state}"
        self._log.event(message.call_id, kinds.DELIVERED, detail, self._clock_at())
        return self._store.write(MarkMessage(message.id, state, self._clock_at()))

    def _unstored(self, user_id: int, failure: Failure) -> bool:
        log.failure("a message could not be stored", failure)
        return False

    def _broken(self, failure: Failure) -> None:
        """A database that has stopped, or is away, keeps what waits: nobody's mistake."""
        if isinstance(failure.value, RemoteError):
            log.warn("the waiting messages could not be read or sent: {why}", why=failure.getErrorMessage())
        else:
            log.failure("the waiting messages could not be read or sent", failure)


class Delivery:
    """What waits for one user on its way to one device: the client of one transaction after the other."""

    def __init__(self, mailbox: Mailbox, user_id: int, target: Target, device: str) -> None:
        self._mailbox = mailbox
        self._user_id = user_id
        self._target = target
        self._device = device
        self._message: Message | None = None
        self._last = 0
        self._txn: ClientTransaction | None = None
        self._moved = False

    def next(self) -> None:
        """Read and send the next message."""
        mailbox = self._mailbox
        now_at = mailbox._clock_at()
        found = mailbox._store.read(
            lambda connection: queries.waiting_messages(connection, self._user_id, now_at, limit=1)
        )
        found.addCallback(self._send).addErrback(self._broken)

    def _send(self, messages: list[Message]) -> None:
        mailbox, flow = self._mailbox, self._target.flow
        if not messages:
            mailbox._waiting.pop(self._user_id, None)
            self._over()
            return
        [message] = messages
        if message.id <= self._last or not flow.open:
            self._over()
            return
        self._message, self._last = message, message.id
        try:
            request = self._request(message, flow)
        except ValueError:
            log.failure("the message {id} cannot be delivered to anybody", id=message.id)
            self._mark("failed", goes_on=True)
            return
        self._txn = mailbox._driver.send(request, flow, self)

    def moved(self, target: Target, device: str) -> None:
        """A device of the user registered meanwhile: what follows goes there, and what its former one does not answer.

        The same device on another flow gets the message under way there at once, as a repetition; behind a proxy, which
        would absorb that, only when the former way has failed.
        """
        before, txn = self._target, self._txn
        if target.way == before.way:
            return
        same = device == self._device and not (target.path or before.path)
        self._target, self._device, self._moved = target, device, True
        if same and txn is not None and not txn.answered:
            request, flow = txn.request, target.flow
            request.uri = target.uri
            request.set_top(b"via", via(flow.listener, txn.branch))
            self._mailbox._driver.move(txn, flow)

    def _request(self, message: Message, flow: Flow) -> Request:
        mailbox = self._mailbox
        headers = json.loads(message.headers or "{}")
        cseq = int(headers.pop("cseq", 1))
        headers.setdefault("content-type", message.content_type)
        if message.expires_at is not None:
            headers["expires"] = str(max(1, int(message.expires_at - mailbox._clock_at())))
        uri, routes = self._target.routed()
        return make_request(
            b"MESSAGE",
            uri,
            via=via(flow.listener, mailbox._identifiers.branch()),
            from_=_bytes(message.from_uri),
            to=_bytes(message.to_uri),
            call_id=mailbox.shown_call_id(_bytes(message.call_id)),
            cseq=cseq,
            headers=[(b"Route", route) for route in routes]
            + [(name.encode(), _bytes(value)) for name, value in headers.items()],
            body=message.body,
        )

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        """The device has answered: accepted, refused for good, or not now."""
        if response.status < 200:
            return
        if response.status < 300:
            self._mark("delivered", goes_on=True)
        elif response.status in (408, 480) or response.status >= 500:
            self._not_now()
        else:
            self._mark("failed", goes_on=True)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        """It is asleep again."""
        self._not_now()

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        """Its flow is gone."""
        self._not_now()

    def _not_now(self) -> None:
        message = self._message
        assert message is not None
        self._mark("failed" if message.tries + 1 >= MAX_TRIES else "waiting", goes_on=False)

    def _mark(self, state: str, *, goes_on: bool) -> None:
        message, moved = self._message, self._moved
        assert message is not None
        self._txn = None
        self._moved = False
        marked = self._mailbox._mark(message, state)
        if moved and not goes_on:
            # The device has come back on another flow meanwhile: it is asked again there.
            self._last = message.id - 1
        marked.addCallback(lambda _: self.next() if goes_on or moved else self._over()).addErrback(self._broken)

    def _over(self) -> None:
        self._mailbox._delivering.pop(self._user_id, None)

    def _broken(self, failure: Failure) -> None:
        self._over()
        self._mailbox._broken(failure)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "replace")
