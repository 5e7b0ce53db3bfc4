"""Whether anybody notices: an application under a constant load (uptime_users.py) while everything that happens to a server
happens. Rows: how many requests failed; how many do when a process is simply started again (it must be some)."""

import json
import pathlib
import shutil
import subprocess
import sys
import time
from collections import Counter

import trees
from archived import must_fail
from machine import Broken, wait_for
from servers import Commis, fetch, free_port

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = "uptime"
# Restarts of the server by a signal, as many by a kill, upgrades of the router: for 100 deployments and for 10.
OTHERS = {100: (20, 20, 5), 10: (2, 2, 1)}
# Restarts of the control.
NAIVE = 5
SETTINGS = b'[health]\npath = "/"\n'


def uptime(bench):
    """As many deployments and rollbacks as the row has rounds, the rest in proportion."""
    scene = Scene(bench)
    try:
        story(scene, bench.rounds)
        told = scene.users.leave()
    finally:
        scene.end()
    report("uptime", told, scene.happened)
    if told["requests"] < 1000:
        raise Broken(f"only {told['requests']} requests: that says nothing")
    yield bench.row("uptime-failed", [len(told["failures"])], unit="failed")
    naive = restarted_naively(bench)
    report("uptime-naive", naive, {"naive": NAIVE})
    if not naive["failures"]:
        raise Broken("a process that is killed and started again failed no request: the users see nothing")
    yield bench.row("uptime-naive", [len(naive["failures"])], goal=None, unit="failed")


def story(scene, rounds):
    """Everything in turns, so that each thing meets what each other one left."""
    terms, kills, upgrades = OTHERS.get(rounds, (rounds // 5, rounds // 5, max(1, rounds // 20)))
    due = lambda number, times: (number + 1) * times // rounds > number * times // rounds
    for number in range(rounds):
        scene.deploy()
        if due(number, terms):
            scene.restart_server("server-term", scene.server.leave)
        scene.roll_back()
        if due(number, kills):
            scene.restart_server("server-kill", scene.server.kill)
        if due(number, upgrades):
            scene.upgrade_router()
            scene.restart_application()
            scene.scale()
            scene.deploy_what_is_broken()


class Scene:
    """A server with one application, and its users."""

    def __init__(self, bench):
        self.room, self.happened = bench.room, Counter()
        router = ['tunnel_grace = "1s"']
        self.programs = [bench.binary, other_program(bench)]
        self.server = Commis(bench.room, bench.binary, PROJECT, router)
        self.tree = application(bench.room, PROJECT)
        self.server.create(PROJECT)
        self.tree.push(self.server.url(PROJECT))
        self.server.settle(PROJECT)
        # The number in the page, and the release; `before` is what a rollback goes back to.
        self.text, self.live = self.tree.count, "v1"
        self.before = (self.live, self.text)
        self.http = self.server.http
        self.users = Users(self.http, f"{PROJECT}.localhost")
        self.rest()

    def rest(self):
        self.users.hear("rest", self.text)
        time.sleep(0.3)

    def change(self, event, text, work):
        """Something after which another text is the page: at the latest when it is said to be done."""
        self.happened[event] += 1
        self.users.hear(event, self.text, text)
        work()
        self.text = text
        self.users.hear(f"{event}-tidying", self.text)
        self.server.settle(PROJECT)
        self.live = json.loads(self.server.verb("show", PROJECT, "--json"))["live"]
        self.rest()

    def deploy(self):
        self.before = (self.live, self.text)
        self.tree.next_commit()
        self.change("push", self.tree.count, lambda: self.tree.push(self.server.url(PROJECT)))

    def deploy_what_is_broken(self):
        """It is refused, and nobody saw anything of it."""
        self.tree.add("broken", "")
        self.tree.next_commit()
        self.change("push-broken", self.text, lambda: must_fail(lambda: self.tree.push(self.server.url(PROJECT))))
        (self.tree.path / "broken").unlink()

    def roll_back(self):
        release, text = self.before
        self.change("rollback", text, lambda: self.server.verb("rollback", PROJECT, release))

    def restart_application(self):
        self.change("restart", self.text, lambda: self.server.verb("restart", PROJECT))

    def scale(self):
        for count in (2, 1):
            self.change("scale", self.text, lambda: self.server.verb("scale", PROJECT, f"web={count}"))
            if count == 2:
                self.deploy()

    def restart_server(self, event, end):
        self.happened[event] += 1
        self.users.hear(event, self.text)
        end()
        time.sleep(0.2)
        self.start_server()
        self.rest()

    def start_server(self):
        self.server.start()
        self.server.trust()
        if self.server.http != self.http:
            raise Broken("the router has another port")
        wait_for(lambda: "commis: recovery over" in self.server.ready.read_text(), pause=0.02)

    def upgrade_router(self):
        """Another program: its router takes over. A deployment at once meets both of them, by a server that started neither."""
        before = routers(self.server.root)
        self.happened["router"] += 1
        self.users.hear("router", self.text)
        self.server.leave()
        self.programs.reverse()
        self.server.binary = str(self.programs[0])
        self.start_server()
        self.server.leave()
        self.start_server()
        self.deploy()
        self.users.hear("router-leaves", self.text)
        wait_for(lambda: not routers(self.server.root) & before)
        if len(routers(self.server.root)) != 1:
            raise Broken(f"routers: {routers(self.server.root)}")
        self.rest()

    def end(self):
        self.users.end()
        self.room.stop(self.server.process)


class Users:
    """The load, in a process of its own."""

    def __init__(self, port, host):
        command = [sys.executable, str(HERE / "uptime_users.py"), "--port", str(port), "--host", host]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self, event, *releases):
        """Returns when they know."""
        self.process.stdin.write(" ".join([event, *map(str, releases)]) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "ok\n":
            raise Broken("the users are gone")

    def leave(self):
        """What they saw."""
        self.process.stdin.close()
        told = self.process.stdout.read()
        self.process.wait()
        return json.loads(told)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def restarted_naively(bench):
    """The control: one process behind nothing, killed and started again on its port."""
    tree, port = application(bench.room, "naive"), free_port()

    def start():
        env = {"PATH": "/usr/bin:/bin", "PORT": str(port)}
        child = subprocess.Popen(["/usr/bin/python3", "server.py"], cwd=tree.path, env=env)
        wait_for(lambda: tree.text in fetch(port), pause=0.01)
        return child

    child = start()
    users = Users(port, "naive.localhost")
    try:
        for _ in range(NAIVE):
            users.hear("rest", tree.count)
            time.sleep(0.5)
            users.hear("naive", tree.count)
            child.kill()
            child.wait()
            child = start()
        return users.leave()
    finally:
        users.end()
        child.kill()
        child.wait()


def application(room, name):
    files = [("server.py", (HERE / "uptime_server.py").read_bytes()), (".commis/project.toml", SETTINGS)]
    return trees.Tree(room, name, [*files, ("Procfile", b"web: exec /usr/bin/python3 server.py\n")], "greeting.txt")


def other_program(bench):
    """The same with other bytes at its end: for a server it is another program."""
    place = bench.room.path / "other" / "bin" / "commis"
    place.parent.mkdir(parents=True, mode=0o755)
    shutil.copy2(bench.binary, place)
    with place.open("ab") as file:
        file.write(b"another one")
    return place


def routers(root):
    """The router processes of one server."""
    found = set()
    for place in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"router-process" in words and any(word.startswith(bytes(root) + b"/") for word in words):
            found.add(int(place.parent.name))
    return found


def report(name, told, happened):
    """For people, beside the rows."""
    say = lambda text: print(f"{name}: {text}", file=sys.stderr)
    sockets = told["sockets"]
    say(", ".join(f"{count} × {event}" for event, count in happened.items()))
    say(f"{told['requests']} requests in {told['seconds']} s; the slowest {told['slowest']} s ({told['slowest_during']})")
    closed = ", ".join(f"{count} during {event}" for event, count in sockets["closed"].items()) or "none"
    say(f"{sockets['opened']} WebSockets, {sockets['messages']} messages; ended in order: {closed}")
    say(f"{len(told['failures'])} failed")
    kinds = Counter((one["kind"], one["during"], one["who"].split("-")[0], one["detail"]) for one in told["failures"])
    for (kind, during, who, detail), count in kinds.most_common(40):
        say(f"    {count} × {kind} during {during}, {who}: {detail}")
