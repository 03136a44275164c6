"""The whole SBC against the laboratory: an upper server, phones, push services, all on real loopback sockets.

Read `scene.py` first: it builds the SBC in this process, between the others. `test_process.py` uses a child process,
for what only a signal can show.
"""
