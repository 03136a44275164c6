"""The build. What the package is stands in setup.cfg; here is only what may be compiled.

With SBC_COMPILED=1 in the environment the modules below become machine code by mypyc, from the very sources that run as
they are without it: same behaviour, same tests. That takes a C compiler and Python's headers.
"""

import os
from glob import glob
from typing import Any

from setuptools import setup

HOT = (
    "sbc/sip/*.py",
    "sbc/transaction/*.py",
    "sbc/observe/kinds.py",
    "sbc/observe/masking.py",
    "sbc/observe/metrics.py",
    "sbc/proxy/header_rules.py",
    "sbc/proxy/hiding.py",
    "sbc/proxy/loops.py",
    "sbc/upper/face.py",
)
"""What nearly every message passes, and pure: only that gains. The whole proxy compiled gains a tenth more, and takes
five minutes to build."""

PLAIN = ("sbc/sip/__init__.py", "sbc/sip/errors.py", "sbc/transaction/__init__.py", "sbc/transaction/effects.py")
"""Not compiled: nothing in it; classes that plain modules derive from; dataclasses that name classes made later."""


def machine_code() -> list[Any]:
    """The compiled modules."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []  # pip runs this file first to learn from `setup_requires` that mypy is needed, then with it
    found = [path for pattern in HOT for path in sorted(glob(pattern)) if path not in PLAIN]
    return list(
        mypycify(
            ["--cache-dir=build/mypy", *found],
            opt_level="1",
            debug_level="0",
            group_name="sbc",
            target_dir="build/mypyc",
        )
    )


if os.environ.get("SBC_COMPILED") == "1":
    setup(setup_requires=["mypy >= 2.0"], ext_modules=machine_code())
else:
    setup()
