"""TLS: what openssl's own client sees of a listener, PJSIP as a phone that checks our
certificate, Kamailio as an upper server whose certificate we check."""

from __future__ import annotations

import pytest

from tests.peers.authority import Authority
from tests.peers.lab_process import APP, BUNDLE
from tests.peers.ports import free_port
from tests.peers.program import until

OPTIONS = """OPTIONS sip:127.0.0.1 SIP/2.0
Via: SIP/2.0/TLS 127.0.0.4:5061;branch=z9hG4bK{number};rport
Max-Forwards: 70
From: <sip:probe@127.0.0.4>;tag=p{number}
To: <sip:127.0.0.1>
Call-ID: probe-{number}
CSeq: {number} OPTIONS
Content-Length: 0

"""
ADDRESS = "127.0.0.1"


def listeners(identity, **more):
    """UDP and TLS, each on a port of its own: (tables, UDP port, TLS port)."""
    plain, secure = free_port(), free_port()
    table = {
        "uri": f"tls:{ADDRESS}:{secure}",
        "certificate": str(identity.certificate),
        "key": str(identity.key),
        **more,
    }
    return [{"uri": f"udp:{ADDRESS}:{plain}"}, table], plain, secure


@pytest.fixture
def border(kamailio, sbc, authority):
    """An SBC with a TLS listener that ``authority`` vouches for; (sbc, HOST:PORT of TLS, its identity)."""
    identity = authority.issue(ADDRESS, "sbc.example.test", file="sbc")
    listen, plain, secure = listeners(identity)
    return sbc(kamailio(), port=plain, listen=listen), f"{ADDRESS}:{secure}", identity


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_openssl_finds_the_certificate_and_a_sip_server_behind_it(border, authority, openssl, version):
    _, address, identity = border
    switch = "-" + version.lower().replace(".", "_").replace("v", "")
    client = openssl(address, switch, "-CAfile", str(authority.ca_file), "-verify_return_error", "-verify_ip", ADDRESS)

    assert client.established() == version
    assert "Verify return code: 0 (ok)" in client.output
    assert identity.certificate.read_text() in client.output
    client.send(OPTIONS.format(number=1))
    client.wait("SIP/2.0 200")


@pytest.mark.parametrize("options", [("-tls1_1",), ("-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0")])
def test_old_versions_and_ciphers_without_forward_secrecy_are_refused(border, openssl, options):
    _, address, _ = border
    assert "alert" in openssl(address, *options).refused()


def test_a_new_certificate_is_shown_after_sighup_and_open_connections_stay(border, authority, openssl):
    running, address, old = border
    trust = ("-CAfile", str(authority.ca_file), "-verify_return_error")
    first = openssl(address, *trust)
    first.established()
    shown = old.certificate.read_text()

    new = authority.issue(ADDRESS, file="sbc")
    running.reload()

    def is_new():
        client = openssl(address, *trust)
        client.established()
        client.stop()
        return new.certificate.read_text() in client.output

    until(is_new, "the new certificate is shown")
    assert shown in first.output
    first.send(OPTIONS.format(number=2))
    first.wait("SIP/2.0 200")


def test_a_broken_certificate_file_at_sighup_leaves_the_old_one_in_force(border, authority, openssl):
    running, address, identity = border
    shown = identity.certificate.read_text()
    identity.certificate.write_text("this is no certificate\n")

    running.reload()
    running.wait_log(str(identity.certificate))

    client = openssl(address, "-CAfile", str(authority.ca_file), "-verify_return_error")
    client.established()
    assert shown in client.output
    assert running.healthy()


def test_a_listener_that_wants_client_certificates_gets_them(kamailio, sbc, authority, openssl):
    identity = authority.issue(ADDRESS, file="sbc")
    phone = authority.issue("phone.example.test", file="phone")
    listen, plain, secure = listeners(identity, client_ca=str(authority.ca_file))
    sbc(kamailio(), port=plain, listen=listen)
    address = f"{ADDRESS}:{secure}"

    nobody = openssl(address)
    nobody.send(OPTIONS.format(number=3))
    until(lambda: not nobody.program.running, "who shows none is cut")
    assert "SIP/2.0 200" not in nobody.output
    client = openssl(address, "-cert", str(phone.certificate), "-key", str(phone.key))
    client.established()
    client.send(OPTIONS.format(number=4))
    client.wait("SIP/2.0 200")


def test_each_name_that_openssl_asks_for_has_its_certificate(kamailio, sbc, authority, openssl):
    one = authority.issue("one.example.test", file="one")
    two = authority.issue("two.example.test", file="two")
    both = two.certificate.with_name("both.pem")
    both.write_text(two.key.read_text() + two.certificate.read_text())
    both.chmod(0o600)
    listen, plain, secure = listeners(one, certificates=[str(both)])
    sbc(kamailio(), port=plain, listen=listen)

    for name, shown in (("one.example.test", one), ("two.example.test", two), ("three.example.test", one)):
        client = openssl(f"{ADDRESS}:{secure}", "-servername", name)
        client.established()
        assert shown.certificate.read_text() in client.output
        client.stop()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_resumes_its_session(border, openssl, tmp_path, version):
    _, address, _ = border
    session = tmp_path / f"session{version}.pem"
    first = openssl(address, version, "-sess_out", str(session))
    first.established()
    first.send(OPTIONS.format(number=5))
    first.wait("SIP/2.0 200")
    first.stop()

    second = openssl(address, version, "-sess_in", str(session))
    second.program.wait_for(lambda: "Reused, TLSv1." in second.output, "the session is resumed")
    second.send(OPTIONS.format(number=6))
    second.wait("SIP/2.0 200")


def test_a_client_certificate_may_be_optional(kamailio, sbc, authority, openssl):
    identity = authority.issue(ADDRESS, file="sbc")
    phone = authority.issue("phone.example.test", file="phone")
    listen, plain, secure = listeners(identity, client_ca=str(authority.ca_file), client_certificate="optional")
    sbc(kamailio(), port=plain, listen=listen)

    for options in ((), ("-cert", str(phone.certificate), "-key", str(phone.key))):
        client = openssl(f"{ADDRESS}:{secure}", *options)
        client.established()
        client.send(OPTIONS.format(number=7 + len(options)))
        client.wait("SIP/2.0 200")


def test_pjsip_registers_over_tls_with_its_token_and_is_called(kamailio, sbc, lab, authority, pjsua2, baresip):
    upper = kamailio()
    listen, plain, secure = listeners(authority.issue(ADDRESS, file="sbc"))
    border = sbc(upper, port=plain, listen=listen, sections=lab.sections())
    push = f"pn-provider=apns;pn-param={APP};pn-prid={'ab' * 32}"
    bob = pjsua2("bob", f"{ADDRESS}:{secure}", transport="tls", ca_file=authority.ca_file, push=push)
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    assert '+sip.pns="apns"' in bob.wait("registration")["text"]
    [contact] = upper.wait_registered("bob")
    assert "pn-" not in contact
    [token] = border.rows("select provider, param from push_tokens")
    assert (token["provider"], token["param"]) == ("apns", BUNDLE)
    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    until(lambda: bob.hears() > 30, "sound reaches him")
    alice.hang_up()

    bob.wait("call", state="DISCONNECTED")
    stream = bob.wait("stream")
    assert stream["received"] > 30
    assert "pn-" not in bob.wait("invite")["text"].split("\n")[0]
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 200


def test_pjsip_does_not_register_where_the_certificate_is_another_ones(kamailio, sbc, authority, pjsua2):
    listen, plain, secure = listeners(authority.issue("sbc.elsewhere.test", file="sbc"))
    border = sbc(kamailio(), port=plain, listen=listen)

    bob = pjsua2("bob", f"{ADDRESS}:{secure}", transport="tls", ca_file=authority.ca_file, registers=False)

    assert bob.wait("registration")["code"] >= 500
    assert not border.rows("select * from bindings")


def upper_table(upper, host=None):
    return {"name": "pbx", "uri": f"sip:{host or upper.host}:{upper.tls_port};transport=tls", "domain": upper.realm}


def test_the_upper_server_by_tls_in_both_directions(kamailio, sbc, authority, baresip, sipp):
    upper = kamailio(identity=authority.issue("127.0.0.2", file="upper"), ca_file=authority.ca_file)
    listen, plain, _ = listeners(authority.issue(ADDRESS, file="sbc"))
    trust = {"transport": {"ca_file": str(authority.ca_file)}}
    border = sbc([upper_table(upper)], port=plain, listen=listen, sections=trust)
    bob = baresip("bob", border.address)
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    [contact] = upper.wait_registered("bob")
    assert contact.endswith(";transport=tls")
    alice.call("sip:bob@example.test")
    bob.wait("CALL_INCOMING")
    bob.accept()
    alice.wait("CALL_ESTABLISHED")
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    seen = len(bob.events)
    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED", after=seen)
    bob.hang_up()
    alice.wait("CALL_CLOSED")


@pytest.mark.parametrize(
    ("names", "trusted", "why"),
    [
        (("127.0.0.9", "pbx.elsewhere.test"), True, "the certificate is not for 127.0.0.2"),
        (("127.0.0.2",), False, "certificate of 127.0.0.2 not trusted"),
    ],
)
def test_an_upper_server_that_is_somebody_else_hears_nothing(
    kamailio, sbc, authority, sipp, tmp_path, names, trusted, why
):
    stranger = Authority(tmp_path / "stranger")
    upper = kamailio(identity=authority.issue(*names, file="upper"))
    listen, plain, _ = listeners(authority.issue(ADDRESS, file="sbc"))
    trust = {"transport": {"ca_file": str((authority if trusted else stranger).ca_file)}}
    border = sbc([upper_table(upper)], port=plain, listen=listen, sections=trust)
    keys = {"realm": "example.test", "expires": "60", "contact": ""}

    run = sipp("register", border.address, keys=keys, rows=["bob;"])
    run.program.process.wait(100)

    assert "SIP/2.0 503" in run.messages()
    assert not upper.contacts("bob")
    border.wait_log(why)
