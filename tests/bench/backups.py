"""Rows about backups of data: 1 GiB the first time, and again after one part in a hundred changed, on file systems of
three kinds.

Ours is the library's part of the step that backs data up: with the sync of what the application wrote that it begins
with, and with sums of all content; without the sync of the copy at its end, because `cp` has none either."""

import os

import folders
from archived import drop, must_fail, same_trees
from machine import run, timed
from volumes import volume

KINDS = ["ext4", "xfs", "btrfs"]
SHARING = ["xfs", "btrfs"]
SECOND = 0.2


def backup(bench):
    for kind in KINDS:
        with volume(bench.room, kind) as place:
            data = folders.Data(place / "data")
            yield first(bench, f"backup-first-{kind}", place, data)
            yield second(bench, f"backup-second-{kind}", place, data, SECOND if kind in SHARING else None)


def sides(bench, place, data, ours, other, earlier=()):
    """Both begin on a disk that is at rest."""

    def of(work, *arguments):
        os.sync()
        return timed(work, *arguments)

    copy = ["cp", "-a", "--reflink=auto", str(data.place), str(other)]
    return (
        lambda number: of(bench.archives, "backup", data.place, ours, *earlier),
        lambda number: of(run, copy),
    )


def first(bench, name, place, data):
    ours, other, back = place / "ours", place / "other", place / "back"

    def check(number):
        if number == 0:
            restores_only_what_was(bench, ours, back, data)
        drop(ours, other, back)

    return bench.alternate(name, *sides(bench, place, data, ours, other), after=check)


def second(bench, name, place, data, goal):
    """Each follows the one before, as deployments do."""
    before, ours, other, back = place / "before", place / "ours", place / "other", place / "back"
    bench.archives("backup", data.place, before)

    def check(number):
        if number == 0:
            restores_only_what_was(bench, ours, back, data)
        drop(before, other, back)
        ours.rename(before)

    row = bench.alternate(
        name,
        *sides(bench, place, data, ours, other, [before]),
        before=lambda number: data.change(),
        after=check,
        goal=goal,
    )
    drop(before)
    return row


def restores_only_what_was(bench, backup, back, data):
    """The check, and that it sees one damaged byte, which is put right again: the next backup may build on this one."""
    restores(bench, backup, back, data)
    damaged = folders.a_file(backup / "data" / "uploads")
    folders.change_one(damaged)
    must_fail(lambda: restores(bench, backup, back, data))
    folders.change_one(damaged)


def restores(bench, backup, back, data):
    """What comes back is what there was."""
    drop(back)
    bench.archives("copy-back", backup, back)
    same_trees(data.place, back)
