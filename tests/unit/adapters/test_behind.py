"""Work that is done behind: in order, bounded, and no error lost."""

from __future__ import annotations

import threading

import pytest

from anystrat.adapters.signal_files.behind import Behind


def test_pieces_are_done_in_their_order():
    behind, done = Behind(), []
    for k in range(50):
        behind.run(lambda k=k: done.append(k))
    behind.wait()
    assert done == list(range(50))
    behind.close()


def test_no_more_than_two_pieces_are_under_way():
    behind, go = Behind(), threading.Event()
    started = threading.Event()
    for _ in range(2):
        behind.run(go.wait)
    third = threading.Thread(target=lambda: (started.set(), behind.run(lambda: None)))
    third.start()
    started.wait()
    third.join(0.05)
    assert third.is_alive()
    go.set()
    third.join(10)
    assert not third.is_alive()
    behind.close()


def test_after_an_error_nothing_more_is_done_and_every_call_says_so():
    behind, done = Behind(), []
    behind.run(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        behind.wait()
    with pytest.raises(ZeroDivisionError):
        behind.run(lambda: done.append(1))
    behind.close()  # it has been said
    assert done == []


def test_closing_says_an_error_that_nobody_was_told_of():
    behind = Behind()
    behind.run(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        behind.close()
    behind.close()


def test_the_thread_ends_with_the_work():
    behind = Behind()
    behind.run(lambda: None)
    behind.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("anystrat-files")]
