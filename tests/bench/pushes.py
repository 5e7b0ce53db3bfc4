"""Rows about pushing, cloning and memory: ours against OpenSSH with plain git and what people write by hand behind it."""

import shutil
import subprocess
import threading
import time

import trees
from machine import Broken, run, timed, wait_for
from servers import Commis, fetch, free_port

PROJECTS_AT_REST = 20


def ssh_session(bench):
    ours, other = bench.ours.ssh("list"), bench.other.ssh("true")
    env = bench.room.environment
    return bench.alternate(
        "ssh-session",
        lambda number: timed(lambda: run(ours, env=env)),
        lambda number: timed(lambda: run(other, env=env)),
    )


def clone_100m(bench):
    urls = bench.ours.create("cloned"), bench.other.create("cloned")
    for url in urls:
        bench.large.push(url, "work")
    goal = bench.room.path / "clone"

    def clone(url):
        flags = ["--quiet", "--bare", "--single-branch", "--branch", "work"]
        seconds = timed(bench.room.git, bench.room.path, "clone", *flags, url, str(goal))
        shutil.rmtree(goal)
        return seconds

    row = bench.alternate("clone-100m", lambda number: clone(urls[0]), lambda number: clone(urls[1]))
    bench.ours.destroy("cloned")
    return row


def push_100m(bench):
    return fresh_pushes(bench, "push-100m", branch="work", hook=lambda name: "exit 0")


def push_10k_first(bench):
    return fresh_pushes(bench, "push-10k-first", branch="main", hook=lambda name: by_hand(bench, name))


def fresh_pushes(bench, name, branch, hook):
    """Pushes the large tree into a repository that is new in every round."""
    urls = {}

    def before(number):
        bench.large.next_commit()
        fresh = f"{name}-{number}"
        urls["ours"], urls["other"] = bench.ours.create(fresh), bench.other.create(fresh, hook(fresh))

    def after(number):
        bench.ours.destroy(f"{name}-{number}")
        for left in bench.other.root.glob(f"{name}-{number}.*"):
            shutil.rmtree(left)

    return bench.alternate(
        name,
        lambda number: bench.push(urls["ours"], branch, f"{name}-{number}"),
        lambda number: timed(bench.large.push, urls["other"], branch),
        before,
        after,
    )


def push_10k_one_file(bench):
    urls = bench.ours.create("one-file"), bench.other.create("one-file", by_hand(bench, "one-file"))
    for url in urls:
        bench.large.push(url)
    row = bench.alternate(
        "push-10k-one-file",
        lambda number: bench.push(urls[0], "main", "one-file"),
        lambda number: timed(bench.large.push, urls[1]),
        before=lambda number: bench.large.next_commit(),
    )
    bench.ours.destroy("one-file")
    return row


def by_hand(bench, name):
    """The hook that people write: a work tree, then a copy of it where it is served."""
    tree, served = bench.other.root / f"{name}.tree", bench.other.root / f"{name}.served"
    lines = [f"mkdir -p {tree} {served}", f"git --work-tree={tree} checkout --quiet -f main"]
    return "\n".join(["set -e", *lines, f"rsync -a --delete {tree}/ {served}/"])


def push_tiny_static(bench):
    site, text = trees.static_site(bench.room), {}
    urls = bench.ours.create("tiny"), bench.other.create("tiny")
    row = bench.alternate(
        "push-tiny-static",
        lambda number: served(bench, site, urls[0], "tiny", text["now"]),
        lambda number: timed(site.push, urls[1]),
        before=lambda number: text.update(now=site.next_commit()),
    )
    bench.ours.destroy("tiny")
    return row


def push_tiny_process(bench):
    app, text = trees.process(bench.room), {}
    urls = bench.ours.create("process"), bench.other.create("process")
    row = bench.alternate(
        "push-tiny-process",
        lambda number: served(bench, app, urls[0], "process", text["now"]),
        lambda number: timed(app.push, urls[1]) + start_by_hand(app, text["now"]),
        before=lambda number: text.update(now=app.next_commit()),
    )
    bench.ours.destroy("process")
    return row


def served(bench, tree, url, project, text):
    """A push of ours counts only if the new page is there the moment git says it is done."""
    seconds = timed(tree.push, url)
    page = bench.ours.page(project)
    bench.ours.settle(project)
    if text not in page:
        raise Broken(f"the push of {project} was acknowledged, but the page is not the new one")
    return seconds


def start_by_hand(app, text):
    """Seconds from starting the same process to its first answer."""
    port = free_port()
    start = time.perf_counter()
    env = {"PATH": "/usr/bin:/bin", "PORT": str(port)}
    child = subprocess.Popen(["/usr/bin/python3", "server.py"], cwd=app.path, env=env)
    try:
        wait_for(lambda: text in fetch(port), pause=0.002)
        return time.perf_counter() - start
    finally:
        child.kill()
        child.wait()


def memory_rest(bench):
    def measure(server):
        site = trees.static_site(bench.room, f"site-{server.root.name}")
        for number in range(PROJECTS_AT_REST):
            site.push(server.create(f"site-{number}"))
        time.sleep(2)
        return server.resident()

    return on_fresh_servers(bench, "memory-rest", measure)


def memory_peak(bench):
    def measure(server):
        url, seen, done = server.create("peak"), [0.0], threading.Event()

        def watch():
            while not done.wait(0.01):
                seen.append(server.resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            bench.large.push(url, "work")
        finally:
            done.set()
            watcher.join()
        return max(*seen, server.highest())

    return on_fresh_servers(bench, "memory-peak", measure)


def on_fresh_servers(bench, name, measure):
    """A number of megabytes, from servers that did nothing else before."""
    found = []
    for number in range(bench.rounds):
        server = Commis(bench.room, bench.binary, f"{name}-{number}")
        found.append(measure(server))
        bench.room.stop(server.process)
    return bench.row(name, found, unit="MB")
