"""Processes that meet, and those that do not: one sentence each, within the time."""

import contextlib
import queue
import socket
import threading

import pytest

from gfa_jax.programs import rendezvous


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def meet_in_thread(port: int, results: queue.Queue, **arguments) -> threading.Thread:
    def run():
        try:
            results.put(rendezvous.meet("127.0.0.1", port, **arguments))
        except ValueError as error:
            results.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_all_meet_whoever_else_knocks_and_notice_who_is_gone():
    port, results = free_port(), queue.Queue()
    first = meet_in_thread(port, results, number=0, count=3, timeout=20)
    others = {n: queue.Queue() for n in (1, 2)}
    one = meet_in_thread(port, others[1], number=1, count=3, timeout=20)
    for words in (b"GET / HTTP/1.0\r\n", b"7 3\n", b"1 2\n", b"0 3\n"):
        with contextlib.closing(_knock(port)) as stranger:
            stranger.sendall(words)
            answer = stranger.recv(1000)
        assert (answer == b"") == words.startswith(b"GET")
    two = meet_in_thread(port, others[2], number=2, count=3, timeout=20)
    for thread in (first, one, two):
        thread.join(20)
    links = results.get(timeout=1)
    theirs = {n: box.get(timeout=1) for n, box in others.items()}
    assert sorted(links) == [1, 2] and all(sorted(x) == [0] for x in theirs.values())

    lost = queue.Queue()
    rendezvous.watch(theirs[1], silence=8, lost=lost.put)
    rendezvous.watch(links, silence=8, lost=lost.put)
    theirs[2][0].close()  # what the system does for a process that was killed
    assert [lost.get(timeout=5), lost.get(timeout=5)] == [2, 2]
    for link in (*links.values(), theirs[1][0]):
        link.close()


def test_of_two_with_one_number_the_second_is_told():
    port, results = free_port(), queue.Queue()
    first = meet_in_thread(port, results, number=0, count=3, timeout=20)
    with contextlib.ExitStack() as links:
        answers = []
        for words in (b"1 3\n", b"1 3\n", b"2 3\n"):
            link = links.enter_context(contextlib.closing(_knock(port)))
            link.sendall(words)
            answers.append(link)
        assert b"process 1 is there already" in answers[1].recv(1000)
        first.join(20)
        met = results.get(timeout=1)
        assert sorted(met) == [1, 2]
        for link in met.values():
            link.close()


def _knock(port: int) -> socket.socket:
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            link = socket.create_connection(("127.0.0.1", port), timeout=5)
            assert rendezvous._read_line(link) == b"gfa_jax"
            return link


def test_who_says_good_bye_is_not_lost():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours = server.accept()[0]
    lost = queue.Queue()
    with ours:
        rendezvous.watch({1: ours}, silence=8, lost=lost.put)
        rendezvous.part({0: theirs})
        theirs.close()
        with pytest.raises(queue.Empty):
            lost.get(timeout=0.3)


def test_who_falls_silent_is_lost_and_who_says_that_it_is_there_is_not():
    lost = queue.Queue()
    (ours, theirs), (silent, stopped) = socket.socketpair(), socket.socketpair()
    rendezvous.watch({1: ours, 2: silent}, silence=0.8, lost=lost.put)
    rendezvous.watch({0: theirs}, silence=0.8, lost=lost.put)
    with ours, theirs, silent, stopped:
        # Process 0 notices, and tells process 1.
        assert [lost.get(timeout=5), lost.get(timeout=5)] == [2, 2]
        assert rendezvous._read_line(stopped) == b"here"


def test_who_does_not_come_is_named_in_time():
    given = {"count": 3, "timeout": 0.2}
    with pytest.raises(ValueError, match=r"process 1, 2 of 3 did not come in 0\.2 s"):
        rendezvous.meet("127.0.0.1", free_port(), number=0, **given)
    with pytest.raises(ValueError, match=r"process 0 did not answer in 0\.2 s"):
        rendezvous.meet("127.0.0.1", free_port(), number=1, **given)


def test_another_program_on_the_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        given = {"count": 2, "timeout": 5}
        with pytest.raises(ValueError, match=r"cannot be opened .*another process 0"):
            rendezvous.meet("127.0.0.1", port, number=0, **given)
        results = queue.Queue()
        thread = meet_in_thread(port, results, number=1, **given)
        link = other.accept()[0]
        link.sendall(b"SSH-2.0\n")
        thread.join(10)
        link.close()
    assert "another program has it, or a job" in str(results.get(timeout=1))


def test_gloo_can_be_told_where_to_listen():
    """`processes.keep_local` wraps what JAX has no option for."""
    xla_bridge = pytest.importorskip("jax._src.xla_bridge")
    assert "hostname" in xla_bridge._jax.make_gloo_tcp_collectives.__doc__


def test_a_relay_stays_open_where_the_far_end_closes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = rendezvous.relay("127.0.0.1", server.getsockname()[1])
        for who_closes in ("far", "near"):
            near = socket.create_connection(("127.0.0.1", port), timeout=5)
            far = server.accept()[0]
            with near, far:
                for one, other in ((near, far), (far, near)):
                    one.sendall(b"words")
                    assert other.recv(100) == b"words"
                if who_closes == "near":
                    near.close()
                    assert far.recv(100) == b""
                else:
                    far.close()
                    near.settimeout(0.2)
                    with pytest.raises(TimeoutError):
                        near.recv(100)
