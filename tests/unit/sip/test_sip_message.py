"""Messages: what is read, what is edited, what stays as it came."""

from __future__ import annotations

import pytest

from sbc.sip import LocalError, ParseError, Request, Response, limits, parse

INVITE = b"\r\n".join(
    [
        b"INVITE sip:bob@example.com SIP/2.0",
        b"v: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone;rport, SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKtwo",
        b"VIA : SIP/2.0/WSS ab12cd.invalid;branch=z9hG4bKthree",
        b"Max-Forwards: 70",
        b'f: "Doe, John" <sip:doe@example.com>;tag=abc',
        b"To: <sip:bob@example.com;user=phone>",
        b"i: 1@192.0.2.1",
        b"CSeq: 17 INVITE",
        b"m: <sip:doe@192.0.2.1>",
        b"Subject: one,\r\n\ttwo",
        b"X-Odd-NAME\t : kept",
        b"l: 4",
        b"",
        b"v=0\n",
    ]
)


def invite() -> Request:
    request = parse(INVITE)
    assert isinstance(request, Request)
    return request


def response(text: bytes = b"SIP/2.0 200 OK") -> Response:
    answer = parse(text + b"\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\r\n")
    assert isinstance(answer, Response)
    return answer


def test_names_are_canonical_however_they_are_spelled() -> None:
    assert invite().names() == [
        b"via",
        b"via",
        b"max-forwards",
        b"from",
        b"to",
        b"call-id",
        b"cseq",
        b"contact",
        b"subject",
        b"x-odd-name",
        b"content-length",
    ]


def test_values_are_trimmed_and_unfolded() -> None:
    request = invite()
    assert request.first(b"subject") == b"one, two"
    assert request.first(b"x-odd-name") == b"kept"
    assert request.first(b"expires") is None
    assert request.lines(b"expires") == []


def test_lists_are_split_over_lines_and_commas() -> None:
    request = invite()
    assert len(request.lines(b"via")) == 2
    assert [via.branch for via in request.vias] == [b"z9hG4bKone", b"z9hG4bKtwo", b"z9hG4bKthree"]
    assert request.via.wants_rport


def test_typed_values() -> None:
    request = invite()
    assert request.cseq.render() == b"17 INVITE"
    assert request.call_id == b"1@192.0.2.1"
    assert (request.from_.name, request.from_tag, request.to_tag) == ("Doe, John", b"abc", None)
    assert request.to.uri.params == {b"user": b"phone"}
    assert request.contacts[0].uri.render() == b"sip:doe@192.0.2.1"
    assert (request.max_forwards, request.expires, request.star_contact) == (70, None, False)
    assert request.parsed_uri.username == "bob"


def test_untouched_leaves_as_it_came() -> None:
    request = invite()
    _ = request.via, request.contacts, request.parsed_uri, request.from_tag
    assert request.render() == INVITE


def test_an_edit_touches_its_own_line_only() -> None:
    request = invite()
    request.set(b"max-forwards", b"69")
    assert request.render() == INVITE.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")


def test_set_drops_the_others_and_add_goes_behind_them() -> None:
    request = invite()
    request.set(b"via", b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKnew")
    assert request.lines(b"via") == [b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKnew"]
    assert request.via.branch == b"z9hG4bKnew"
    request.add(b"contact", b"<sip:second@192.0.2.1>")
    request.add(b"p-new", b"1")
    assert [contact.uri.username for contact in request.contacts] == ["doe", "second"]
    assert request.names()[6:8] == [b"contact", b"contact"]
    assert request.names()[-1] == b"p-new"


def test_push_goes_on_top_and_pop_top_takes_one_member() -> None:
    request = invite()
    request.push(b"via", b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKours")
    request.push(b"record-route", b"<sip:192.0.2.9;lr>")
    assert request.names()[:3] == [b"record-route", b"via", b"via"]
    assert request.pop_top(b"via") == b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKours"
    assert request.pop_top(b"via") == b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone;rport"
    assert request.lines(b"via")[0] == b"SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKtwo"
    assert request.pop_top(b"route") is None


def test_set_top_leaves_the_rest_of_the_list() -> None:
    request = invite()
    request.set_top(b"via", b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKnew")
    assert [via.branch for via in request.vias] == [b"z9hG4bKnew", b"z9hG4bKtwo", b"z9hG4bKthree"]
    request.set_top(b"route", b"<sip:192.0.2.9;lr>")
    assert request.names()[0] == b"route"


def test_replace_keeps_the_place() -> None:
    request = invite()
    request.replace(b"via", [b"SIP/2.0/UDP a;branch=z9hG4bK1", b"SIP/2.0/UDP b;branch=z9hG4bK2"])
    assert request.names()[:3] == [b"via", b"via", b"max-forwards"]
    request.replace(b"route", [b"<sip:a;lr>", b"<sip:b;lr>"])
    assert request.names()[:2] == [b"route", b"route"]
    assert [route.uri.address for route in request.routes] == ["a", "b"]
    request.replace(b"route", [])
    assert not request.has(b"route")
    assert request.routes == []


def test_remove_several() -> None:
    request = invite()
    request.remove(b"subject", b"x-odd-name", b"not-there")
    assert b"one,\r\n\ttwo" not in request.render()
    assert not request.has(b"x-odd-name")


def test_a_trailing_blank_hides_no_header() -> None:
    request = parse(b"REGISTER sip:a SIP/2.0\r\nX-PIID : secret\r\nx-piid\t: too\r\nX-PIID: three\r\n\r\n")
    request.remove(b"x-piid")
    assert request.names() == []


def test_a_copy_is_independent() -> None:
    request = invite()
    _ = request.via
    twin = request.copy()
    twin.push(b"via", b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKours")
    twin.uri = b"sip:elsewhere@example.com"
    twin.body = b""
    assert request.render() == INVITE
    assert twin.via.branch == b"z9hG4bKours"
    assert twin.parsed_uri.username == "elsewhere"
    assert b"Content-Length: 0\r\n\r\n" in twin.render()


def test_content_length_follows_the_body() -> None:
    request = invite()
    request.body = b"longer than before"
    assert b"\r\nContent-Length: 18\r\n\r\nlonger than before" in request.render()
    request.remove(b"content-length")
    assert b"\r\nContent-Length: 18\r\n\r\nlonger than before" in request.render()
    request.set(b"content-length", b"3")
    assert b"\r\nContent-Length: 18\r\n\r\n" in request.render()


def test_bytes_behind_the_body_are_dropped() -> None:
    request = parse(INVITE + b"junk")
    assert request.body == b"v=0\n"
    assert request.render() == INVITE


def test_line_ends_before_the_start_line_are_skipped() -> None:
    assert parse(b"\r\n\r\n" + INVITE).render() == INVITE


def test_a_line_end_in_a_value_of_ours_is_our_mistake() -> None:
    request = invite()
    for value in (b"a\r\nRoute: <sip:evil>", b"a\nb", b"a\r"):
        with pytest.raises(LocalError):
            request.set(b"subject", value)
    request.uri = b"sip:a\r\nX: y"
    with pytest.raises(LocalError):
        request.render()


def test_star_contact() -> None:
    head = b"REGISTER sip:a SIP/2.0\r\nContact: "
    assert parse(head + b"*\r\n\r\n").star_contact
    assert parse(head + b"*\r\n\r\n").contacts == []
    both = parse(head + b"*, <sip:a@b>\r\n\r\n")
    assert not both.star_contact
    with pytest.raises(ParseError):
        _ = both.contacts


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (b"<sip:a@b>;tag=x", b"x"),
        (b"<sip:a@b> ; TAG = x ;y", b"x"),
        (b"sip:a@b;tag=x", b"x"),
        (b"sip:a@b", None),
        (b"<sip:a@b;tag=inside>", None),
        (b'"a;tag=no>" <sip:a@b>', None),
        (b'<sip:a@b>;q=";tag=no";tag=yes', b"yes"),
        (b'<sip:a@b>;tag=yes;q=">"', b"yes"),
        (b"<sip:a@b>;x=;tag=y;tag=z", b"y"),
    ],
)
def test_tags(value: bytes, tag: bytes | None) -> None:
    assert parse(b"BYE sip:a SIP/2.0\r\nTo: %b\r\n\r\n" % value).to_tag == tag


def test_responses() -> None:
    answer = response(b"SIP/2.0 486 Besetzt \xc3\xbc")
    assert (answer.status, answer.reason) == (486, b"Besetzt \xc3\xbc")
    assert response(b"SIP/2.0 180 ").reason == b""
    assert response(b"SIP/2.0 180").status == 180
    assert answer.copy().render() == answer.render()


@pytest.mark.parametrize("start", [b"SIP/2.0 99 X", b"SIP/2.0 700 X", b"SIP/2.0 +20 X", b"SIP/3.0 200 OK", b"SIP/2.0"])
def test_bad_status_lines(start: bytes) -> None:
    with pytest.raises(ParseError):
        response(start)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"INVITE sip:a SIP/2.0",
        b"INVITE sip:a SIP/2.0\r\nVia: x\r\n",
        b"INVITE sip:a SIP/2.0\r\nno colon\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nVia\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n: no name\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nna me: x\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n folded: start\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nA: b\nRoute: <sip:smuggled>\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nA: b\rRoute: <sip:smuggled>\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nA: b\r\r\n\r\n",
        b"INVITE sip:a SIP/2.0\nA: b\n\n",
    ],
)
def test_what_is_not_sip_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse(data)


@pytest.mark.parametrize("length", [b"5", b"-1", b"4294967296", b"4, 4", b"0x4", b"", b"+4", b"4 4", b"99" * 5000])
def test_content_lengths_that_end_a_message(length: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse(INVITE.replace(b"l: 4", b"l: " + length))
    assert caught.value.request is not None or len(length) > limits.MAX_HEADER_LINE


def test_two_content_lengths_even_if_equal() -> None:
    with pytest.raises(ParseError) as caught:
        parse(INVITE.replace(b"l: 4", b"l: 4\r\nContent-Length: 4"))
    assert isinstance(caught.value.request, Request)


def test_limits() -> None:
    head = b"OPTIONS sip:a SIP/2.0\r\n"
    assert len(parse(head + b"A: b\r\n" * limits.MAX_HEADERS + b"\r\n").names()) == limits.MAX_HEADERS
    for data, status in (
        (head + b"A: b\r\n" * (limits.MAX_HEADERS + 1) + b"\r\n", 513),
        (head + b"A: " + b"b" * limits.MAX_HEADER_LINE + b"\r\n\r\n", 513),
        (b"OPTIONS sip:" + b"a" * limits.MAX_HEADER_LINE + b" SIP/2.0\r\n\r\n", 414),
        (head + b"\r\n" + b"b" * (limits.MAX_BODY + 1), 513),
    ):
        with pytest.raises(ParseError) as caught:
            parse(data)
        assert caught.value.status == status


def test_a_line_too_long_is_answered_when_it_can_be() -> None:
    with pytest.raises(ParseError) as caught:
        parse(INVITE.replace(b"kept", b"k" * limits.MAX_HEADER_LINE))
    assert (caught.value.status, caught.value.request is not None) == (513, True)


def test_the_memory_of_spellings_is_bounded() -> None:
    from sbc.sip.names import SPELLINGS

    for round_ in range(30):
        lines = b"".join(b"X-%d-%d: y\r\n" % (round_, index) for index in range(150))
        parse(b"OPTIONS sip:a SIP/2.0\r\n" + lines + b"\r\n")
    assert len(SPELLINGS) <= limits.MAX_SPELLINGS
    late = parse(b"OPTIONS sip:a SIP/2.0\r\nviA \t: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\r\n")
    assert late.via.host == b"a"
