"""What a row is, and how one is measured: taking turns, medians, spread. What is measured is in the files of rows."""

import statistics
import time
from dataclasses import dataclass

import trees
from machine import run, timed
from servers import Commis, OpenSsh


@dataclass
class Row:
    """One line of the table. Spread is the interquartile range of ours over its median."""

    name: str
    ours: float
    other: float | None
    runs: int
    spread: float
    # Largest ratio ours/other; without an other, largest number. `None`: shown, and nothing is promised.
    goal: float | None
    unit: str = "ms"

    @property
    def ratio(self):
        return self.ours / self.other if self.other else None

    @property
    def met(self):
        return self.goal is None or (self.ratio if self.other else self.ours) <= self.goal


class Bench:
    """What the rows share: servers and trees, made when one first asks for them, and how often to measure."""

    def __init__(self, room, binary, quick):
        self.room, self.binary, self.quick, self.made = room, binary, quick, {}
        self.rounds, self.goal = 1, None

    def once(self, name, make):
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    @property
    def ours(self):
        return self.once("ours", lambda: Commis(self.room, self.binary))

    @property
    def other(self):
        return self.once("other", lambda: OpenSsh(self.room))

    @property
    def large(self):
        return self.once("large", lambda: trees.large(self.room))

    def archives(self, *words):
        """One call of the library (tests/bench/archives.rs), as a command of its own."""
        return run([str(self.binary.parent / "examples" / "archives"), *map(str, words)]).strip()

    def push(self, url, branch, project):
        """Seconds of a push of the large tree to ours. What is tidied after the verdict is waited for, not counted: it
        must not slow the other's turn down."""
        seconds = timed(self.large.push, url, branch)
        self.ours.settle(project)
        return seconds

    def alternate(self, name, ours, other, before=lambda number: None, after=lambda number: None, **row):
        """Takes turns, who begins as well, after one round that does not count. Both return seconds."""
        times = {ours: [], other: []}
        for number in range(self.rounds + 1):
            before(number)
            for side in (ours, other) if number % 2 else (other, ours):
                seconds = side(number)
                if number:
                    times[side].append(seconds * 1000)
            after(number)
        return self.row(name, times[ours], median(times[other]), **row)

    def row(self, name, found, other=None, **row):
        """A row of what was found; its goal is the row's of the list unless another one is given."""
        return Row(name, median(found), other, len(found), spread(found), **({"goal": self.goal} | row))


def rest(seconds=1.0):
    """Lets what was started before come to rest."""
    time.sleep(seconds)


def median(numbers):
    return statistics.median(numbers)


def spread(numbers):
    if not median(numbers):
        return 0.0
    if len(numbers) < 4:
        return (max(numbers) - min(numbers)) / median(numbers)
    low, _, high = statistics.quantiles(numbers, n=4)
    return (high - low) / median(numbers)
