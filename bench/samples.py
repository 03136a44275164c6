"""Messages as phones and servers send them, for the benches: an INVITE of 18 headers, its 200, a REGISTER for push."""

from __future__ import annotations

_SDP = b"".join(
    line + b"\r\n"
    for line in (
        b"v=0",
        b"o=- 20518 0 IN IP4 203.0.113.77",
        b"s=-",
        b"c=IN IP4 203.0.113.77",
        b"t=0 0",
        b"m=audio 30018 RTP/AVP 96 9 8 0 101",
        b"a=rtpmap:96 opus/48000/2",
        b"a=fmtp:96 useinbandfec=1;minptime=10",
        b"a=rtpmap:9 G722/8000",
        b"a=rtpmap:8 PCMA/8000",
        b"a=rtpmap:0 PCMU/8000",
        b"a=rtpmap:101 telephone-event/8000",
        b"a=fmtp:101 0-16",
        b"a=ptime:20",
        b"a=rtcp:30019",
        b"a=sendrecv",
    )
)


def _message(start: bytes, headers: bytes, body: bytes = b"") -> bytes:
    lines = [line.strip() for line in headers.strip().split(b"\n")]
    return b"\r\n".join([start, *lines, b"Content-Length: %d" % len(body), b"", body])


INVITE = _message(
    b"INVITE sip:+442079460123@sbc.example.com:5060;user=phone;transport=udp SIP/2.0",
    b"""Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK-71f3-5-0a9c2b44e1;rport
    Via: SIP/2.0/UDP 192.168.17.4:5062;branch=z9hG4bKq8w7e6r5t4;received=203.0.113.77;rport=41812
    Route: <sip:sbc.example.com:5060;lr;leg=core>
    Max-Forwards: 69
    From: "Ada Example" <sip:+442079460999@example.com;user=phone>;tag=a1b2c3d4e5
    To: <sip:+442079460123@example.com;user=phone>
    Call-ID: 5f1c0e6a7b2d4938@phone31.example.com
    CSeq: 27182 INVITE
    Contact: <sip:+442079460999@203.0.113.77:41812;transport=udp;ob>;\
+sip.instance="<urn:uuid:6f1d0c2a-1111-4b7e-9c55-0123456789ab>"
    Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS
    Supported: replaces, 100rel, timer, norefersub, outbound, path
    Session-Expires: 1800;refresher=uac
    Min-SE: 90
    P-Asserted-Identity: <sip:+442079460999@example.com;user=phone>
    Privacy: none
    User-Agent: SamplePhone/5.1.0 (Linux; aarch64)
    Content-Type: application/sdp""",
    _SDP,
)

OK = _message(
    b"SIP/2.0 200 OK",
    b"""Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK0-7d1e99-5a;rport=5060;received=127.0.0.1
    Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK-71f3-5-0a9c2b44e1;rport=5060
    Via: SIP/2.0/UDP 192.168.17.4:5062;branch=z9hG4bKq8w7e6r5t4;received=203.0.113.77;rport=41812
    Record-Route: <sip:127.0.0.1:5060;lr>
    From: "Ada Example" <sip:+442079460999@example.com;user=phone>;tag=a1b2c3d4e5
    To: <sip:+442079460123@example.com;user=phone>;tag=998877aa
    Call-ID: 5f1c0e6a7b2d4938@phone31.example.com
    CSeq: 27182 INVITE
    Contact: <sip:+442079460123@198.51.100.30:5060;transport=udp>
    Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS
    Supported: replaces, timer
    Server: SampleGateway/3.0
    Content-Type: application/sdp""",
    _SDP,
)

REGISTER = _message(
    b"REGISTER sip:example.com SIP/2.0",
    b"""Via: SIP/2.0/TLS 192.168.17.4:50622;branch=z9hG4bKr4t5y6u7;rport;alias
    Max-Forwards: 70
    From: <sip:ada@example.com>;tag=445566
    To: <sip:ada@example.com>
    Call-ID: 7a6b5c4d3e2f1a0b9c8d
    CSeq: 1826 REGISTER
    Contact: <sip:ada@192.168.17.4:50622;transport=tls;ob;pn-provider=apns;\
pn-param=DEF123GHIJ.com.example.phone.voip;\
pn-prid=00ff11ee22dd33cc44bb55aa66997788990011223344556677889900aabbccdd>;\
+sip.instance="<urn:uuid:6f1d0c2a-1111-4b7e-9c55-0123456789ab>";reg-id=1;expires=3600
    Supported: path, outbound, gruu
    Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS
    Authorization: Digest username="ada", realm="example.com", nonce="bm9uY2Utb2YtdGhlLWJlbmNo", \
uri="sip:example.com", response="0123456789abcdef0123456789abcdef", \
algorithm=MD5, qop=auth, nc=00000001, cnonce="5d1e0f2a"
    User-Agent: SamplePhone-iOS/5.1.0 (iPhone; iOS 19.1)
    Expires: 3600""",
)
