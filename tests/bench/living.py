"""Rows about a server that lives: going back to a release, and what a start does after a death with much under way."""

import re
import subprocess
import time

import trees
from archived import must_fail
from machine import Broken, timed, wait_for
from servers import Commis

LARGE = {"10k": (10_000, 100_000_000), "100k": (100_000, 200_000_000)}
# A rollback takes as long with many files as with few: largest ratio of the two.
EQUAL = 1.2
PROJECTS, INTERRUPTED = 200, 20
# Milliseconds until everything that was under way has come to an end.
RESOLVED = 30_000.0


def rollback(bench):
    """To the release before and to and fro, until it is said to serve, against ours pushing the tiny process."""
    found = {}
    for size, (files, total) in LARGE.items():
        row = rolling_back(bench, f"rollback-{size}", trees.process(bench.room, f"rollback-{size}", files, total))
        found[size] = row
        yield row
    yield bench.row("rollback-equal", [found["100k"].ours], found["10k"].ours, goal=EQUAL)


def rolling_back(bench, project, tree):
    app, text = bench.once("process", lambda: trees.process(bench.room)), {}
    urls = bench.ours.create(project), bench.once("tiny process", lambda: bench.ours.create("tiny-process"))
    texts = []
    for _ in range(2):
        texts.append(tree.next_commit())
        tree.push(urls[0])
        bench.ours.settle(project)
    has(bench, project, texts[1])
    must_fail(lambda: has(bench, project, texts[0]))

    def go_back(number):
        version = 1 + number % 2
        seconds = timed(bench.ours.verb, "rollback", project, f"v{version}")
        has(bench, project, texts[version - 1])
        bench.ours.settle(project)
        return seconds

    def push(number):
        seconds = timed(app.push, urls[1])
        has(bench, "tiny-process", text["now"])
        bench.ours.settle("tiny-process")
        return seconds

    row = bench.alternate(project, go_back, push, before=lambda number: text.update(now=app.next_commit()))
    bench.ours.destroy(project)
    return row


def has(bench, project, text):
    """The page is there the moment the command says that it is done."""
    if text not in bench.ours.page(project):
        raise Broken(f"{project} was said to be live, but the page is another one")


def recovery(bench):
    """A server with 200 sites dies while 20 of them are being deployed. From its start until a healthy site is served,
    and until all is brought to an end and every site serves what it did."""
    server = Commis(bench.room, bench.binary, "recovered")
    sites = [trees.static_site(bench.room, f"recovered-{number}") for number in range(PROJECTS)]
    texts = [site.text for site in sites]
    for number, site in enumerate(sites):
        site.push(server.create(f"site-{number}"))
    broken = range(0, PROJECTS, PROJECTS // INTERRUPTED)
    for number in broken:
        sites[number].add(".commis/hooks/post_deploy", "#!/bin/sh\necho interrupt me\nsleep 600\n")
    serving, resolved = [], []
    for _ in range(bench.rounds):
        die_in_the_middle(server, [sites[number] for number in broken], broken)
        times = start_again(server, healthy=PROJECTS // 2 + 1, texts=texts, broken=broken)
        serving.append(times[0] * 1000)
        resolved.append(times[1] * 1000)
    bench.room.stop(server.process)
    yield bench.row("recovery-serving", serving)
    yield bench.row("recovery-resolved", resolved, goal=RESOLVED)


def die_in_the_middle(server, sites, numbers):
    """Kills the server when all these pushes are in the last hook: switched, and without a verdict."""
    pushes = []
    for site, number in zip(sites, numbers):
        site.next_commit()
        command = ["git", "-C", str(site.path), "push", server.url(f"site-{number}"), "HEAD:refs/heads/main"]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        pushes.append(subprocess.Popen(command, env=site.room.environment, **streams))
    heard = [wait_for_line(push.stderr, b"interrupt me") for push in pushes]
    server.kill()
    for push in pushes:
        push.communicate()
        if push.returncode == 0:
            raise Broken("a push was acknowledged that was interrupted")
    if not all(heard):
        raise Broken("a push ended before its last hook began")


def wait_for_line(pipe, text):
    return any(text in line for line in iter(pipe.readline, b""))


def start_again(server, healthy, texts, broken):
    """Seconds from the start of the program to the first good page of one site, and to the end of the recovery."""
    begun = time.perf_counter()
    server.start()
    wait_for(lambda: texts[healthy] in server.page(f"site-{healthy}"), pause=0.005)
    serving = time.perf_counter() - begun
    wait_for(lambda: "commis: recovery over" in server.ready.read_text(), seconds=120, pause=0.02)
    resolved = time.perf_counter() - begun
    are_undone(server, len(broken))
    must_fail(lambda: are_undone(server, len(broken) + 1))
    serve(server, texts)
    must_fail(lambda: serve(server, [*texts[:-1], "a page that nobody wrote"]))
    return serving, resolved


def are_undone(server, expected):
    undone = re.findall(r"^commis: recovered (\S+): .*undone", server.ready.read_text(), re.M)
    if len(undone) != expected:
        raise Broken(f"{len(undone)} of {expected} deployments were undone:\n{server.ready.read_text()[-2000:]}")


def serve(server, texts):
    for number, text in enumerate(texts):
        if text not in server.page(f"site-{number}"):
            raise Broken(f"site-{number} does not serve what it did")
