"""The whole SBC against programs that are not ours: Kamailio as the upper server and as a proxy before us;
baresip, linphone, PJSIP, SIPp and a browser as phones; nghttpd as a push provider's HTTP/2 stack; openssl
looks at our certificates; tshark as the judge of what was on the wire.

Everything runs on 127.0.0.0/8 with ports of its own, so several runs may share a machine. Read ``conftest.py`` first;
one file per program beside it. A program that is not installed skips its tests by name; with ``CI=true`` it fails them.
"""
