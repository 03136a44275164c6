"""What a REGISTER says and what it is promised (sections 4, 5.5, 5.6, 8 to 13), without any socket."""

from __future__ import annotations

import pytest

from sbc.push import dialects
from sbc.push.indication import KEEP, NOTHING, REFRESH_LEAD, SHORTEST, Promise, Serving, feature_caps, promise
from sbc.push.orders import PushOrder, PushType
from sbc.push.purr import LENGTH, PERIOD, purr, said_purr
from sbc.push.tokens import AppRules
from sbc.push.webpush import build as web_push
from sbc.push.webpush import subscription
from sbc.registrar import answers
from sbc.registrar.asking import PAUSES, ask, in_time
from sbc.registrar.decide import plan
from sbc.sip.build import REASONS, respond
from sbc.sip.message import parse

TOKEN = "ab" * 32
APPLE = f"pn-provider=apns;pn-param=DEF123GHIJ.com.example.phone.voip;pn-prid={TOKEN}"
SERVED = frozenset(("apns", "fcm", "webpush"))
CAPS = 'Feature-Caps: *;+sip.pns="apns"'


def register(contact=f"<sip:bob@192.0.2.7:5062;{APPLE}>", *headers):
    lines = [
        "REGISTER sip:pbx.example.com SIP/2.0",
        "Via: SIP/2.0/TCP 192.0.2.7:5062;branch=z9hG4bK1",
        "From: <sip:bob@pbx.example.com>;tag=1",
        "To: <sip:bob@pbx.example.com>",
        "Call-ID: c1",
        "CSeq: 3 REGISTER",
        f"Contact: {contact}",
        *headers,
        "Content-Length: 0",
        "",
        "",
    ]
    return parse("\r\n".join(lines).encode())


def said(*given, **rules):
    return dialects.read(register(*given), AppRules(providers=SERVED, **rules))


def serving(**more):
    return Serving(**{"providers": SERVED, "ready": lambda token: True, "vapid": "BPub", **more})


def promised(handover, seconds=600, *, refreshed=False, **more):
    return promise(handover, serving(**more), seconds=seconds, refreshed=refreshed)


# Syntax


def test_statement_01_parameters_with_and_without_values_escaped_or_not():
    assert said("<sip:bob@192.0.2.7;pn-provider>").query == ""
    assert said("<sip:bob@192.0.2.7;pn-provider=>").query == ""
    escaped = said("<sip:bob@192.0.2.7;pn-provider=fcm;pn-param=phone-1;pn-prid=abc%3AAPA91%2Bx>")
    plain = said("<sip:bob@192.0.2.7;pn-provider=fcm;pn-param=phone-1;pn-prid=abc:APA91+x>")
    assert escaped.tokens == plain.tokens
    assert plain.tokens[0].prid == "abc:APA91+x"


def test_statement_02_apple_has_team_bundle_and_service_in_one_parameter():
    [token] = said().tokens
    assert (token.provider, token.param, token.prid, token.kind) == ("apns", "com.example.phone", TOKEN, "voip")
    assert said().team == "DEF123GHIJ"


def test_statement_03_google_has_the_project_and_the_registration_token():
    [token] = said("<sip:bob@192.0.2.7;pn-provider=fcm;pn-param=phone-1;pn-prid=abcAPA91>").tokens
    assert (token.provider, token.param, token.prid) == ("fcm", "phone-1", "abcAPA91")


def test_statement_04_web_push_has_an_escaped_address_alone_and_an_empty_push():
    [token] = said("<sip:bob@192.0.2.7;pn-provider=webpush;pn-prid=https%3A%2F%2Fpush.example.net%2Fx%3Fy>").tokens
    assert (token.param, token.prid) == ("", "https://push.example.net/x?y")
    post = web_push(
        PushOrder(type=PushType.CALL, tokens=(token,)), subscription(token.prid), authorization=b"v", sealed=b"", ttl=0
    )
    assert post.body == b""


def test_statement_05_parameters_behind_the_brackets_count_too_and_those_inside_win():
    behind = f"<sip:bob@192.0.2.7>;pn-provider=apns;pn-param=com.example.phone;pn-prid={TOKEN}"
    assert said(behind).tokens[0].prid == TOKEN
    both = f"<sip:bob@192.0.2.7;{APPLE}>;pn-provider=fcm;pn-param=other;pn-prid=zz"
    assert [token.provider for token in said(both).tokens] == ["apns"]


# REGISTER with pn-provider and pn-prid


def test_statement_06_without_pn_provider_nothing_is_said():
    assert promised(said("<sip:bob@192.0.2.7>")).providers == ()
    by_header = promised(said("<sip:bob@192.0.2.7>", f"X-MPUSH: i:com.example.phone:{TOKEN}"))
    assert (by_header.providers, by_header.tokens) == ((), True)


def test_statement_07_what_a_proxy_before_us_promised_is_not_promised_twice():
    handover = said(f"<sip:bob@192.0.2.7;{APPLE}>", CAPS)
    assert promised(handover) == NOTHING


@pytest.mark.parametrize(
    "handover",
    [
        said("<sip:bob@192.0.2.7;pn-provider=acme;pn-prid=abc>"),
        said(f"<sip:bob@192.0.2.7;pn-provider=apns;pn-prid={TOKEN}>"),
    ],
    ids=["unknown provider", "no app"],
)
def test_statement_08_what_we_cannot_push_gets_no_promise_or_555(handover):
    assert promised(handover) == NOTHING
    assert promised(handover, send_555=True).status == 555


def test_statement_08_an_app_without_credentials_gets_no_promise():
    assert promised(said(), ready=lambda token: False) == NOTHING


def test_statement_09_a_registration_too_short_is_forwarded_in_silence_or_refused():
    assert promised(said(), SHORTEST - 1) == NOTHING
    assert promised(said(), SHORTEST - 1, short="423").status == 423
    assert promised(said(), SHORTEST).providers == ("apns",)
    assert promised(said(), 60, refreshed=True).providers == ("apns",), "we keep it alive ourselves"


def test_statement_11_a_grant_too_short_gets_no_promise():
    assert promised(said(), 600).providers == ("apns",)
    assert promised(said(), 60).providers == ()
    assert not promised(said(), 60).tokens


def test_statement_12_a_field_for_each_provider_and_everything_in_its_field():
    values = feature_caps(("apns", "webpush"), vapid="BPub", purr="x" * LENGTH, pnsreg=True)
    assert len(values) == 2
    for value in values:
        assert value.startswith(b'*;+sip.pns="')
        assert value.count(b"+sip.pns=") == 1
    assert feature_caps((), vapid="BPub", purr="x", pnsreg=True) == []
    assert feature_caps(("apns",)) == [b'*;+sip.pns="apns"']


def test_statement_13_the_vapid_key_is_for_web_push_alone():
    assert feature_caps(("webpush",), vapid="BPub") == [b'*;+sip.pns="webpush";+sip.vapid="BPub"']
    for provider in ("apns", "fcm"):
        assert b"vapid" not in feature_caps((provider,), vapid="BPub")[0]
    assert b"vapid" not in feature_caps(("webpush",))[0]


def test_statement_14_pnsreg_is_answered_where_it_was_asked():
    assert said(f"<sip:bob@192.0.2.7;{APPLE}>;+sip.pnsreg").pnsreg
    assert not said().pnsreg
    assert REFRESH_LEAD > 120
    assert feature_caps(("apns",), pnsreg=True) == [b'*;+sip.pns="apns";+sip.pnsreg="%d"' % REFRESH_LEAD]
    assert b"pnsreg" not in feature_caps(("apns",))[0]


@pytest.mark.parametrize("status", [302, 401, 403, 404, 423, 500, 503])
def test_statement_15_a_refusal_says_nothing_of_push(status):
    request = register()
    response = respond(request, status, headers=[(b"Feature-Caps", b'*;+sip.pns="apns"')])
    assert not answers.refused(response, request, b"pbx.example.com").has(b"feature-caps")


def test_statement_15_what_the_upper_server_says_of_its_own_push_is_not_passed_on_as_ours():
    request = register()
    response = respond(request, 200, headers=[(b"Feature-Caps", b'*;+sip.pns="fcm"'), (b"Feature-Caps", b"*;+g.x")])
    back = answers.accepted(response, request, None, [b'*;+sip.pns="apns"'], chained=False)
    assert back.lines(b"feature-caps") == [b"*;+g.x", b'*;+sip.pns="apns"']


# Query


def test_statement_16_a_question_about_one_provider_is_answered_for_that_one():
    handover = said("<sip:bob@192.0.2.7;pn-provider=apns>", "X-PIID: " + "0" * 32)
    assert (handover.query, handover.tokens, handover.ha1) == ("apns", (), None)
    assert promised(handover).providers == ("apns",)
    assert not promised(handover).tokens


def test_statement_17_a_question_about_all_is_answered_for_each():
    handover = said("<sip:bob@192.0.2.7;pn-provider>")
    assert promised(handover).providers == ("apns", "fcm", "webpush")
    assert len(feature_caps(promised(handover).providers, vapid="BPub")) == 3


def test_statement_18_a_question_about_what_we_do_not_have():
    handover = said("<sip:bob@192.0.2.7;pn-provider=acme>")
    assert promised(handover).status == 0
    assert promised(handover).providers == ()
    assert promised(handover, send_555=True).status == 555
    chained = said("<sip:bob@192.0.2.7;pn-provider=acme>", CAPS)
    assert promised(chained, send_555=True).status == 0, "another proxy has answered it"


def test_statement_19_before_and_after_the_upper_server_the_promise_is_the_same():
    for handover in (said("<sip:bob@192.0.2.7;pn-provider>"), said()):
        assert promised(handover, 600) == promised(handover, 600)
    assert promised(said("<sip:bob@192.0.2.7;pn-provider>"), 1).providers == ("apns", "fcm", "webpush")


def test_statement_19_the_2xx_says_no_more_than_went_up() -> None:
    asked, later = Promise(providers=("apns",)), Promise(providers=("apns", "fcm"))
    assert later.within(asked) == asked
    assert later.within(NOTHING) == NOTHING
    assert NOTHING.within(asked) == NOTHING
    assert KEEP.within(KEEP) == KEEP


def test_statement_20_the_words_of_555():
    assert REASONS[555] == b"Push Notification Service Not Supported"


# Refresh


def test_statement_22_the_app_is_woken_in_time_and_again_with_longer_pauses():
    now = 1_000_000.0
    for granted in (300, 600, 3600):
        assert now + granted - in_time(now + granted, granted, now) >= 120
    pauses = [ask("auto", times, now + 130, now).next_at for times in range(len(PAUSES))]
    assert pauses == sorted(pauses)
    assert pauses[0] - now < 120, "the second push comes before the end, too"
    assert not ask("auto", len(PAUSES) + 1, now + 130, now).push, "and then it is left alone"


def test_statement_23_a_register_of_its_own_moves_the_push():
    now = 1_000_000.0
    assert in_time(now + 1000, 600, now + 400) - in_time(now + 600, 600, now) == 400


# Matching


def device(contact, *headers):
    request = register(contact, *headers)
    bare = request.copy()
    dialects.strip(bare)
    return plan(request, dialects.read(request, AppRules()), bare, keep_on_unregister=False).identity


def test_statement_27_the_same_token_from_another_address_is_the_same_device():
    here = device(f"<sip:bob@192.0.2.7:5062;{APPLE}>")
    assert here == device(f"<sip:bob@198.51.100.9:40001;{APPLE}>")
    assert here != device(f"<sip:bob@192.0.2.7:5062;{APPLE.replace('ab', 'cd')}>"), "another token"
    assert here != device(f"<sip:bob@192.0.2.7:5062;{APPLE.replace('phone', 'tablet')}>"), "another app"
    assert here != device("<sip:bob@192.0.2.7:5062>"), "on one side only"


def test_statement_36_a_push_without_any_text_can_be_sent():
    to = subscription("https://push.example.net/x")
    order = PushOrder(type=PushType.CALL, tokens=())
    assert web_push(order, to, authorization=b"v", sealed=b"", ttl=0).body == b""


# PURR


def test_statement_37_purrs_are_long_unlinkable_and_unforgeable():
    secret, now = b"k" * 32, 1_000_000.0
    one, two = purr(secret, "bob/phone", now), purr(secret, "bob/tablet", now)
    assert len(one) * 5 >= 128
    assert one != two
    shared = sum(left == right for left, right in zip(one, two, strict=True))
    assert shared < 12, "no structure in common"
    assert "bob" not in one
    assert purr(b"j" * 32, "bob/phone", now) != one, "nobody without the key makes one"
    many = {purr(secret, f"bob/{number}", now) for number in range(1000)}
    assert len(many) == 1000


def test_statement_38_a_purr_changes_every_day():
    secret = b"k" * 32
    assert purr(secret, "bob/phone", 10.0) == purr(secret, "bob/phone", PERIOD - 1)
    assert purr(secret, "bob/phone", 10.0) != purr(secret, "bob/phone", PERIOD + 1)


def test_statement_44_what_is_no_purr_of_ours_is_none():
    for value in (None, b"", b"x", b"../etc", b"A" * 31, b"a" * 33, b"a" * 31 + b"-"):
        assert said_purr(value) == ""
    assert said_purr(b"A" * 32) == "a" * 32


def test_statement_45_nothing_of_push_is_left_in_what_goes_up():
    for contact in (f"<sip:bob@192.0.2.7;{APPLE};pn-purr=abc>", f"<sip:bob@192.0.2.7>;{APPLE}"):
        request = register(contact, f"X-MPUSH: i:com.example.phone:{TOKEN}", "X-PIID: " + "0" * 32)
        dialects.strip(request)
        text = request.render().lower()
        for private in (b"pn-", b"x-mpush", b"x-piid", TOKEN.encode()):
            assert private not in text
    assert TOKEN not in repr(said().tokens), "nor in a log of ours"
