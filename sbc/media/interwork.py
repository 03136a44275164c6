"""Descriptions between parties that differ: what each side's line must say so that it can talk to the relay.  [pure]

A line whose protection ends at the relay is undressed of everything that concerned the way to its sender, moved to the
relay's ports by `rewrite.redirect`, and dressed for its receiver. What is said about the media itself stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sbc.media.ice import Credentials
from sbc.media.protection import Mode
from sbc.media.rewrite import BYPASSES
from sbc.media.sdes import Crypto
from sbc.media.sdp import INACTIVE, RECVONLY, SENDONLY, SENDRECV, Media, Section, Session, literal

#: The discard port: stands for "by ICE" in descriptions of browsers.
_DISCARD = 9
#: Keys, certificates and roles are those of the relay.
_KEYS = frozenset(
    {b"crypto", b"fingerprint", b"setup", b"tls-id", b"identity", b"connection", b"zrtp-hash", b"key-mgmt"}
)
#: How RTCP is carried is agreed on with each party.
_RTCP = frozenset({b"rtcp", b"rtcp-mux", b"rtcp-mux-only"})
#: What only browsers understand, or refers to header extensions and feedback that a plain phone did not agree to.
_WEB_ONLY = frozenset(
    {b"extmap", b"extmap-allow-mixed", b"ssrc", b"ssrc-group", b"msid", b"msid-semantic", b"rid", b"simulcast",
     b"rtcp-rsize", b"mid", b"group", b"rtcp-fb"}
)  # fmt: skip
#: Goes with the F of AVPF (RFC 4585, RFC 5506).
_FEEDBACK = frozenset({b"rtcp-fb", b"rtcp-rsize"})
#: Lines on one port are grouped anew for each browser.
_GROUPING = frozenset({b"mid", b"group"})
#: All line types of a media description.
_ANYWHERE = b"micbka"
#: What the static payload types are called (RFC 3551): phones may leave that out, WebRTC agents may not (RFC 9429
#: section 5.2.1).
_STATIC = {
    0: b"PCMU/8000", 3: b"GSM/8000", 4: b"G723/8000", 8: b"PCMA/8000", 9: b"G722/8000", 13: b"CN/8000",
    15: b"G728/8000", 18: b"G729/8000", 31: b"H261/90000", 34: b"H263/90000",
}  # fmt: skip
#: Of host candidates (RFC 8445 section 5.1.2.1): type preference 126, the only interface, component 1.
_PRIORITY = (126 << 24) + (65_535 << 8) + 255


@dataclass(frozen=True, slots=True)
class Face:
    """What the receiver is shown on one line: `was` is the mode of the line's sender, `port` the relay's."""

    mode: Mode
    was: Mode
    protocol: bytes
    port: int
    cryptos: tuple[Crypto, ...] = ()
    fingerprint: bytes = b""
    setup: bytes = b""
    ice: Credentials | None = None
    mid: bytes | None = None
    muxed: bool = False


def profile(mode: Mode, was: Mode, protocol: bytes) -> bytes:
    """The transport protocol of an offer in this mode, made of one whose sender was in mode `was` with `protocol`.

    Feedback (the F of AVPF) is only kept between parties of a kind: plain phones refuse it.
    """
    if mode == "web":
        return b"UDP/TLS/RTP/SAVPF"
    feedback = b"F" if was == mode and protocol.upper().endswith(b"F") else b""
    return {"plain": b"RTP/AVP", "sdes": b"RTP/SAVP"}.get(mode, b"UDP/TLS/RTP/SAVP") + feedback


def open_bundle(session: Session) -> None:
    """Give lines that exist only inside a bundle (RFC 9143 section 6) a port, so that they do not seem rejected."""
    for media in session.media:
        if not media.port and media.has(b"bundle-only"):
            media.move(_DISCARD)


def undress(session: Session, faces: Mapping[int, Face], address: bytes) -> None:
    """Before `redirect`: remove what concerned the sender's way to the relay from these lines and from the session."""
    if not faces:
        return
    session.head.drop(frozenset[bytes]().union(*(_foreign(face) for face in faces.values())))
    connection = b"IN %s %s" % (b"IP6" if b":" in address else b"IP4", address)
    null = session.head.connection is not None and session.head.connection.unspecified
    for index, face in faces.items():
        media = session.media[index]
        own = media.connection
        if null if own is None else own.unspecified:
            media.replace(b"c", connection)
            if face.was != "web":
                _hold(session, media)
        pictures = _picture_requests(media)
        media.drop(_foreign(face) | _RTCP)
        if pictures and not media.has(b"rtcp-fb"):
            for value in pictures:
                _add(media, b"rtcp-fb:" + value)
    if null:
        session.head.replace(b"c", connection)


def dress(session: Session, faces: Mapping[int, Face], address: bytes, bundles: list[bytes]) -> None:
    """After `redirect`: say how the receiver reaches the relay. `bundles` are the mids that share a transport."""
    for index, face in faces.items():
        media = session.media[index]
        media.protocol = face.protocol
        media.move(face.port)
        for crypto in face.cryptos:
            _add(media, b"crypto:" + crypto.render())
        if face.fingerprint:
            _add(media, b"fingerprint:" + face.fingerprint)
            _add(media, b"setup:" + face.setup)
        if face.muxed:
            _add(media, b"rtcp-mux")
        if face.mode == "web":
            _complete(session, media)
            _add_web(media, face, index, address)
    if any(face.mode == "web" for face in faces.values()):
        if bundles:
            _add(session.head, b"group:BUNDLE " + b" ".join(bundles))
        _add(session.head, b"ice-lite")


def reject(media: Media, protocol: bytes, mid: bytes | None) -> None:
    """Refuse a line, in the words of the protocol it was offered with."""
    media.protocol = protocol
    media.move(0)
    media.drop(_KEYS | BYPASSES | _RTCP | _WEB_ONLY)
    if mid is not None:
        _add(media, b"mid:" + mid)


def bundled(session: Session) -> list[bytes]:
    """The mids of the first bundle, in its order (RFC 9143)."""
    for name, value in session.head.attributes():
        if name == b"group" and value is not None:
            words = value.split()
            if words and words[0].upper() == b"BUNDLE":
                return words[1:]
    return []


def _foreign(face: Face) -> frozenset[bytes]:
    """What the receiver must not see of the sender."""
    if "web" not in (face.was, face.mode):
        return _KEYS | BYPASSES | (_FEEDBACK if not face.protocol.upper().endswith(b"F") else frozenset())
    return _KEYS | BYPASSES | (_GROUPING if face.was == face.mode else _WEB_ONLY)


def _add(section: Section, attribute: bytes) -> None:
    section.insert(b"a", attribute, _ANYWHERE if isinstance(section, Media) else b"vosiuepcbtrzka")


def _add_web(media: Media, face: Face, index: int, address: bytes) -> None:
    if face.mid is not None:
        _add(media, b"mid:" + face.mid)
    if not media.has(b"msid"):
        _add(media, b"msid:relay relay-%d" % index)
    if face.ice is not None:
        _add(media, b"ice-ufrag:" + face.ice.ufrag)
        _add(media, b"ice-pwd:" + face.ice.password)
    if literal(address.decode("ascii", "replace")) is not None:
        _add(media, b"candidate:1 1 udp %d %s %d typ host" % (_PRIORITY, address, face.port))
    _add(media, b"end-of-candidates")


def _complete(session: Session, media: Media) -> None:
    """Say what goes without saying between phones: the direction and the names of static payload types."""
    if media.direction is None and session.head.direction is None:
        _add(media, SENDRECV)
    named = {value.split()[0] for name, value in media.attributes() if name == b"rtpmap" and value and value.split()}
    for word in media.formats:
        static = _STATIC.get(int(word)) if word.isdigit() and len(word) <= 3 and word not in named else None
        if static is not None:
            _add(media, b"rtpmap:" + word + b" " + static)


def _picture_requests(media: Media) -> list[bytes]:
    """The feedback by which a receiver asks for a whole picture: without it video that lost its first one stays dark.
    Phones that do not know it pass it over."""
    if media.kind != b"video":
        return []
    values = [value for name, value in media.attributes() if name == b"rtcp-fb" and value is not None]
    return [value for value in values if value.split()[1:] in ([b"nack", b"pli"], [b"ccm", b"fir"])]


def _hold(session: Session, media: Media) -> None:
    """The null address means "send me nothing" (RFC 3264 section 8.4); who cannot be told so is told by a direction."""
    direction = session.direction(media)
    media.drop(frozenset({SENDRECV, SENDONLY, RECVONLY, INACTIVE}))
    _add(media, SENDONLY if direction in (SENDRECV, SENDONLY) else INACTIVE)
