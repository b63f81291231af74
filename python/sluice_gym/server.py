"""The process `sluice env` that environments use when they are not told of another one."""

import atexit
import json
import os
import shutil
import subprocess
import threading


class NoBinary(RuntimeError):
    """There is no sluice to run."""


def find_binary(binary=None):
    """Return the path of sluice: binary, or else $SLUICE_BIN, or else sluice in the PATH."""
    for place in (binary, os.environ.get("SLUICE_BIN"), "sluice"):
        if place:
            found = shutil.which(place)
            if found:
                return found
            if place != "sluice":
                raise NoBinary(f"{place}: there is no such program")
    raise NoBinary(
        "there is no sluice in the PATH: build it with `make build`, and say where it is with $SLUICE_BIN or binary=, "
        "or say where a `sluice env` listens with address="
    )


class Server:
    """A running `sluice env`, which ends with this process at the latest."""

    def __init__(self, binary, traces=()):
        arguments = [binary, "env", "--listen", "127.0.0.1:0", "--stdin"]
        for trace in traces:
            arguments += ["--trace", trace]
        # It ends when its input does, whatever becomes of this process.
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self._read_address()
        threading.Thread(target=self._drain, daemon=True).start()

    def _read_address(self):
        said = []
        for line in self._process.stderr:
            said.append(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("msg") == "the environment is serving":
                return entry["listen"]
        self._process.wait()
        raise RuntimeError("sluice env has ended: " + "".join(said).strip())

    def _drain(self):
        for _ in self._process.stderr:
            pass

    def stop(self):
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_lock = threading.Lock()
_servers = {}  # by process, binary and traces: [server, how many use it]


def acquire(binary=None, traces=()):
    """Return a server that all who ask alike share, and what gives it back."""
    key = (os.getpid(), find_binary(binary), tuple(traces))
    with _lock:
        if key not in _servers:
            _servers[key] = [Server(key[1], key[2]), 0]
        _servers[key][1] += 1
        return _servers[key][0], lambda: _release(key)


def _release(key):
    with _lock:
        entry = _servers.get(key)
        if entry is None:
            return
        entry[1] -= 1
        if entry[1] == 0:
            del _servers[key]
            entry[0].stop()


@atexit.register
def _stop_all():
    for key in list(_servers):
        if key[0] == os.getpid():
            _servers.pop(key)[0].stop()
