"""File systems to measure on: a memory one, and ext4, xfs and btrfs in files of the room, mounted and taken away again."""

import contextlib
import shutil

from machine import run

# Large enough for copies of 1 GiB and for trees of 100,000 files with their copies; the files behind them have holes.
BYTES = 8 << 30
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
KINDS = ["ext4", "xfs", "btrfs", "tmpfs"]


@contextlib.contextmanager
def volume(room, kind):
    """The path of a fresh, empty file system; it is gone afterwards."""
    place = room.path / f"volume-{kind}"
    place.mkdir()
    image = room.path / f"volume-{kind}.img"
    try:
        if kind == "tmpfs":
            run(["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "commis-bench", str(place)])
        else:
            with open(image, "wb") as file:
                file.truncate(BYTES)
            run([*MAKE[kind], str(image)])
            # The loop device goes with the mount.
            run(["mount", "-o", "loop", str(image), str(place)])
        yield place
    finally:
        with contextlib.suppress(Exception):
            run(["umount", str(place)])
        image.unlink(missing_ok=True)
        if not any(place.iterdir()):
            shutil.rmtree(place)
