"""Rows about trees and archives: materialising, checking, packing, unpacking. Ours is one call of the library each time
(tests/bench/archives.rs), the other the tool that people would use; both are whole commands, started anew.

Every row is first shown that its check can fail."""

import os
import random
import shutil

from machine import Broken, run, timed
from volumes import KINDS, volume

SMALL = {"10k": (10_000, 100_000_000), "100k": (100_000, 200_000_000)}
EXTENSIONS = [".js", ".json", ".d.ts", ".map", ".md", ".py", ".pyc", ".css"]


def fill(place, files, size, seed):
    """A tree with sizes as in real ones (many small, few large), half noise and half words."""
    chance = random.Random(seed)
    weights = [chance.lognormvariate(0, 1.2) for _ in range(files)]
    scale = size / sum(weights)
    words = " ".join(chance.choice(["push", "cook", "deploy", "check", "undo", "serve"]) for _ in range(40_000)).encode()
    for number, weight in enumerate(weights):
        directory = place / f"package-{number % 331}" / f"lib-{number % 7}"
        if number < 331 * 7:
            directory.mkdir(parents=True, exist_ok=True)
        length = max(1, int(weight * scale))
        start = chance.randrange(len(words) // 2)
        text = (words[start : start + length // 2] * (1 + length // len(words)))[: length // 2]
        name = f"file-{number}{EXTENSIONS[number % len(EXTENSIONS)]}"
        (directory / name).write_bytes(text + chance.randbytes(length - len(text)))
    return place


def dependencies(place, seed):
    """500 MB as `node_modules` and a virtual environment are: 40,000 files, source texts, a few large binaries."""
    fill(place, 40_000, 320_000_000, seed)
    chance = random.Random(seed + 1)
    for number in range(18):
        (place / f"native-{number}.node").write_bytes(chance.randbytes(5_000_000) + bytes(5_000_000))
    return place


def archives(bench, *words):
    return run([str(bench.binary.parent / "examples" / "archives"), *map(str, words)]).strip()


def drop(path):
    shutil.rmtree(path, ignore_errors=True)


def on_every_volume(bench, name, measure):
    """The worst ratio of all file systems and both sizes; each is printed as a row of its own."""
    for kind in KINDS:
        with volume(bench.room, kind) as place:
            for size, (files, total) in SMALL.items():
                tree = fill(place / f"tree-{size}", files, total, seed=files)
                yield measure(f"{name}-{kind}-{size}", place, tree)
                drop(tree)


def tree_materialise(bench):
    """A copy of a tree in its place, owners and modes included, against `rsync -a` from scratch; neither is synced."""

    def measure(name, place, tree):
        ours, other = place / "ours", place / "other"

        def clean(_):
            drop(ours)
            drop(other)
            os.sync()

        return bench.alternate(
            name,
            lambda number: timed(archives, bench, "copy", tree, ours),
            lambda number: timed(run, ["rsync", "-a", f"{tree}/", f"{other}/"]),
            before=clean,
            after=clean,
        )

    return on_every_volume(bench, "tree-materialise", measure)


def tree_verify(bench):
    """The strict check of a tree in which nothing changed, against `rsync -a --delete` that finds nothing to do."""

    def measure(name, place, tree):
        twin = place / "twin"
        run(["rsync", "-a", f"{tree}/", f"{twin}/"])
        stamp = archives(bench, "stamp", tree)
        row = bench.alternate(
            name,
            lambda number: timed(archives, bench, "verify", tree, stamp),
            lambda number: timed(run, ["rsync", "-a", "--delete", f"{tree}/", f"{twin}/"]),
        )
        must_fail(lambda: change_one(tree), lambda: archives(bench, "verify", tree, stamp))
        drop(twin)
        return row

    return on_every_volume(bench, "tree-verify", measure)


def change_one(tree):
    """One byte, with the size and the time of change as before."""
    file = next(path for path in sorted(tree.rglob("*")) if path.is_file())
    before = file.stat()
    with open(file, "r+b") as content:
        first = content.read(1)
        content.seek(0)
        content.write(bytes([first[0] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def must_fail(spoil, check):
    spoil()
    try:
        check()
    except Broken:
        return
    raise Broken("the check did not see a changed byte")


def by_hand(tree, out):
    """tar | zstd | sha256sum, as a script would have it."""
    script = f"tar -C {tree} -cf - . | zstd -q -T0 -3 -f -o {out} && sha256sum {out} > {out}.sha256"
    run(["bash", "-o", "pipefail", "-c", script])


def sizes_agree(ours, other):
    sizes = ours.stat().st_size, other.stat().st_size
    if abs(sizes[0] - sizes[1]) > 0.05 * sizes[1]:
        raise Broken(f"the archive has {sizes[0]} bytes, the other's {sizes[1]}")


def packing(bench, name, tree):
    place = bench.room.path / "packing"
    place.mkdir(exist_ok=True)
    ours, other = place / "ours.tar.zst", place / "other.tar.zst"

    def clean(_):
        for file in place.iterdir():
            file.unlink()

    row = bench.alternate(
        name,
        lambda number: timed(archives, bench, "pack", tree, ours),
        lambda number: timed(by_hand, tree, other),
        before=clean,
        after=lambda number: sizes_agree(ours, other),
    )
    drop(place)
    return row


def bundle(bench):
    """Pack, digest and sign, against tar | zstd -T0 -3 | sha256sum; sizes must agree within 5 %."""
    small = fill(bench.room.path / "small", *SMALL["10k"], seed=1)
    yield packing(bench, "bundle-100m", small)
    drop(small)
    large = dependencies(bench.room.path / "dependencies", seed=2)
    yield packing(bench, "bundle-500m", large)
    drop(large)


def rebundle_one_file(bench):
    """Bundle again after one change, with the archive before beside it; the bytes must be those of a full bundle."""
    place = bench.room.path / "rebundle"
    tree = fill(place / "tree", *SMALL["10k"], seed=3)
    before, again, other, full = (place / name for name in ("before", "again", "other", "full"))
    archives(bench, "pack", tree, before)
    file = next(path for path in sorted(tree.rglob("*")) if path.is_file())

    def change(number):
        file.write_text(f"round {number}")
        for path in (again, other, full):
            for name in place.glob(f"{path.name}*"):
                name.unlink()

    def the_same(_):
        if archives(bench, "pack", tree, full) != archives(bench, "sum", again):
            raise Broken("the second bundle has other bytes than a full one")

    row = bench.alternate(
        "rebundle-one-file",
        lambda number: timed(archives, bench, "repack", tree, again, before),
        lambda number: timed(by_hand, tree, other),
        before=change,
        after=the_same,
    )
    drop(place)
    yield row


def unpack(bench):
    """Verify and unpack under all limits, against zstd -d | tar x, which verifies nothing."""
    place = bench.room.path / "unpacking"
    tree = fill(place / "tree", *SMALL["10k"], seed=4)
    archive, ours, other = place / "a.tar.zst", place / "ours", place / "other"
    archives(bench, "pack", tree, archive)
    script = f"mkdir {other} && zstd -q -d -c {archive} | tar -C {other} -xf -"

    def clean(_):
        drop(ours)
        drop(other)

    yield bench.alternate(
        "unpack",
        lambda number: timed(archives, bench, "unpack", archive, ours),
        lambda number: timed(run, ["bash", "-o", "pipefail", "-c", script]),
        before=clean,
        after=clean,
    )
    drop(place)
