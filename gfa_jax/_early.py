"""What a program needs before the seconds in which JAX is imported.

Ctrl-C ends it at once, with code 130 and without a traceback, until `cli.run` handles
it; closed standard streams are opened on nothing, so that no result gets their number;
a limit of memory under which the runtime aborts is told. Where the package is imported
by anything else this does nothing.
"""

import contextlib
import os
import signal
import sys

# Python calls itself -m while it looks for the module of `python -m`.
if getattr(sys, "argv", [""])[0].rpartition(os.sep)[2] in ("-m", "gfa"):
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    with contextlib.suppress(ImportError):  # Windows has no limits
        import resource

        # Of addresses, what JAX takes on two processors: the more, the more threads.
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY and limit < 1_600_000_000:
            line = (
                f"gfa: memory is limited to {limit / 1e9:.1f} GB of addresses; "
                "expected 2 GB or more: raise `ulimit -v`\n"
            )
            with contextlib.suppress(OSError):
                os.write(2, line.encode())
            os._exit(2)
