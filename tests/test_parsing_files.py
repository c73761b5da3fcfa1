"""Only regular files of a sensible size are opened."""

import os
import socket

import pytest

from errors import UserError
from parsing.files import check_regular_file, read_file


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    server = socket.socket(socket.AF_UNIX)
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    server.bind(path.name)
    server.close()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (make_fifo, "a FIFO"),
        (make_socket, "a socket"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.symlink_to("gone"), "a link to a file that does not exist"),
        (lambda path: path.symlink_to(path.name), "unreadable"),
        (lambda path: None, "no such file"),
    ],
)
def test_anything_but_a_file_is_refused_without_opening_it(make, word, tmp_path):
    make(tmp_path / "x.csv")
    with pytest.raises(UserError, match=word):
        read_file(tmp_path / "x.csv", max_bytes=100)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300])
def test_impossible_names_are_refused(name, tmp_path):
    with pytest.raises(UserError, match="unreadable"):
        check_regular_file(tmp_path / name)


def test_the_size_is_limited(tmp_path):
    (tmp_path / "x").write_bytes(bytes(11))
    assert read_file(tmp_path / "x", max_bytes=11) == bytes(11)
    with pytest.raises(UserError, match="expected at most"):
        read_file(tmp_path / "x", max_bytes=10)
