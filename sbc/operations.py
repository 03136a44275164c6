"""What operators, signals and timers make the node do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.usage import UsageError

from sbc import examining
from sbc.admin.keys import ApiKey
from sbc.admin.ports import Account, Finding, PushAnswer, PushRequest
from sbc.admin.routes import Refused
from sbc.derived import derive
from sbc.media.settings import MediaSettings
from sbc.proxy.target import push_tokens
from sbc.push.orders import PushOrder, PushResult, PushType
from sbc.push.tokens import PushToken
from sbc.recording import push_configuration
from sbc.settings import Change, Configuration, ConfigurationErrors, changes
from sbc.store import queries
from sbc.store.journal import SaveAudit
from sbc.store.operations import GivenHa1s, SaveHa1s
from sbc.store.records import Subscriber
from sbc.transport.tls import CertificateError

if TYPE_CHECKING:
    from sbc.assembly import Sbc

log = Logger()

REFRESH_PATIENCE = 60.0
"""Seconds in which a push that asks an app to register again is of use."""


class Operations:
    """The actions of a node. `read` gives the configuration as it stands in the file now; it raises ConfigurationErrors
    for what is wrong in it, UsageError for a file that is not to be used."""

    def __init__(self, node: Sbc, read: Callable[[], Configuration]) -> None:
        self._node = node
        self._read = read

    def reload(self, by: str) -> Deferred[Sequence[str]]:
        """Read configuration, credentials and templates again.

        A mistake, or a file that cannot be read or is not private, leaves everything as it was.

        A certificate that cannot be read is kept as it was; the rest takes effect.
        """
        node = self._node
        try:
            configuration = self._read()
        except ConfigurationErrors as mistakes:
            return succeed([*(str(mistake) for mistake in mistakes.mistakes), "nothing was changed"])
        except UsageError as mistake:
            return succeed([str(mistake), "nothing was changed"])
        told = [_told(change) for change in changes(node.configuration, configuration)]
        node.media.reload(configuration[MediaSettings])
        told += node.push.reload(push_configuration(configuration))
        try:
            node.reconfigure(configuration)
        except CertificateError as error:
            told.append(f"certificate kept as it was: {error}")
        self._audit(by, "reload", "; ".join(told))
        return succeed(told or ["nothing has changed"])

    def send_push(self, request: PushRequest, by: str) -> Deferred[Sequence[PushAnswer]]:
        """Send a push to each device meant: those of a user, or one token."""
        self._audit(by, "push", f"{request.type} to {request.to_user or request.app}")
        if request.token:
            token = PushToken(request.provider, request.app, request.token, kind=request.kind)
            return self._send(request, [(token,)], None)
        username, _, domain = request.to_user.partition("@")
        return self._devices(username, domain).addCallback(
            lambda found: (
                succeed([])
                if found is None
                else self._send(request, [push_tokens(device) for device in found.targets], found.user.id)
            )
        )

    def reload_push(self, by: str, anew: Sequence[str] = ()) -> Deferred[Sequence[str]]:
        """Read credentials and templates of push again; connect anew to the providers in `anew`."""
        self._audit(by, "reload push", " ".join(anew))
        problems = self._node.push.reload(push_configuration(self._node.configuration), anew=anew)
        self._node.derived = derive(self._node.configuration, self._node.push.rules())
        return succeed(problems)

    def push_status(self) -> Mapping[str, object]:
        """What push does just now."""
        return examining.push_status(self._node)

    def examine(self, subject: str, by: str) -> Deferred[Sequence[Finding]]:
        """What keeps a user or an app from being woken."""
        self._audit(by, "push doctor", subject)
        username, _, domain = subject.partition("@")
        return self._devices(username, domain).addCallback(lambda found: examining.examine(self._node, subject, found))

    def unregister_upper(self, user: str, by: str) -> Deferred[int]:
        """End a user's registrations at the upper servers."""
        self._audit(by, "unregister upper", user)
        username, _, domain = user.partition("@")
        return self._devices(username, domain).addCallback(lambda found: examining.unregister_upper(self._node, found))

    def load(self) -> int:
        """How busy the node is."""
        return self._node.load()

    def wake_to_refresh(self, user_id: int) -> None:
        """Ask the user's devices to register again: the upper server wants an answer that only they can give."""
        found = self._node.store.read(lambda connection: queries.subscriber_by_id(connection, user_id))
        found.addCallback(self._ask_to_register)
        found.addErrback(lambda failure: log.failure("a refresh push could not be sent", failure))

    def end_call(self, call_id: str, by: str) -> Deferred[int]:
        """Hang up the calls with this Call-ID."""
        self._audit(by, "end call", call_id)
        return succeed(self._node.calls.endings.end_call(call_id.encode(), f"ended by {by}"))

    def lift_ban(self, source: str, by: str) -> Deferred[bool]:
        """Let an address in again."""
        self._audit(by, "lift ban", source)
        return succeed(self._node.guard.bans.lift(source))

    def save_ha1s(self, accounts: Sequence[Account], by: str) -> Deferred[int]:
        """Store HA1s by hand: registrations that waited for them are tried again."""
        node = self._node
        homes = {server.domain.decode(): node.servers.home(server).name for server in reversed(node.servers.ordered)}
        foreign = next((account.domain for account in accounts if account.domain not in homes), None)
        if foreign is not None:
            raise Refused(400, f"no upper server has the domain {foreign}")
        self._audit(by, "save ha1", f"{len(accounts)} users")
        given = tuple(
            GivenHa1s(each.username, each.domain, homes[each.domain], each.realm, each.auth_username, each.ha1)
            for each in accounts
        )
        return node.store.write(SaveHa1s(given, time.time()))

    def add_key(self, key: ApiKey, by: str) -> Deferred[None]:
        """Store a new API key."""
        self._audit(by, "add key", key.name)
        return self._node.api_keys.add(key, by)

    def revoke_key(self, name: str, by: str) -> Deferred[bool]:
        """Make a stored API key useless."""
        self._audit(by, "revoke key", name)
        return self._node.api_keys.revoke(name)

    def _ask_to_register(self, found: Subscriber | None) -> None:
        if found is None:
            return
        for device in found.targets:
            tokens = push_tokens(device)
            if tokens and self._node.asleep(device, found):
                order = PushOrder(
                    type=PushType.REFRESH,
                    tokens=tokens,
                    to_user=found.user.username,
                    to_uri=f"{found.user.username}@{found.user.domain}",
                    deadline=time.time() + REFRESH_PATIENCE,
                    user_id=found.user.id,
                )
                self._node.push.send(order)

    def _devices(self, username: str, domain: str) -> Deferred[Subscriber | None]:
        domains = [domain] if domain else [server.domain.decode() for server in self._node.servers.ordered]
        return self._node.store.read(
            lambda connection: next(
                (found for each in domains if (found := queries.subscriber(connection, username, each)) is not None),
                None,
            )
        )

    def _send(
        self, request: PushRequest, devices: Sequence[Sequence[PushToken]], user_id: int | None
    ) -> Deferred[Sequence[PushAnswer]]:
        sending = [
            self._node.push.send(
                PushOrder(
                    type=PushType[request.type.upper()],
                    tokens=tuple(tokens),
                    from_user=request.from_user,
                    to_user=request.to_user,
                    title=request.title,
                    message=request.message,
                    body=request.message,
                    user_id=user_id,
                )
            )
            for tokens in devices
            if tokens
        ]
        return gatherResults(sending).addCallback(lambda results: [_answer(result) for result in results])

    def _audit(self, by: str, action: str, detail: str) -> None:
        written = self._node.store.write(SaveAudit(at=time.time(), who=by, source="", action=action, detail=detail))
        written.addErrback(lambda failure: log.failure("an action could not be noted", failure))


def _told(change: Change) -> str:
    later = " (after a restart)" if change.restart else ""
    return f"{change.name}: {change.old} -> {change.new}{later}"


def _answer(result: PushResult) -> PushAnswer:
    token = result.token
    return PushAnswer(
        outcome=result.outcome.value,
        status=result.status,
        reason=result.reason,
        provider=token.provider if token is not None else "",
        app=token.param if token is not None else "",
        push_id=result.push_id,
        seconds=result.latency,
    )
