"""Measurements: what a call, a registration and a wake cost, against Kamailio in the same run; memory; latency.

``python -m bench`` (``make bench``) runs all of them, ``python -m bench calls`` one. In: nothing but the installed
product and, for the comparisons, Kamailio and SIPp. Out: lines on standard output, and JSON lines with ``--json``.
Read ``run.py`` first (how a server is started and its CPU read), then ``calls.py``.
"""
