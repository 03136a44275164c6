"""The settings of push, its apps and its three providers.  [pure]"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sbc.push.kinds import Document, ServerUrl
from sbc.settings import (
    Duration,
    Either,
    FilePath,
    Flag,
    Ignored,
    Integer,
    List,
    Numbered,
    Text,
    Words,
    section,
    setting,
)

APNS_URL = "https://api.push.apple.com"
APNS_SANDBOX_URL = "https://api.development.push.apple.com"
FCM_URL = "https://fcm.googleapis.com/v1/projects/PROJECTID/messages:send"

_SWITCH = {"off": 0, "on": 1}
_AUTO_SWITCH = {"auto": -1, **_SWITCH}
_PUSH_LEVELS = {**_AUTO_SWITCH, "always": 2, "all": 3}


@section("push", doc="Waking sleeping phones")
@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """When a push goes out and how long its call waits."""

    enabled: str = setting(
        "auto",
        Words(_PUSH_LEVELS),
        doc="auto: on when credentials are found; on: suspended at high load; always: also at high load; "
        "all: also for endpoints that look alive",
        aliases=("pushnotification",),
    )
    chat: str = setting("auto", Words(_PUSH_LEVELS), doc="the same for MESSAGE", aliases=("pushnotification_chat",))
    cancel: str = setting(
        "off",
        Words({**_SWITCH, "always": 2}),
        doc="push when the caller gives up; always: also at high load",
        aliases=("pushnotification_cancel",),
    )
    fcm: str = setting(
        "auto",
        Words({**_AUTO_SWITCH, "ios": 2, "ios_always": 3}),
        doc="Google FCM; ios: also to iOS tokens registered as j; ios_always: those even where APNs is set up",
        aliases=("pushnotification_fcm",),
    )
    apns: str = setting(
        "auto",
        Words(
            {**_AUTO_SWITCH, "android": 2},
            refused={"android": "Apple's service does not reach Android phones; use push.fcm"},
        ),
        doc="Apple APNs",
        aliases=("pushnotification_pushkit",),
    )
    webpush: str = setting(
        "off",
        Words(_SWITCH),
        doc="Web Push by VAPID instead of FCM for X-MPUSH w",
        aliases=("pushnotification_web",),
    )
    websocket: str = setting(
        "auto",
        Words(_AUTO_SWITCH),
        doc="accept tokens from WebSocket clients; auto: where a provider for them is set up",
        aliases=("pushnotification_websocket",),
    )
    invite_retry: int = setting(
        3,
        Integer(0, 100),
        doc="how many times longer than RFC 3261 to try an INVITE",
        aliases=("pushnotification_invitereetry",),
    )
    max_invites: int = setting(15, Integer(1, 100), doc="INVITEs sent at most to one woken device")
    max_wait: float = setting(
        40.0, Duration(1.0, 180.0), doc="a held request waits this long at most for a woken device"
    )
    client_max_offline_days: float = setting(
        30 * 86400.0,
        Duration(default_unit="d"),
        doc="no more pushes to a user without any sign of life for this long; 0: no limit",
        aliases=("pushnotification_clientmaxoffline",),
    )
    unregister: str = setting(
        "convert",
        Words({"allow": 0, "ignore": 1, "convert": 2}),
        doc="an unregister from a push binding: allow ends it, ignore answers 200 here, "
        "convert sends it up as a REGISTER",
        aliases=("pushnotification_disableunreg",),
    )
    wake_to_refresh: str = setting(
        "auto",
        Words({**_AUTO_SWITCH, "remove": 2}),
        doc="push in time for the app to register again; auto: when no HA1 is stored; "
        "remove: drop the binding when the registration times out",
        aliases=("pushnotification_regrefresh",),
    )
    resume_on_start: str | float = setting(
        "auto",
        Either[str | float](Words({"auto": -1, "off": 0}), Duration(1.0, default_unit="d")),
        doc="which upper registrations are resumed at start: auto, off, or those seen within this many days",
        aliases=("pushnotification_persists",),
    )
    keep_upper_registration: str = setting(
        "auto",
        Words({"off": 0, "auto": 1, "always": 2}),
        doc="keep the registration at the upper server while the phone sleeps",
        aliases=("pushnotification_keepupperreg",),
    )
    upper_expires: int = setting(
        3600,
        Integer(-1, 10_000_000),
        doc="Expires asked upward in seconds; -1: as the app asked",
        aliases=("pushnotification_upperexpire",),
    )
    ttl: float = setting(
        0.0,
        Duration(0.0, 2_419_200.0),
        doc="how long a provider keeps a push for a phone out of reach; 0: now or never",
        aliases=("pushnotification_ttl",),
    )
    team_id: str = setting(
        "auto",
        Words(_AUTO_SWITCH),
        doc="strip the team id from pn-param; auto: a first label of ten capitals and digits",
        aliases=("pushnotification_teamid",),
    )
    team_id_suffix: str = setting(
        ".voip",
        Text(maximum=64),
        doc="service suffix of pn-param and of the topic of VoIP pushes",
        aliases=("pushnotification_teamidstr",),
    )
    apns_push_type: str = setting(
        "",
        Text(maximum=32),
        doc="apns-push-type of calls; empty: voip for calls, alert else",
        shown="voip for calls, alert else",
        aliases=("pushnotification_apnspushtype",),
    )
    apns_topic: str = setting(
        "set",
        Text(maximum=255),
        doc="apns-topic: set (from the app id), null (none is sent), or a fixed text",
        aliases=("pushnotification_topic",),
    )
    sound_call: str = setting(
        "default", Text(maximum=255), doc="SOUND keyword of calls", aliases=("pushnotification_sound_call",)
    )
    sound_chat: str = setting(
        "default", Text(maximum=255), doc="SOUND keyword of messages", aliases=("pushnotification_sound_chat",)
    )
    sound_other: str = setting(
        "", Text(maximum=255), doc="SOUND keyword of other pushes", aliases=("pushnotification_sound_other",)
    )
    send_555: bool = setting(
        False,
        Flag(),
        doc="answer 555 to a REGISTER that asks for a push provider we do not serve",
        aliases=("pushnotification_send555",),
    )
    announce_upward: bool = setting(
        False,
        Flag(),
        doc="say Feature-Caps with +sip.pns in REGISTERs to the upper servers, where those push themselves",
    )
    short_registration: str = setting(
        "forward",
        Words({"forward": None, "423": 423}),
        doc="a registration too short to be pushed in time, without a stored HA1: "
        "forward without indication, or answer 423",
    )
    credentials: str = setting(
        "etc/push", FilePath(), doc="directory searched for keys, certificates and message templates"
    )
    device_limit: int = setting(
        30,
        Integer(0, 1_000_000),
        doc="pushes a minute for one device, calls and messages each by themselves, cancels not counted; 0: any number",
    )
    caller_limit: int = setting(
        0,
        Integer(0, 1_000_000),
        doc="pushes a minute that one caller may cause who is not anonymous, counted alike; 0: any number, as many "
        "PBXs give one number for all their calls, and a ringing group is a push to each member",
    )
    app_limit: int = setting(0, Integer(0, 10_000_000), doc="pushes a minute of one app, counted alike; 0: any number")


@section("push.remove_on", doc="What removes a push binding")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOnSettings:
    """Events after which a binding is not pushed any more; the next REGISTER with a token brings it back."""

    register_failure: bool = setting(
        True, Flag(), doc="the upper server rejects the registration", aliases=("pushnotification_removeon_regfail",)
    )
    subsequent_call_failure: str = setting(
        "auto",
        Words(_AUTO_SWITCH),
        doc="the device did not come for three calls in a row (auto: off)",
        aliases=("pushnotification_removeon_subscallfail",),
    )
    push_failure: bool = setting(
        True, Flag(), doc="the provider says the token is dead", aliases=("pushnotification_removeon_pushfail",)
    )
    no_answer: str = setting(
        "auto",
        Words(_AUTO_SWITCH),
        doc="the device did not come for a call that waited for it (auto: off)",
        aliases=("pushnotification_removeon_noanswer",),
    )
    reject: bool = setting(
        True, Flag(), doc="the user is banned or refused", aliases=("pushnotification_removeon_reject",)
    )
    missing_pn: bool = setting(
        False, Flag(), doc="a REGISTER without pn-*", aliases=("pushnotification_removeat_nopn",)
    )
    missing_prid: bool = setting(
        False, Flag(), doc="pn-provider without pn-prid", aliases=("pushnotification_removeat_noprid",)
    )


@section("push.app", doc="An app that is woken", array=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """One app at one provider. File names are searched in push.credentials, then from the working directory."""

    id: str = setting(kind=Text(required=True, maximum=255), doc="bundle id, or package name or FCM project")
    provider: str = setting(kind=Words({"apns": None, "fcm": None, "webpush": None}), doc="apns, fcm or webpush")
    key: str = setting("", FilePath(), doc="apns: AuthKey_KEYID.p8; fcm: service-account JSON; webpush: VAPID key PEM")
    certificate: str = setting("", FilePath(), doc="apns: PKCS#12 or PEM certificate with its key")
    password: str = setting("", Text(maximum=255), doc="of the certificate or key file", secret=True)
    key_id: str = setting("", Text(maximum=32), doc="id of an APNs token key", shown="from the file name")
    team_id: str = setting("", Text(maximum=32), doc="Apple team id; needed with an APNs token key")
    environment: str = setting(
        "production", Words({"production": None, "sandbox": None}), doc="APNs environment of tokens that name none"
    )
    user_agent: str = setting("", Text(maximum=500), doc="pattern that recognises the app by its User-Agent")
    unregister: str = setting(
        "",
        Words({"": None, "allow": 0, "ignore": 1, "convert": 2}),
        doc="what an unregister of this app means, instead of push.unregister",
        shown="as push.unregister",
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.provider == "apns":
            if bool(self.key) == bool(self.certificate):
                yield "key", "an APNs app needs either a key (.p8) or a certificate"
            if self.key and not self.team_id:
                yield "team_id", "is needed with an APNs token key"
        else:
            if not self.key:
                yield "key", "is missing"
            if self.certificate:
                yield "certificate", "only APNs uses a certificate"
        try:
            re.compile(self.user_agent)
        except re.error as error:
            yield "user_agent", f"is not a regular expression: {error}"


@section("apns", doc="Apple Push Notification service")
@dataclass(frozen=True, slots=True, kw_only=True)
class ApnsSettings:
    protocol: str = setting(
        "http2",
        Words(
            {"binary": 0, "enhanced": 1, "http2": 2},
            refused=dict.fromkeys(("binary", "enhanced"), "Apple ended its binary protocols in March 2021; use http2"),
        ),
        doc="only http2 is left",
        aliases=("pushkit_protocol",),
    )
    url: str = setting(APNS_URL, ServerUrl(), doc="production server", aliases=("pushkit_serverurl_http2",))
    sandbox_url: str = setting(APNS_SANDBOX_URL, ServerUrl(), doc="sandbox server")
    password: str = setting(
        "",
        Text(maximum=255),
        doc="of PKCS#12 and PEM files without a .pwd file of their own",
        aliases=("pushkit_sslcertpassword",),
        secret=True,
    )
    ca_file: str = setting("", FilePath(), doc="extra trust anchors (PEM), for tests")
    connections: int = setting(1, Integer(1, 32), doc="connections kept open per server and credential")
    port: None = setting(None, Ignored("the port stands in apns.url"), doc="without effect", aliases=("pushkit_port",))
    localport: None = setting(
        None, Ignored("HTTP/2 needs no fixed local port"), doc="without effect", aliases=("pushkit_localport",)
    )
    serverurl_legacy: None = setting(
        None,
        Ignored("Apple ended its binary protocols in March 2021"),
        doc="without effect",
        aliases=("pushkit_serverurl_legacy",),
    )


def _none() -> Mapping[int, str]:
    return {}


@section("fcm", doc="Google Firebase Cloud Messaging")
@dataclass(frozen=True, slots=True, kw_only=True)
class FcmSettings:
    protocol: str = setting(
        "v1",
        Words({"legacy": 0, "v1": 1}, refused={"legacy": "Google ended the legacy FCM protocol in July 2024; use v1"}),
        doc="only v1 is left",
        aliases=("fcm_protocol",),
    )
    url: str = setting(
        FCM_URL,
        ServerUrl(),
        doc="send address; PROJECTID is replaced by the project of the service account",
        aliases=("fcm_serverurl", "fcm_serverurl_v1"),
    )
    remove_notification: str = setting(
        "auto",
        Words({"auto": -1, "keep": 0, "calls": 1, "always": 2}),
        doc="drop the notification part of the message; auto: for calls, and for cancel and refresh pushes",
        aliases=("fcm_removenotification",),
    )
    max_failures: int = setting(
        10_000,
        Integer(1, 1_000_000_000),
        doc="consecutive failures before FCM is suspended; reset by a success",
        aliases=("fcm_maxfail",),
    )
    app: Mapping[int, str] = setting(
        kind=Numbered(Text(required=True, maximum=255), 1000),
        factory=_none,
        doc="app id (package or project) of the key with the same number",
        aliases=("fcm_app",),
    )
    key: Mapping[int, str] = setting(
        kind=Numbered(Document(), 1000),
        factory=_none,
        doc="service account of the app with the same number, as JSON or as a file name",
        aliases=("fcm_key",),
        secret=True,
    )
    ca_file: str = setting("", FilePath(), doc="extra trust anchors (PEM), for tests; also for the OAuth endpoint")
    connections: int = setting(1, Integer(1, 32), doc="connections kept open to FCM")
    serverurl_legacy: None = setting(
        None,
        Ignored("Google ended the legacy FCM protocol in July 2024"),
        doc="without effect",
        aliases=("fcm_serverurl_legacy",),
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        for number in sorted(set(self.app) ^ set(self.key)):
            have, lack = ("app", "key") if number in self.app else ("key", "app")
            suffix = str(number) if number else ""
            yield have, f"{have}{suffix} is given without {lack}{suffix}"


@section("webpush", doc="W3C Web Push")
@dataclass(frozen=True, slots=True, kw_only=True)
class WebPushSettings:
    subject: str = setting("", Text(maximum=255), doc="VAPID contact: mailto: or https: address of the operator")
    ca_file: str = setting("", FilePath(), doc="extra trust anchors (PEM), for tests")
    allow: tuple[str, ...] = setting(
        (), List(Text(required=True, maximum=255)), doc="hosts exempt from the guard against private addresses"
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.subject and not self.subject.startswith(("mailto:", "https://")):
            yield "subject", "must be a mailto: or https: address"


SECTIONS = (PushSettings, RemoveOnSettings, AppSettings, ApnsSettings, FcmSettings, WebPushSettings)
