"""The rows: for each its function, its goal and its number of rounds. What they do stands in the files they come from.

A row is a function `bench -> Row`, or one that gives several rows, named after it (`unpack`, `backup-first-xfs`). To add
one: the function, in the file of its subject, and a line here."""

from dataclasses import dataclass
from typing import Callable

import archived
import backups
import living
import pushes
import uptime
from measure import Row


@dataclass(frozen=True)
class Entry:
    measure: Callable
    # Largest ratio ours/other; for memory, largest number of megabytes. A function may give some of its rows another.
    goal: float
    # Measured rounds: full, quick.
    rounds: tuple[int, int]


ROWS = {
    "ssh-session": Entry(pushes.ssh_session, 0.15, (41, 15)),
    "clone-100m": Entry(pushes.clone_100m, 0.95, (9, 2)),
    "push-100m": Entry(pushes.push_100m, 0.75, (9, 2)),
    "push-tiny-static": Entry(pushes.push_tiny_static, 0.9, (31, 7)),
    "push-tiny-process": Entry(pushes.push_tiny_process, 1.1, (21, 5)),
    "push-10k-first": Entry(pushes.push_10k_first, 1.3, (7, 1)),
    "push-10k-one-file": Entry(pushes.push_10k_one_file, 3.0, (15, 2)),
    "memory-rest": Entry(pushes.memory_rest, 60.0, (3, 1)),
    "memory-peak": Entry(pushes.memory_peak, 150.0, (3, 1)),
    "tree-materialise": Entry(archived.tree_materialise, 0.3, (5, 1)),
    "tree-take": Entry(archived.tree_take, 0.3, (5, 1)),
    "tree-verify": Entry(archived.tree_verify, 0.25, (11, 3)),
    "bundle": Entry(archived.bundle, 1.0, (9, 2)),
    "rebundle-one-file": Entry(archived.rebundle_one_file, 0.25, (15, 3)),
    "unpack": Entry(archived.unpack, 1.2, (15, 3)),
    "memory-unpack": Entry(archived.memory_unpack, 300.0, (1, 1)),
    "rollback": Entry(living.rollback, 0.6, (11, 3)),
    "backup": Entry(backups.backup, 1.0, (7, 1)),
    "recovery": Entry(living.recovery, 1000.0, (3, 1)),
    "uptime": Entry(uptime.uptime, 0.0, (100, 10)),
}


def measure(bench, name):
    """The measured rows of one row of the list, each as soon as it is there."""
    entry = ROWS[name]
    bench.rounds, bench.goal = entry.rounds[1 if bench.quick else 0], entry.goal
    found = entry.measure(bench)
    yield from [found] if isinstance(found, Row) else found
