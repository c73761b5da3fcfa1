"""Worker process that is silent if the process that starts it is killed meanwhile."""

import io
import multiprocessing
import os
import sys
from multiprocessing.context import SpawnProcess
from typing import Any

if sys.platform == "win32":
    WorkerProcess = SpawnProcess
else:
    from multiprocessing import popen_spawn_posix, reduction, resource_tracker, spawn, util
    from multiprocessing.context import set_spawning_popen

    def _close(*pipes: int) -> None:
        for pipe in pipes:
            os.close(pipe)

    class _Popen(popen_spawn_posix.Popen):
        """Writes the data of the process into its pipe before it starts it, as far as the pipe holds them.

        multiprocessing writes them afterwards, and a process whose starter is killed in between prints the traceback of
        an `EOFError`, before any code of this program runs.
        """

        _fds: list[int]

        def _launch(self, process_obj: Any) -> None:
            tracker = resource_tracker.getfd()
            assert tracker is not None, "started by `getfd`"
            file = io.BytesIO()
            set_spawning_popen(self)
            try:
                reduction.dump(spawn.get_preparation_data(process_obj.name), file)
                reduction.dump(process_obj, file)
            finally:
                set_spawning_popen(None)
            data = file.getbuffer()
            parent_reads, child_writes = os.pipe()
            child_reads, parent_writes = os.pipe()
            self.finalizer = util.Finalize(self, _close, (parent_reads, parent_writes))
            try:
                os.set_blocking(parent_writes, False)
                written = os.write(parent_writes, data)
                os.set_blocking(parent_writes, True)
                command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=child_reads)
                self._fds += [tracker, child_reads, child_writes]
                self.pid = util.spawnv_passfds(os.fsencode(spawn.get_executable()), command, self._fds)
                self.sentinel = parent_reads
                while written < len(data):
                    written += os.write(parent_writes, data[written:])
            finally:
                os.close(child_reads)
                os.close(child_writes)

    class WorkerProcess(SpawnProcess):
        """As `multiprocessing.Process`, spawned."""

        @staticmethod
        def _Popen(process_obj: multiprocessing.process.BaseProcess) -> Any:  # noqa: N802 the name of multiprocessing
            return _Popen(process_obj)
