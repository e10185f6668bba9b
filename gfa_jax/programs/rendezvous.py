"""The processes of a job meet before JAX's runtime starts, and notice who is gone.

Where one is missing the runtime aborts, after minutes and with a page of traces. So
process 0 first listens on the coordinator's port until all others have said who they
are. The connections then stay open: the system closes that of a process that ends, a
stopped one and one of a lost machine no longer say that they are there, and process 0
tells the others.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping

_GREETING = b"gfa_jax\n"
_GO, _BYE, _LOST, _HERE = b"go", b"bye", b"lost ", b"here"
# Seconds that another end has for its first words.
_PATIENCE = 10.0
_POLL_SECONDS = 0.05
# How often each says in the time of silence that it is there.
_BEATS = 4

Links = Mapping[int, socket.socket]


def meet(host: str, port: int, *, number: int, count: int, timeout: float) -> Links:
    """Waits until all processes are there.

    Gives the connections, by number of process: process 0 has one to each other, the
    others have one to process 0.

    Raises:
        ValueError: one that does not come in `timeout` seconds, a number that is taken,
            another count, a port that is in use or answers as another program.
    """
    end = time.monotonic() + timeout
    if number:
        return {0: _join(host, port, number, count, end, timeout)}
    try:
        # Only this machine is let in where all are on it.
        server = socket.create_server((host if is_local(host) else "", port))
    except OSError as error:
        raise ValueError(
            f"port {port} cannot be opened ({error.strerror}); is it in use, or is "
            "another process 0 running? Name another one"
        ) from error
    links: dict[int, socket.socket] = {}
    with server:
        while len(links) < count - 1:
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                link = server.accept()[0]
            except TimeoutError:
                for link in links.values():
                    link.close()
                missing = sorted({*range(1, count)} - links.keys())
                raise ValueError(
                    f"process {', '.join(map(str, missing))} of {count} did not come "
                    f"in {timeout:g} s; start all with the same flags"
                ) from None
            if not _admit(link, links, count):
                link.close()
    _send(links, _GO)
    return links


def is_local(host: str) -> bool:
    """Tells whether an address is reached from this machine alone."""
    return host in ("localhost", "::1") or host.startswith("127.")


def free_port(host: str) -> int:
    """Finds a port of this machine that is free at this moment."""
    with socket.create_server((host if is_local(host) else "", 0)) as listener:
        return listener.getsockname()[1]


def relay(host: str, port: int) -> int:
    """Hands on what comes to a port of this machine alone, which is returned.

    Where the far end closes, the near one does not: JAX's runtime aborts as soon as its
    connection to process 0 does, before `watch` can say in one line who is gone.
    """
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            near = server.accept()[0]
            try:
                far = socket.create_connection((host, port))
            except OSError:  # not there yet: who came tries again
                near.close()
                continue
            given = (near, far)
            threading.Thread(target=_hand_on, args=given, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1]


def _hand_on(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := source.recv(1 << 16):
            with contextlib.suppress(OSError):  # what is gone takes nothing
                target.sendall(data)


def watch(links: Links, *, silence: float, lost: Callable[[int], None]) -> None:
    """Calls `lost` with the number of a process that ends without a good-bye.

    In a thread: at once where a process ends, after `silence` seconds where one is
    stopped or a whole machine is gone.
    """
    threading.Thread(target=_watch, args=(links, silence, lost), daemon=True).start()


def part(links: Links) -> None:
    """Says good-bye, so that the end of this process is no loss."""
    _send(links, _BYE)


def _send(links: Links, word: bytes) -> None:
    for link in links.values():
        with contextlib.suppress(OSError):  # who is gone is noticed by `watch`
            link.sendall(word + b"\n")


def _join(host, port, number, count, end, timeout) -> socket.socket:
    where = f"{host}:{port}"
    while True:
        try:
            link = socket.create_connection((host, port), timeout=_PATIENCE)
            break
        except OSError as error:
            if time.monotonic() > end:
                raise ValueError(
                    f"process 0 did not answer in {timeout:g} s "
                    f"({error.strerror or error}); start it there"
                ) from error
        time.sleep(_POLL_SECONDS)
    try:
        greeting = _read_line(link)
        link.sendall(b"%d %d\n" % (number, count))
        link.settimeout(max(_PATIENCE, end - time.monotonic() + _PATIENCE))
        answer = _read_line(link) if greeting == _GREETING.strip() else None
    except OSError:
        answer = None
    if answer == _GO:
        return link
    link.close()
    if answer is None:
        reason = (
            f"{where} does not answer as process 0 does; another program has it, or a "
            "job that all of its processes have joined"
        )
    else:
        reason = answer.decode() or f"process 0 at {where} ended while it waited"
    raise ValueError(reason)


def _admit(link: socket.socket, links: dict[int, socket.socket], count: int) -> bool:
    """Takes in one that says who it is; tells it why not; ignores a stranger."""
    with contextlib.suppress(OSError):
        link.settimeout(_PATIENCE)
        link.sendall(_GREETING)
        words = _read_line(link).split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            return False
        number, theirs = map(int, words)
        if theirs != count:
            reason = f"process 0 was started with --num_processes={count}"
        elif number in links or not 0 < number < count:
            reason = f"process {number} is there already; each has its own --process_id"
        else:
            links[number] = link
            return True
        link.sendall(reason.encode() + b"\n")
    return False


def _read_line(link: socket.socket) -> bytes:
    with link.makefile("rb", buffering=0) as stream:  # what follows stays unread
        return stream.readline(1000).strip()


def _watch(links: Links, silence: float, lost: Callable[[int], None]) -> None:
    pause = silence / _BEATS
    now = said = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for number, link in links.items():
            link.setblocking(True)
            selector.register(link, selectors.EVENT_READ, number)
        heard = dict.fromkeys(links, now)
        while heard:
            before, ready, gone = now, selector.select(pause), []
            now = time.monotonic()
            if now - before > 2 * pause:  # this process was stopped itself
                heard = dict.fromkeys(heard, now)
            if now - said >= pause:
                _send(links, _HERE)
                said = now
            for number in [key.data for key, _ in ready]:
                word = b""
                with contextlib.suppress(OSError):
                    word = _read_line(links[number])
                heard[number] = now
                if word.startswith(_LOST):
                    gone.append((number, int(word.removeprefix(_LOST))))
                elif word != _HERE:
                    gone.append((number, None if word == _BYE else number))
            gone += [(n, n) for n, last in heard.items() if now - last > silence]
            for number, ended in gone:
                selector.unregister(links[number])
                del heard[number]
                if ended is not None:
                    _send(links, _LOST + b"%d" % ended)
                    lost(ended)
