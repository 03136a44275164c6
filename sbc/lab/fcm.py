"""Google's FCM, emulated: the OAuth token endpoint and the HTTP v1 API over TLS and HTTP/1.1, and scripted trouble.

In: requests on a loopback port. Out: answers as Google's references describe them, `Fcm.inbox`, and calls to the
listeners of accepted registration tokens.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from sbc.lab.authority import Authority
from sbc.lab.fcm_rules import STATUSES, Refusal, check_grant, check_message, refusal
from sbc.lab.loop import Reactor
from sbc.lab.script import Answer
from sbc.lab.service import PushServer
from sbc.lab.web import MAX_BODY, WebRequest

OAUTH = "oauth"  # the script's key for the token endpoint
MAX_TOKENS = 10_000  # access tokens remembered


class Fcm(PushServer):
    """One FCM project. `url` is what goes into the product's ``[fcm] url``, `token_uri` into the service account.

    `script` keys are registration tokens, and `OAUTH`; an `Answer`'s reason is FCM's errorCode. `token_life` (s) is
    how long an access token lasts.
    """

    provider = "fcm"

    def __init__(
        self,
        reactor: Reactor,
        authority: Authority,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        wall: Callable[[], float] = time.time,
        token_life: int = 3600,
    ) -> None:
        super().__init__(reactor, authority, host, port, wall)
        self.token_life = token_life
        self.grants = 0
        self._authority = authority
        self._tokens: dict[str, float] = {}

    @property
    def url(self) -> str:
        """The send method, with the project left open as the setting wants it."""
        return f"{self._server.url}/v1/projects/PROJECTID/messages:send"

    @property
    def token_uri(self) -> str:
        """The OAuth endpoint."""
        return f"{self._server.url}/token"

    def revoke(self) -> None:
        """Every access token handed out is worthless from now on."""
        self._tokens.clear()

    # -- inside -------------------------------------------------------------------------------------------------

    def serve(self, request: WebRequest) -> None:
        if len(request.body) > MAX_BODY:
            self._refuse(request, Refusal(413, "INVALID_ARGUMENT", "Request Entity Too Large"), None)
        elif request.method != "POST":
            self._refuse(request, Refusal(404, "NOT_FOUND", "Not found."), None)
        elif request.path == "/token":
            self._scripted(OAUTH, request, self._grant)
        else:
            message, wrong = check_message(request.body)
            wrong = self._check_caller(request) or wrong
            token = message.get("token")
            name = token if isinstance(token, str) else ""
            if wrong is not None:
                self._refuse(request, wrong, None)
                self.record(request, name, message, wrong.status, wrong.code or wrong.rpc, "")
            else:
                self._scripted(name, request, lambda again: self._accept(again, name, message))

    def _scripted(self, key: str, request: WebRequest, honest: Callable[[WebRequest], object]) -> None:
        step = self.script.next(key)
        if step is None:
            honest(request)
        elif step.delay:
            self._reactor.callLater(step.delay, self._misbehave, key, request, step, honest)
        else:
            self._misbehave(key, request, step, honest)

    def _misbehave(self, key: str, request: WebRequest, step: Answer, honest: Callable[[WebRequest], object]) -> None:
        if step.act == "answer" and step.status in (0, 200):
            honest(request)
            return
        wrong = Refusal(step.status, "INTERNAL", step.reason or "Internal error encountered.")
        if step.reason in STATUSES:
            usual = refusal(step.reason)
            wrong = Refusal(step.status, usual.rpc, usual.message, step.reason)
        if step.act == "answer":
            self._refuse(request, wrong, step.retry_after)
        elif step.act == "close":
            request.cut()
        elif step.act != "silence":
            raise ValueError(f"HTTP/1.1 cannot {step.act!r}")
        if key != OAUTH:
            message = check_message(request.body)[0]
            status, reason = (step.status, step.reason) if step.act == "answer" else (0, step.act)
            self.record(request, key, message, status, reason, "")

    def _grant(self, request: WebRequest) -> None:
        now_at = self._wall()
        authority = self._authority
        key, email = authority.service_account_public_key(), authority.service_account_email
        wrong = check_grant(request.body, key, email, self.token_uri, now_at)
        kind = {"content-type": "application/json; charset=utf-8"}
        if wrong:
            request.reply(400, kind, json.dumps({"error": wrong, "error_description": "Bad assertion."}).encode())
            return
        token = "ya29." + secrets.token_urlsafe(24)
        if len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = now_at + self.token_life
        self.grants += 1
        granted = {"access_token": token, "expires_in": self.token_life, "token_type": "Bearer"}
        request.reply(200, kind, json.dumps(granted).encode())

    def _check_caller(self, request: WebRequest) -> Refusal | None:
        path, project = request.path.split("/"), self._authority.project
        if len(path) != 5 or path[1:3] != ["v1", "projects"] or path[4] != "messages:send":
            return Refusal(404, "NOT_FOUND", "Method not found.")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._tokens.get(token, 0.0) <= self._wall():
            return Refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if path[3] != project:
            return Refusal(403, "PERMISSION_DENIED", f"Permission denied on resource project {path[3]}.")
        return None

    def _accept(self, request: WebRequest, token: str, message: dict[str, Any]) -> None:
        name = f"projects/{self._authority.project}/messages/0:{secrets.token_hex(8)}"
        if request.reply(200, {"content-type": "application/json; charset=UTF-8"}, json.dumps({"name": name}).encode()):
            self.record(request, token, message, 200, "", name)

    def _refuse(self, request: WebRequest, wrong: Refusal, retry_after: int | None) -> None:
        headers = {"content-type": "application/json; charset=UTF-8"}
        if retry_after is not None:
            headers["retry-after"] = str(retry_after)
        request.reply(wrong.status, headers, wrong.body())
