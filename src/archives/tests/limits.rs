//! Archives that would cost more than they may: refused before the memory or the disk is taken.

use super::*;
use crate::archives::{header, pack};
use crate::model::Code;
use tar::EntryType as Kind;

fn refusal(bytes: &[u8], limits: UnpackLimits) -> String {
    let failure = unpack_bytes(bytes, limits, Links::InsideOnly).unwrap_err();
    assert_eq!(failure.code, Code::VerifyFailed, "{failure:?}");
    failure.what
}

#[test]
fn more_bytes_files_or_archive_than_allowed_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let (tree, out) = (place.path().join("t"), place.path().join("out"));
    fs::create_dir(&tree).unwrap();
    (0..50).for_each(|at| fs::write(tree.join(at.to_string()), vec![b'a'; 1000]).unwrap());
    let packed = pack(&tree, &base(), &out, Effort::with(1)).unwrap();
    let bytes = fs::read(&out).unwrap();
    let exact = UnpackLimits { entries: 50, ..UnpackLimits::of(&packed) };
    assert!(unpack_bytes(&bytes, exact.clone(), Links::InsideOnly).is_ok(), "known-good: exactly enough");
    for (limits, says) in [
        (UnpackLimits { bytes: 49_999, ..exact.clone() }, "it unpacks to more than 49999 bytes"),
        (UnpackLimits { entries: 49, ..exact.clone() }, "it holds more than 49 entries"),
        (UnpackLimits { archive_bytes: bytes.len() as u64 - 1, ..exact.clone() }, "is longer than"),
    ] {
        assert!(refusal(&bytes, limits).contains(says), "{says}");
    }
}

#[test]
fn a_bomb_is_refused_by_its_ratio_before_it_is_written() {
    let mut tar = Tar::release();
    let file = header::Item::File { exec: listing::Exec::Plain, size: 1 << 40 };
    header::spell(&header::Entry { path: "tree/zeros".into(), item: file }, &mut tar.0);
    let zeros = zstd::bulk::compress(&vec![0; 8 << 20], 3).unwrap();
    let mut bytes = tar.compressed();
    (0..40).for_each(|_| bytes.extend_from_slice(&zeros));
    let refused = refusal(&bytes, UnpackLimits { bytes: 1 << 41, ..UnpackLimits::default() });
    assert!(refused.contains("more than 200 times its size"), "{refused}");
    assert!(refusal(&bytes, UnpackLimits::default()).contains("more than 17179869184 bytes"));
}

#[test]
fn long_headers_are_refused_before_they_are_read() {
    let huge = Tar::release().entry(b"pax", Kind::XHeader, |header| header.set_size(3 << 30), b"");
    assert!(
        refusal(&huge.compressed(), UnpackLimits::default())
            .contains("a PAX header of 3221225472 bytes is longer than")
    );
    let head = Tar::default().entry(b"commis-release.json", Kind::Regular, |header| header.set_size(1 << 30), b"{");
    assert!(refusal(&head.compressed(), UnpackLimits::default()).contains("commis-release.json is longer than"));
    let deep = "d/".repeat(199) + "f";
    let record = format!("{} path=tree/{deep}\n", deep.len() + 15);
    let tar = Tar::release().entry(b"pax", Kind::XHeader, |_| {}, record.as_bytes()).file("tree/", b"");
    assert!(refusal(&tar.compressed(), UnpackLimits::default()).contains("path has more than 200 directories"));
}

#[test]
fn frames_that_hide_their_size_or_hold_nothing_are_refused() {
    let good = Tar::release().sealed(&no_sum());
    let streamed = zstd::stream::encode_all(&good.0[..], 3).unwrap();
    assert!(refusal(&streamed, UnpackLimits::default()).contains("does not name its size"));
    let empty = zstd::bulk::compress(&[], 3).unwrap().repeat(1_000);
    assert!(refusal(&[empty, good.compressed()].concat(), UnpackLimits::default()).contains("does not name its size"));
    let skippable = [vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4], good.compressed()].concat();
    assert!(refusal(&skippable, UnpackLimits::default()).contains("it is not a release archive"));
    // A window of 2 GB, and a size of 2 GB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x80, 0xa8, 0, 0, 0, 0x80];
    assert!(refusal(&window, UnpackLimits::default()).contains("looks back further than 8388608 bytes"));
}

#[test]
fn a_full_disk_while_unpacking_or_packing_leaves_nothing_as_root() {
    use nix::mount::{MsFlags, mount, umount};
    let place = tempfile::tempdir().unwrap();
    let (tree, small) = (place.path().join("t"), place.path().join("small"));
    [&tree, &small].iter().for_each(|path| fs::create_dir(path).unwrap());
    let mut noise = vec![0; 4_000_000];
    getrandom::fill(&mut noise).unwrap();
    (0..4).for_each(|at| fs::write(tree.join(at.to_string()), &noise[at * 1_000_000..][..1_000_000]).unwrap());
    fs::write(tree.join("large"), &noise).unwrap();
    let packed = pack(&tree, &base(), &place.path().join("out"), Effort::with(1)).unwrap();
    if mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).is_err() {
        return eprintln!("skipped: needs root");
    }
    let expect = Expect { sha256: packed.archive_sha256.clone(), limits: UnpackLimits::of(&packed) };
    let unpacked = unpack(&place.path().join("out"), &expect, &small.join("into"), me(), Links::AsBuilt);
    let packed = pack(&tree, &base(), &small.join("out"), Effort::with(1));
    let left = fs::read_dir(&small).unwrap().count();
    umount(&small).unwrap();
    assert_eq!(unpacked.unwrap_err().code, Code::DiskFull);
    assert_eq!(packed.unwrap_err().code, Code::DiskFull);
    assert_eq!(left, 0);
}
