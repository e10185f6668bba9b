"""What every program does alike: one-line errors, progress and timed stages."""

import contextlib
import ctypes
import mmap
import os
import pathlib
import re
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

from absl import logging

from gfa_jax.programs import flags

T = TypeVar("T")

_USAGE_ERROR = 2
_INTERRUPTED = 130
_kept: list[Any] = []
# The folders that the running program writes to, open and locked (`outputs`).
locks: dict[pathlib.Path, int] = {}


def run(program: ModuleType, argv: Sequence[str] | None = None) -> None:
    """Parses the flags of a program and calls its `main`.

    Bad input ends with one line and code 2, an interrupt with 130.

    Args:
        program: a module with a docstring, flags and `main`.
        argv: its name and the command line; by default those of the process.
    """
    name, *given = sys.argv if argv is None else argv
    logging.set_verbosity(logging.WARNING)
    sys.unraisablehook = _interrupt_again
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = _Stream(sys.stdout), _Stream(sys.stderr)
    try:
        if {"--help", "-h", "--help=all"} & {*given}:
            print(flags.describe(program, everything="--help=all" in given))
        else:
            if (warning := flags.parse(program, [name, *given])) is not None:
                warn(warning)
            _end_on_lost_pages(_name(name))
            program.main()
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has read enough
        sys.stdout.close()
    except (flags.Error, ValueError, ImportError, OSError) as error:
        _tell(f"{_name(name)}: {_with_flags(' '.join(str(error).split()))}")
        sys.exit(_USAGE_ERROR)
    except (AssertionError, MemoryError, RuntimeError) as error:
        if (line := _lacking(error)) is None:
            raise
        _tell(f"{_name(name)}: {line}")
        sys.exit(_USAGE_ERROR)
    except KeyboardInterrupt as stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one says no more
        _tell(f"interrupted; {str(stopped) or 'nothing was written'}")
        # An orderly exit would wait for what the device still computes.
        os._exit(_INTERRUPTED)
    finally:
        sys.stdout, sys.stderr = sys.stdout.stream, sys.stderr.stream
        while locks:
            os.close(locks.popitem()[1])


def _lacking(error: Exception) -> str | None:
    """Says which memory or device is lacking; None for an error of the program."""
    import jax

    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in said:
        return f"out of memory ({said[:100]}); take fewer rows, or --streamed"
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as failure:  # JAX says either
        said = " ".join(str(failure).split())[:100] or "it has no plugin here"
        asked = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX finds no device for JAX_PLATFORMS={asked}: {said}; unset it"
    return None


def progress(iterable: Iterable[T], *, total: int | None, desc: str) -> Iterable[T]:
    """Shows a bar on stderr for what takes longer than a second."""
    import tqdm

    return tqdm.tqdm(
        iterable,
        total=total,
        desc=desc,
        delay=1.0,
        # A log file wants a line now and then, a terminal a bar that moves.
        mininterval=1.0 if sys.stderr.isatty() else 10.0,
        leave=False,
        file=sys.stderr,
    )


def numbers(flag: str, kind: type, *, words: Collection[str] = ()) -> list[Any]:
    """Reads the numbers, int or float, of a list flag, but for some words.

    Raises:
        ValueError: an empty list, or a text that is no number.
    """
    texts: list[str] = getattr(flags.FLAGS, flag)
    try:
        values = [kind(text) for text in texts if text not in words]
    except ValueError as error:
        raise ValueError(
            f"--{flag}={','.join(texts)}: expected numbers with commas between them"
        ) from error
    if not texts:
        raise ValueError(f"--{flag} is empty; expected at least one number")
    return values


def log_estimate(work: str, seconds: float, reason: str) -> None:
    """Says what long work begins, about how long it takes, and why it is this one."""
    _tell(f"{work}, about {max(1, round(seconds)):,} s: {reason}")


def warn(message: str) -> None:
    """Says on stderr what a person should know before trusting a figure."""
    _tell(f"warning: {message}")


class Stages:
    """The seconds of each named stage, said on stderr where they exceed one."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._quiet = quiet

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times the block under `name`."""
        start = time.perf_counter()
        yield
        elapsed = time.perf_counter() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + elapsed
        if elapsed > 1.0 and not self._quiet:
            _tell(f"{name}: {elapsed:.1f} s")


def keep_compiled_programs() -> None:
    """Lets the next process start without compiling what this one compiled.

    JAX's own settings, JAX_COMPILATION_CACHE_DIR and JAX_ENABLE_COMPILATION_CACHE, win.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        try:
            base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        except RuntimeError:
            return
        folder = pathlib.Path(base) / "gfa_jax" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _name(path: str) -> str:
    """Returns what a program is called, of the path that it was started by."""
    return pathlib.Path(path.removesuffix("/__main__.py")).stem


def _with_flags(line: str) -> str:
    """Says by which flag a message's subject, an argument or a file, was given."""
    subject = re.match(r"(\w+)(?= is |: )", line)
    if subject and subject[1] in flags.FLAGS:
        return f"--{line}"
    given = flags.inputs()
    for name, path in given.items():
        found = re.search(rf"(?<![\w=/.]){re.escape(path)}(?![\w/-]|\.\w)", line)
        if found and f"--{name}" not in line and [*given.values()].count(path) == 1:
            return f"{line[: found.start()]}--{name}={line[found.start() :]}"
    return line


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Stream:
    """A standard stream that may be closed or full, which changes no result."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        if hasattr(stream, "reconfigure"):  # ids are of any text, terminals are not
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> None:
        """Writes, or lets this and what follows go nowhere."""
        self._try("write", text)

    def flush(self) -> None:
        """See `write`."""
        self._try("flush")

    def close(self) -> None:
        """Sends what follows, and what is left in the buffer, nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def _try(self, name: str, *given: str) -> None:
        try:
            if self.stream is not None:
                getattr(self.stream, name)(*given)
        except OSError as error:
            if isinstance(error, BrokenPipeError) and self is sys.stdout:
                raise
            self.close()
            if self is sys.stdout:
                warn(f"cannot print: {error.strerror}; see the files instead")


def _end_on_lost_pages(name: str) -> None:
    """Lets a mapped file that is cut short end the program in one line.

    Where its pages are gone, reading them is a bus error in any thread, which Python's
    own handlers would come back from to the same read; so C calls this one.
    """
    why = "was cut short while it was read; nothing was written"

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def end(number: int) -> None:
        del number
        file = "a file"
        with contextlib.suppress(BaseException):
            file = _cut_short() or file
        os.write(2, f"\n{name}: {file} {why}\n".encode())
        os._exit(_USAGE_ERROR)

    install = ctypes.CDLL(None).signal
    install.argtypes = [ctypes.c_int, ctypes.c_void_p]
    install(signal.SIGBUS, ctypes.cast(end, ctypes.c_void_p))
    _kept[:] = [end]  # C holds no reference


def _cut_short() -> str | None:
    """Finds a mapped file that ends before its pages; Linux lists them."""
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, _, inode, *path = line.split(maxsplit=5)
        file = pathlib.Path(*path)
        if path and inode != "0" and file.exists():
            start, stop = (int(place, 16) for place in span.split("-"))
            last_page = int(offset, 16) + stop - start - mmap.PAGESIZE
            if file.stat().st_size <= last_page:
                return path[0]
    return None


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Repeats an interrupt that fell into a callback, where exceptions end.

    Python would print it there and go on; a callback of the garbage collector, of
    which the runtime has some, is where a signal often arrives.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        main_thread = threading.main_thread().ident
        assert main_thread is not None  # it runs
        repeat = (main_thread, signal.SIGINT)
        threading.Timer(0.05, signal.pthread_kill, repeat).start()
    else:
        sys.__unraisablehook__(unraisable)
