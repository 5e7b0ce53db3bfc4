"""Trees without a repository: what is copied, packed and backed up. The same on every machine."""

import os
import random

EXTENSIONS = [".js", ".json", ".d.ts", ".map", ".md", ".py", ".pyc", ".css"]
PIECE = 1 << 20
# Content of `release_of_5_gb`.
FIVE_GB = 5_000 * PIECE


def words(chance):
    return " ".join(chance.choice(["push", "cook", "deploy", "check", "undo", "serve"]) for _ in range(40_000)).encode()


def fill(place, files, size, seed):
    """A tree with sizes as in real ones (many small, few large), half noise and half words."""
    chance = random.Random(seed)
    weights = [chance.lognormvariate(0, 1.2) for _ in range(files)]
    scale, text = size / sum(weights), words(chance)
    for number, weight in enumerate(weights):
        directory = place / f"package-{number % 331}" / f"lib-{number % 7}"
        if number < 331 * 7:
            directory.mkdir(parents=True, exist_ok=True)
        length = max(1, int(weight * scale))
        start = chance.randrange(len(text) // 2)
        half = (text[start : start + length // 2] * (1 + length // len(text)))[: length // 2]
        name = f"file-{number}{EXTENSIONS[number % len(EXTENSIONS)]}"
        (directory / name).write_bytes(half + chance.randbytes(length - len(half)))
    return place


def owned(tree):
    """The same with owners and modes of several kinds: they are to be in a copy as well."""
    for number, file in enumerate(sorted(path for path in tree.rglob("*") if path.is_file())):
        if number % 3 == 0:
            os.chown(file, 31_000 + number % 5, 31_000)
        if number % 10 == 0:
            file.chmod([0o600, 0o640, 0o755, 0o444][number // 10 % 4])
    return tree


def dependencies(place, seed):
    """500 MB as `node_modules` and a virtual environment are: 40,000 files, source texts, a few large binaries."""
    fill(place, 40_000, 320_000_000, seed)
    chance = random.Random(seed + 1)
    for number in range(18):
        (place / f"native-{number}.node").write_bytes(chance.randbytes(5_000_000) + bytes(5_000_000))
    return place


def release_of_5_gb(place):
    """4,000 files of one megabyte and a large one. Holes on the disk, and in each piece enough noise for an archive that
    unpacks to about 30 times its size: within the limit of 200."""
    chance = random.Random(5)
    for number in range(4_000):
        directory = place / f"part-{number // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / f"file-{number}", "wb") as file:
            noisy(file, 1, chance)
    with open(place / "large", "wb") as file:
        noisy(file, 1_000, chance)
    return place


def noisy(file, pieces, chance):
    for piece in range(pieces):
        file.seek(piece * PIECE)
        file.write(chance.randbytes(PIECE // 32))
    file.truncate(pieces * PIECE)


class Data:
    """1 GiB as an application keeps it: uploads of about a megabyte, and a database of an eighth of the whole."""

    UPLOADS, DATABASE = 896, 128

    def __init__(self, place):
        self.place, self.chance = place, random.Random(6)
        for number in range(self.UPLOADS):
            directory = place / "uploads" / f"{number % 40}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"upload-{number}").write_bytes(self.chance.randbytes(PIECE))
        with open(place / "database", "wb") as file:
            for _ in range(self.DATABASE):
                file.write(self.chance.randbytes(PIECE))

    def change(self):
        """One part in a hundred: uploads that are written anew, and pages of the database."""
        for number in self.chance.sample(range(self.UPLOADS), self.UPLOADS // 100):
            (self.place / "uploads" / f"{number % 40}" / f"upload-{number}").write_bytes(self.chance.randbytes(PIECE))
        with open(self.place / "database", "r+b") as file:
            for _ in range(self.DATABASE * PIECE // 100 // 8192):
                file.seek(self.chance.randrange(self.DATABASE * PIECE // 8192) * 8192)
                file.write(self.chance.randbytes(8192))


def change_one(file):
    """One byte of a file, with the size and the time of change as before."""
    before = file.stat()
    with open(file, "r+b") as content:
        content.seek(before.st_size // 2)
        byte = content.read(1)
        content.seek(before.st_size // 2)
        content.write(bytes([byte[0] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_file(tree):
    """One and the same file of a tree, not an empty one."""
    return next(path for path in sorted(tree.rglob("*")) if path.is_file() and path.stat().st_size > 1)
