"""The two servers that are compared: a Commis of our own, and Debian's OpenSSH with plain git. Both on loopback."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess

from machine import Broken, run, wait_for

MIRRORS = """SSL_CERT_FILE SSL_CERT_DIR PIP_CERT PIP_INDEX_URL UV_DEFAULT_INDEX NODE_EXTRA_CA_CERTS npm_config_registry
http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY""".split()


# Exit code of a command that is worth trying again.
BUSY = 75


class Commis:
    """A server with files, ports and users of its own."""

    def __init__(self, room, binary, name="ours", router=()):
        """`router`: more lines of that section."""
        self.room, self.binary, self.root, self.router = room, str(binary), room.path / name, router
        self.tools = binary.parent.parent / "tools" / "uv"
        self.root.mkdir(mode=0o711)
        self.config = self.root / "commis.toml"
        self.config.write_text(self.configuration())
        self.log, self.ready = self.root / "server.log", self.root / "ready"
        self.start()
        with open(f"{room.key}.pub", "rb") as public:
            self.verb("key", "add", "bench", "--admin", stdin=public)
        self.trust()

    def trust(self):
        """Each start has an ssh port of its own."""
        self.room.trust(self.port, re.search(r"ssh-ed25519 \S+", self.verb("hostkey")).group(0))

    def start(self):
        """Starts it, for the first time or again, and waits until its doors are open."""
        with open(self.ready, "wb") as file:
            self.process = self.room.start([self.binary, "serve", "--config", str(self.config)], self.log, stdout=file)
        line = wait_for(lambda: self.alive() and re.search(r"^commis: ready .*$", self.ready.read_text(), re.M), pause=0.005)
        self.port = int(re.search(r"ssh=\S+:(\d+)", line.group(0)).group(1))
        self.http = int(re.search(r"http=\S+:(\d+)", line.group(0)).group(1))

    def kill(self):
        """As the kernel does it when memory is short."""
        self.process.kill()
        self.process.wait()
        self.room.children.remove(self.process)

    def leave(self):
        """As a service manager restarts it: applications and router go on."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.room.children.remove(self.process)
        if code != 0:
            raise Broken(f"the server ended with {code}:\n" + "\n".join(self.log.read_text().splitlines()[-12:]))

    def configuration(self):
        first = 500_000 + os.getpid() % 1000 * 1000 + (0 if self.root.name == "ours" else 500)
        lines = ['platform = "staging"', "[paths]"]
        lines += [f'{place} = "{self.root / place}"' for place in ("projects", "state", "runtime", "logs")]
        lines += ["[ssh]", 'listen = "127.0.0.1:0"', "[router]", 'http = "127.0.0.1:0"', 'admin = ""', 'domain = "localhost"', *self.router]
        lines += ["[users]", f"first = {first}", "count = 500", "[builds]", f'tools = "{self.tools}"', "[builds.env]"]
        lines += [f'{name} = "{os.environ[name]}"' for name in MIRRORS if os.environ.get(name)]
        return "\n".join(lines) + "\n"

    def alive(self):
        if self.process.poll() is not None:
            raise Broken("the server ended:\n" + "\n".join(self.log.read_text().splitlines()[-12:]))
        return True

    def verb(self, *words, stdin=subprocess.DEVNULL):
        return run([self.binary, *words], env=self.room.environment | {"COMMIS_CONFIG": str(self.config)}, stdin=stdin)

    def url(self, project):
        return f"ssh://commis@127.0.0.1:{self.port}/{project}"

    def create(self, project):
        self.verb("project", "create", project)
        return self.url(project)

    def settle(self, project):
        """Waits until what is left to tidy after the last verdict is done: nobody else is to pay for it."""
        under_way = lambda: json.loads(self.verb("status", "--json"))["deploying"]
        wait_for(lambda: not any(project in line for line in under_way()), pause=0.02)

    def destroy(self, project):
        """Busy for a moment after a push: it is being tidied."""
        words = [self.binary, "project", "destroy", project, "--confirm", project, "--now"]
        env = self.room.environment | {"COMMIS_CONFIG": str(self.config)}
        done = wait_for(lambda: self.unless_busy(subprocess.run(words, env=env, capture_output=True)))
        if done.returncode != 0:
            raise Broken(f"project destroy {project}: {done.stderr.decode(errors='replace').strip()}")

    def unless_busy(self, done):
        return None if done.returncode == BUSY else done

    def page(self, project, path="/"):
        return fetch(self.http, path, f"{project}.localhost")

    def ssh(self, *words):
        return self.room.ssh + ["-p", str(self.port), "commis@127.0.0.1", *words]

    def resident(self):
        """Megabytes that all processes of this program hold now, those that serve static sites included; what they share
        counts once."""
        return sum(memory(pid, "smaps_rollup", "Pss") for pid in family(self.process.pid) if self.is_ours(pid)) / 1e6

    def highest(self):
        """Megabytes that the server's first process ever held."""
        return memory(self.process.pid, "status", "VmHWM") / 1e6

    def is_ours(self, pid):
        try:
            return os.path.samefile(f"/proc/{pid}/exe", self.binary)
        except OSError:
            return False


class OpenSsh:
    """Debian's sshd with git behind it, the way people set it up by hand, logged in as root."""

    def __init__(self, room):
        self.room, self.root = room, room.path / "other"
        self.root.mkdir()
        room.make_directory(pathlib.Path("/run/sshd"))
        host_key = self.root / "host_key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)])
        (self.root / "authorized_keys").write_text(pathlib.Path(f"{room.key}.pub").read_text())
        self.port = free_port()
        config = self.root / "sshd_config"
        config.write_text(self.configuration(host_key))
        room.start(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], self.root / "sshd.log", stdout=subprocess.DEVNULL)
        wait_for(lambda: answers(self.port))
        room.trust(self.port, pathlib.Path(f"{host_key}.pub").read_text())

    def configuration(self, host_key):
        lines = ["ListenAddress 127.0.0.1", f"Port {self.port}", f"HostKey {host_key}", "PidFile none", "UsePAM no"]
        lines += [f"AuthorizedKeysFile {self.root}/authorized_keys", "StrictModes no", "PermitRootLogin prohibit-password"]
        # Root's start-up files are not what is compared: at this level bash leaves them alone.
        lines += ["PrintMotd no", "MaxStartups 100", "SetEnv SHLVL=1"]
        return "\n".join(lines) + "\n"

    def create(self, name, hook="exit 0"):
        """A bare repository with a post-receive hook."""
        path = self.root / f"{name}.git"
        self.room.git(self.root, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
        file = path / "hooks" / "post-receive"
        file.write_text(f"#!/bin/sh\n{hook}\n")
        file.chmod(0o755)
        return f"ssh://root@127.0.0.1:{self.port}{path}"

    def ssh(self, *words):
        return self.room.ssh + ["-p", str(self.port), "root@127.0.0.1", *words]


def fetch(port, path="/", host=None):
    """The text of a page, or an empty one while nothing good answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return text if answer.status == 200 else ""
    except OSError:
        return ""
    finally:
        connection.close()


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def answers(port):
    with socket.socket() as door:
        return door.connect_ex(("127.0.0.1", port)) == 0


def memory(pid, file, field):
    """Bytes of one field of a file below /proc/PID; 0 when the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.M)
    return int(found.group(1)) * 1024 if found else 0


def family(pid):
    """A process and everything it started."""
    found = [pid]
    for member in found:
        for task in pathlib.Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found
