"""Each target runs for some seconds from the torture messages and samples as seeds; a finding fails with its input."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 12
"""For each target: a minute for all."""
NAMES = ("message", "stream", "values", "digest", "description")

SEEDS = {
    "values": (b'"Ada" <sip:ada@[2001:db8::1]:5061;lr;x="y">;tag=1;q=0.5', b"SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport"),
    "digest": (
        b'Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, stale=true',
        b'Digest username="u", realm="r", nonce="n", uri="sip:h", response="' + b"0" * 32 + b'", qop=auth, nc=00000001',
    ),
    "description": (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n"
        b"a=rtpmap:101 telephone-event/8000\r\na=rtcp:4001 IN IP6 ::1\r\na=sendonly\r\nm=video 0 RTP/SAVPF 96\r\n",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_target_survives(name, tmp_path):
    if importlib.util.find_spec("atheris") is None:
        if os.environ.get("CI"):
            pytest.fail("atheris is not installed")
        pytest.skip("atheris is not installed")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for at, seed in enumerate(SEEDS.get(name, ())):
        (corpus / f"sample-{at}").write_bytes(seed)
    if name in ("message", "stream"):
        for message in sorted((ROOT / "tests" / "torture").rglob("*.dat")):
            (corpus / message.name).write_bytes(message.read_bytes())
    run = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.targets", name),
            *(f"-max_total_time={SECONDS}", "-max_len=4096", "-timeout=60", "-rss_limit_mb=1024", "-verbosity=0"),
            *(f"-artifact_prefix={tmp_path}/", str(corpus)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS + 240,
    )
    findings = [path.read_bytes() for path in tmp_path.glob("*-*") if path.is_file()]
    assert run.returncode == 0, f"{findings!r}\n{run.stderr[-4000:]}"
