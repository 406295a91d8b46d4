"""Ports for servers that listen only some seconds after their port was chosen."""

import itertools
import os
import socket

import pytest

from rollway.local import ports
from rollway.local.ports import free_port

LOWEST_OF_CONNECTIONS = 32_768  # on Linux; on macOS it is higher


@pytest.fixture(autouse=True)
def first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port has been chosen yet."""
    monkeypatch.setattr(ports, "_numbers", itertools.count())


def test_no_outgoing_connection_can_take_it() -> None:
    assert 1024 < free_port() < LOWEST_OF_CONNECTIONS


def test_one_on_which_somebody_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_port()
    monkeypatch.setattr(ports, "_numbers", itertools.count())

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()

        assert free_port() != taken


def test_it_is_not_chosen_twice_although_nothing_listens_yet() -> None:
    assert free_port() != free_port()


def test_processes_that_start_together_choose_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    own, chosen = os.getpid(), []
    for process in range(own, own + 4):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        monkeypatch.setattr(ports, "_numbers", itertools.count())
        chosen += [free_port() for _ in range(4)]

    assert len(set(chosen)) == len(chosen)


def test_without_a_free_one_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda _: False)

    with pytest.raises(OSError, match="no free port on loopback between 10000 and 19999"):
        free_port()
