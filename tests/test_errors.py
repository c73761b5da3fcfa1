"""Failures of the machine in one line; bugs keep their traceback."""

import errno
import os

import pytest
import torch

import run
from errors import failure_of_machine, printable


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/a.png"), ["out/a.png", "No space left", "make room"]),
        (PermissionError(errno.EACCES, "Permission denied", "log"), ["log: Permission denied", "permissions"]),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "f/log"), ["f/log", "a part of the path is a file"]),
        (OSError(errno.ENAMETOOLONG, "File name too long", "n" * 300), ["choose a shorter name"]),
        (OSError("no number"), ["no number"]),
        (MemoryError(), ["out of memory", "batch_size"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), ["2.00 GiB", "frame_shape"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), ["out of memory"]),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), ["/dev/shm", "dataloader_workers"]),
        (RuntimeError("unable to write to file </torch_12_34_5>: No space left on device (28)"), ["/dev/shm"]),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), ["not UTF-8", "rename"]),
    ],
)
def test_failures_of_the_machine_take_one_line(error, words, monkeypatch, caplog):
    line = failure_of_machine(error)
    assert line is not None
    assert "\n" not in line
    assert [word for word in words if word not in line] == []

    def fail(parsed):
        raise error

    monkeypatch.setattr(run, "run", fail)
    assert run.main(["--config", "x.yaml"]) == 2
    assert caplog.records[-1].message == f"error: {line}"


@pytest.mark.parametrize("bug", [KeyError("x"), RuntimeError("size mismatch"), ValueError("x"), IndexError("x")])
def test_bugs_keep_their_traceback(bug, monkeypatch):
    def fail(parsed):
        raise bug

    monkeypatch.setattr(run, "run", fail)
    with pytest.raises(type(bug)):
        run.main(["--config", "x.yaml"])


def test_names_that_no_terminal_takes_are_escaped():
    assert printable("a\udcff\n\0é") == "a\\udcff\\n\\x00é"
