"""The ground under a measurement: a room of its own, commands, a git client that reads no configuration of yours.

What is measured is in rows.py; the two servers are in servers.py."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time


class Broken(Exception):
    """A measurement could not be taken; the text says which command failed and what it said."""


class Room:
    """A temporary directory, the client's key and environment. Ends what was started in it, then removes it."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="commis-bench."))
        self.path.chmod(0o711)
        self.children, self.made = [], []
        self.key = self.path / "key"
        self.known_hosts = self.path / "known_hosts"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(self.key)])
        self.ssh = ["ssh", "-F", "/dev/null", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        self.ssh += ["-o", f"UserKnownHostsFile={self.known_hosts}"]
        self.environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.path),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": " ".join(self.ssh),
        }
        for who in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{who}_NAME": "Bench", f"GIT_{who}_EMAIL": "bench@example.com"}

    def trust(self, port, public_key):
        """Adds a host key, so that neither server has to be believed."""
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {' '.join(public_key.split()[:2])}\n")

    def make_directory(self, path):
        """A directory that a program insists on outside of the room; it goes with the room, if it was not there."""
        if not path.exists():
            path.mkdir(mode=0o755)
            self.made.append(path)

    def git(self, directory, *arguments):
        return run(["git", "-C", str(directory), *arguments], env=self.environment)

    def start(self, argv, log, **options):
        """Starts a server in a process group of its own; it ends with the room."""
        with open(log, "ab") as file:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=file, start_new_session=True, **options)
        self.children.append(child)
        return child

    def stop(self, child):
        self.children.remove(child)
        # With a SIGTERM the applications of a server of ours would go on.
        child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def close(self):
        for child in list(self.children):
            self.stop(child)
        mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        if f" {self.path}/" in mounts:
            print(f"bench: mounts are left below {self.path}, so it is not removed", file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        for path in self.made:
            path.rmdir()


def run(argv, **options):
    """Runs a command to its end and returns its standard output; a failure carries what it said."""
    done = subprocess.run(argv, stdin=options.pop("stdin", subprocess.DEVNULL), capture_output=True, **options)
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        raise Broken(f"{' '.join(map(str, argv))}: exit {done.returncode}\n  " + "\n  ".join(said[-12:]))
    return done.stdout.decode(errors="replace")


def timed(work, *arguments):
    """Seconds that a call took."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def wait_for(what, seconds=60.0, pause=0.05):
    """The first true answer of a question asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(pause)
    raise Broken(f"waited {seconds:.0f} s for {getattr(what, '__name__', 'an answer')}")
