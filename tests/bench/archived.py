"""Rows about trees and archives: materialising, checking, packing, unpacking. Ours is one call of the library each time
(tests/bench/archives.rs), the other the tool that people would use; both are whole commands, started anew.

Every row first shows that its check can fail."""

import os
import shutil

import folders
from machine import Broken, run, timed
from volumes import KINDS, volume

SIZES = {"10k": (10_000, 100_000_000), "100k": (100_000, 200_000_000)}


def drop(*paths):
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def must_fail(check):
    """Shows that a check can say no."""
    try:
        check()
    except Broken:
        return
    raise Broken("the check of this row did not see that something was spoilt")


def on_every_volume(bench, name, measure):
    """A row for every file system and both sizes; the quick way has the large tree on one of them."""
    for kind in KINDS:
        with volume(bench.room, kind) as place:
            for size in SIZES:
                if bench.quick and (size, kind) not in [("10k", kind), ("100k", "ext4")]:
                    continue
                tree = place / f"tree-{size}"
                run(["cp", "-a", str(model(bench, size)), str(tree)])
                os.sync()
                yield measure(f"{name}-{kind}-{size}", place, tree)
                drop(tree)


def model(bench, size):
    """The tree that the others are copies of."""

    def make():
        files, total = SIZES[size]
        return folders.owned(folders.fill(bench.room.path / f"model-{size}", files, total, seed=files))

    return bench.once(f"model-{size}", make)


def tree_take(bench):
    """The tree of the release before, which was kept, in its place and compared, as a way back does it, against `rsync -a`
    from scratch; neither is synced."""

    def measure(name, place, tree):
        ours, other = place / "ours", place / "other"
        stamp = bench.archives("stamp", tree)

        def put_back(number):
            if ours.exists():
                ours.rename(tree)
            drop(other)
            os.sync()

        row = bench.alternate(
            name,
            lambda number: timed(bench.archives, "take", tree, ours, stamp),
            lambda number: timed(run, ["rsync", "-a", f"{ours if ours.exists() else tree}/", f"{other}/"]),
            before=put_back,
            after=lambda number: same_trees(ours, other) if number == 0 else None,
        )
        put_back(0)
        folders.change_one(folders.a_file(tree))
        must_fail(lambda: bench.archives("take", tree, ours, stamp))
        drop(ours)
        return row

    return on_every_volume(bench, "tree-take", measure)


def tree_materialise(bench):
    """A tree copied, owners, modes and times included, as editing in place does it, against `rsync -a` from scratch; neither
    is synced."""

    def measure(name, place, tree):
        ours, other = place / "ours", place / "other"

        def clean(number):
            drop(ours, other)
            os.sync()

        def check(number):
            if number == 0:
                same_trees(tree, ours)
                folders.change_one(folders.a_file(ours))
                must_fail(lambda: same_trees(tree, ours))

        return bench.alternate(
            name,
            lambda number: timed(bench.archives, "copy", tree, ours),
            lambda number: timed(run, ["rsync", "-a", f"{tree}/", f"{other}/"]),
            before=clean,
            after=lambda number: (check(number), clean(number)),
        )

    return on_every_volume(bench, "tree-materialise", measure)


def same_trees(one, other):
    """By content, and all that rsync keeps."""
    found = run(["rsync", "-aHn", "--checksum", "--delete", "--itemize-changes", f"{one}/", f"{other}/"])
    if found:
        raise Broken(f"the copy differs: {found.splitlines()[:3]}")


def tree_verify(bench):
    """The strict check of a tree in which nothing changed, against `rsync -a --delete` that finds nothing to do."""

    def measure(name, place, tree):
        twin = place / "twin"
        run(["rsync", "-a", f"{tree}/", f"{twin}/"])
        stamp = bench.archives("stamp", tree)
        row = bench.alternate(
            name,
            lambda number: timed(bench.archives, "verify", tree, stamp),
            lambda number: timed(run, ["rsync", "-a", "--delete", f"{tree}/", f"{twin}/"]),
        )
        folders.change_one(folders.a_file(tree))
        must_fail(lambda: bench.archives("verify", tree, stamp))
        drop(twin)
        return row

    return on_every_volume(bench, "tree-verify", measure)


def by_hand(tree, out):
    """tar | zstd | sha256sum, as a script would have it."""
    script = f"tar -C {tree} -cf - . | zstd -q -T0 -3 -f -o {out} && sha256sum {out} > {out}.sha256"
    run(["bash", "-o", "pipefail", "-c", script])


def is_whole(archive):
    """What `sha256sum` and `ssh-keygen` say of an archive of ours."""
    run(["sha256sum", "--check", "--quiet", f"{archive}.sha256"], cwd=archive.parent)
    with open(archive, "rb") as content:
        run(["ssh-keygen", "-Y", "check-novalidate", "-n", "commis-release", "-s", f"{archive}.sig"], stdin=content)


def sizes_agree(ours, other):
    sizes = ours.stat().st_size, other.stat().st_size
    if abs(sizes[0] - sizes[1]) > 0.05 * sizes[1]:
        raise Broken(f"the archive has {sizes[0]} bytes, the other's {sizes[1]}")


def packing(bench, name, tree):
    place = bench.room.path / "packing"
    place.mkdir()
    ours, other, key = place / "ours.tar.zst", place / "other.tar.zst", bench.room.path / "signing-key"

    def clean(number):
        for file in place.iterdir():
            file.unlink()

    def check(number):
        sizes_agree(ours, other)
        if number == 0:
            is_whole(ours)
            folders.change_one(ours)
            must_fail(lambda: is_whole(ours))
            other.write_bytes(b"short")
            must_fail(lambda: sizes_agree(ours, other))

    bench.archives("bundle", tree, ours, key)
    row = bench.alternate(
        name,
        lambda number: timed(bench.archives, "bundle", tree, ours, key),
        lambda number: timed(by_hand, tree, other),
        before=clean,
        after=check,
    )
    drop(place)
    return row


def bundle(bench):
    """Pack, digest, sign and state where it comes from, against tar | zstd -T0 -3 | sha256sum; sizes agree within 5 %."""
    yield packing(bench, "bundle-100m", model(bench, "10k"))
    large = folders.dependencies(bench.room.path / "dependencies", seed=2)
    yield packing(bench, "bundle-500m", large)
    drop(large)


def rebundle_one_file(bench):
    """Bundle again after one change, with the archive before beside it; the bytes must be those of a full bundle."""
    place = bench.room.path / "rebundle"
    tree = folders.fill(place / "tree", *SIZES["10k"], seed=3)
    before, again, other, full = (place / name for name in ("before", "again", "other", "full"))
    key = place / "signing-key"
    bench.archives("bundle", tree, before, key)
    file = folders.a_file(tree)

    def change(number):
        file.write_text(f"round {number}")
        for path in (again, other, full):
            for name in place.glob(f"{path.name}*"):
                name.unlink()

    def check(number):
        is_whole(again)
        bench.archives("pack", tree, full)
        run(["cmp", str(full), str(again)])
        if number == 0:
            folders.change_one(again)
            must_fail(lambda: run(["cmp", str(full), str(again)]))

    row = bench.alternate(
        "rebundle-one-file",
        lambda number: timed(bench.archives, "bundle", tree, again, key, before),
        lambda number: timed(by_hand, tree, other),
        before=change,
        after=check,
    )
    drop(place)
    return row


def unpack(bench):
    """Verify and unpack under all limits, against zstd -d | tar x, which verifies nothing."""
    place = bench.room.path / "unpacking"
    place.mkdir()
    tree, archive, ours, other = model(bench, "10k"), place / "a.tar.zst", place / "ours", place / "other"
    bench.archives("pack", tree, archive)
    script = f"mkdir {other} && zstd -q -d -c {archive} | tar -C {other} -xf -"

    def clean(number):
        drop(ours, other)

    def check(number):
        if number == 0 and bench.archives("digest", ours) != bench.archives("digest", tree):
            raise Broken("the unpacked tree is another one")
        clean(number)

    row = bench.alternate(
        "unpack",
        lambda number: timed(bench.archives, "unpack", archive, ours),
        lambda number: timed(run, ["bash", "-o", "pipefail", "-c", script]),
        before=clean,
        after=check,
    )
    folders.change_one(archive)
    must_fail(lambda: bench.archives("unpack", archive, ours))
    drop(place)
    return row


def memory_unpack(bench):
    """The most memory that unpacking a release of 5 GB ever held, as GNU time tells it. Shown first: that it tells of
    memory that was held, and that a damaged archive of this size is refused."""
    place = bench.room.path / "five"
    tree, archive, ours, said = place / "tree", place / "a.tar.zst", place / "ours", place / "said"
    bench.archives("pack", folders.release_of_5_gb(tree), archive)
    command = [str(bench.binary.parent / "examples" / "archives"), "unpack", str(archive), str(ours)]

    def held(argv):
        run(["/usr/bin/time", "--format", "%M", "--output", str(said), *argv])
        return int(said.read_text()) * 1024 / 1e6

    def measure(number):
        megabytes = held(command)
        found = sum(path.stat().st_size for path in ours.rglob("*") if path.is_file())
        if found != folders.FIVE_GB:
            raise Broken(f"{found} bytes were unpacked instead of {folders.FIVE_GB}")
        drop(ours)
        return megabytes

    if held(["/usr/bin/python3", "-c", "bytearray(b'1') * 400_000_000"]) < 400:
        raise Broken("GNU time does not tell how much memory was held")
    row = bench.row("memory-unpack", [measure(number) for number in range(bench.rounds)], unit="MB")
    folders.change_one(archive)
    must_fail(lambda: run(command))
    drop(place)
    return row
