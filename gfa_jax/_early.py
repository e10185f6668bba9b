"""What a program needs before the seconds in which JAX is imported.

Ctrl-C ends it at once, with code 130 and without a traceback, until `cli.run` handles
it; closed standard streams are opened on nothing, so that no result gets their number.
Where the package is imported by anything else this does nothing.
"""

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
