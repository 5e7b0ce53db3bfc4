//! Archives that cost little to send and everything to open, each opened in a process of its own whose memory is read
//! afterwards. What they are refused for is exact: a bomb that is refused by luck is not refused.

use super::*;
use crate::archives::{header, inspect};
use std::io::Write;
use std::process::{Command, Stdio};

/// Most memory that looking at an archive may take.
const MOST_KILOBYTES: u64 = 300_000;
const ARCHIVE: &str = "COMMIS_TEST_ARCHIVE";

/// Not a test of its own: what the process does that [`opened`] starts.
#[test]
#[ignore = "started by the tests below"]
fn open_one() {
    let Some(archive) = std::env::var_os(ARCHIVE) else { return };
    let archive = Path::new(&archive);
    let sha256 = crate::archives::unpack::file_sha256(archive, &UnpackLimits::default()).unwrap();
    let expect = Expect { sha256, limits: UnpackLimits::default() };
    let looked = inspect(archive, &expect, Links::InsideOnly).map(|unpacked| unpacked.files);
    // The same by unpacking, unless it would take its time to fill the disk with empty files first.
    let into = archive.with_extension("into");
    if !["many", "names"].iter().any(|name| archive.ends_with(name)) {
        let unpacked = unpack(archive, &expect, &into, me(), Links::InsideOnly).map(|unpacked| unpacked.files);
        assert_eq!(looked, unpacked);
        assert_eq!(into.exists(), unpacked.is_ok());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().replace(" kB", "");
    println!("\nVERDICT {memory} {}", looked.map_or_else(|failure| failure.what, |files| format!("{files} files")));
}

/// The verdict; the memory that it took is within bounds, and nothing is left.
fn opened(name: &str, write: impl FnOnce(&mut fs::File)) -> String {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join(name);
    let mut file = fs::File::create(&archive).unwrap();
    write(&mut file);
    drop(file);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "archives::tests::bombs::open_one", "--ignored", "--nocapture"]).env(ARCHIVE, &archive);
    let output = child.stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("VERDICT ")).unwrap_or_else(|| panic!("{name}: {said}"));
    let (memory, verdict) = line.split_once(' ').unwrap();
    assert!(memory.parse::<u64>().unwrap() < MOST_KILOBYTES, "{name} took {memory} kB");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 1 || verdict.ends_with(" files"), "{left:?}");
    verdict.strip_prefix(&format!("{name}: ")).unwrap_or(verdict).to_owned()
}

/// Compresses what comes, in frames as ours are, without holding more than one.
struct Frames<'a> {
    file: &'a mut fs::File,
    waiting: Vec<u8>,
}

impl Frames<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() > 4 << 20 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.file.write_all(&zstd::bulk::compress(&self.waiting, 1).unwrap()).unwrap();
        self.waiting.clear();
    }
}

/// An archive that begins as every release and goes on with entries of a kind.
fn entries(file: &mut fs::File, count: u32, entry: impl Fn(u32) -> header::Entry) {
    let mut frames = Frames { file, waiting: Tar::release().0 };
    let mut block = Vec::new();
    for at in 0..count {
        block.clear();
        header::spell(&entry(at), &mut block);
        frames.put(&block);
    }
    frames.flush();
}

fn empty(path: String) -> header::Entry {
    header::Entry { path, item: header::Item::File { exec: listing::Exec::Plain, size: 0 } }
}

#[test]
fn a_good_release_shows_that_the_others_are_judged() {
    let good = Tar::release().sealed(&no_sum()).compressed();
    assert_eq!(opened("good", |file| file.write_all(&good).unwrap()), "0 files");
}

#[test]
fn more_entries_than_a_release_has() {
    assert_eq!(
        opened("many", |file| entries(file, 400_100, |at| empty(format!("tree/{at:07}")))),
        "it holds more than 400000 entries"
    );
}

#[test]
fn names_that_fill_the_memory() {
    // A name of one part is 255 bytes at most: directories with long names, inside one another.
    let parts = |at: u32| {
        let depth = at % 15;
        let path: Vec<String> =
            (0..=depth).map(|level| format!("{:07}{}", at / 15, "n".repeat(230 + level as usize))).collect();
        header::Entry { path: format!("tree/{}", path.join("/")), item: header::Item::Directory }
    };
    assert_eq!(opened("names", |file| entries(file, 40_000, parts)), "its names are longer than 67108864 bytes");
}

#[test]
fn headers_that_claim_gigabytes() {
    let huge = |kind: tar::EntryType| Tar::release().entry(b"long", kind, |header| header.set_size(3 << 30), b"");
    let zeros = zstd::bulk::compress(&vec![0; 8 << 20], 1).unwrap();
    let write = |kind| {
        let start = huge(kind).compressed();
        let zeros = zeros.clone();
        move |file: &mut fs::File| {
            file.write_all(&start).unwrap();
            (0..384).for_each(|_| file.write_all(&zeros).unwrap());
        }
    };
    assert_eq!(opened("longname3G", write(tar::EntryType::GNULongName)), "the entry long is a GNU long name");
    assert_eq!(opened("pax3G", write(tar::EntryType::XHeader)), "a PAX header of 3221225472 bytes is longer than 8200");
    assert_eq!(opened("sparse8T", write(tar::EntryType::GNUSparse)), "the entry long is a sparse file");
}

#[test]
fn twenty_gigabytes_of_zeros() {
    let zeros = zstd::bulk::compress(&vec![0; 8 << 20], 1).unwrap();
    let bomb = |file: &mut fs::File| {
        let mut tar = Tar::release();
        let item = header::Item::File { exec: listing::Exec::Plain, size: 16 << 30 };
        header::spell(&header::Entry { path: "tree/zeros".into(), item }, &mut tar.0);
        file.write_all(&tar.compressed()).unwrap();
        (0..2_400).for_each(|_| file.write_all(&zeros).unwrap());
    };
    assert_eq!(opened("bomb20G", bomb), "it unpacks to more than 200 times its size");
}

#[test]
fn a_million_frames_of_nothing() {
    let good = Tar::release().sealed(&no_sum()).compressed();
    let size = "a compressed frame does not name its size, or more than 8388608 bytes";
    let repeated = |frame: Vec<u8>, count: usize| {
        let good = good.clone();
        move |file: &mut fs::File| {
            (0..count / 1000).for_each(|_| file.write_all(&frame.repeat(1000)).unwrap());
            file.write_all(&good).unwrap();
        }
    };
    assert_eq!(opened("empty_frames", repeated(zstd::bulk::compress(&[], 1).unwrap(), 1_000_000)), size);
    let skippable = vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    assert_eq!(opened("skippable", repeated(skippable, 1_000_000)), "it is not a release archive");
    // After the end as well.
    let after = |extra: Vec<u8>| {
        let all = [good.clone(), extra].concat();
        move |file: &mut fs::File| file.write_all(&all).unwrap()
    };
    assert_eq!(
        opened("skippable_after", after(vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])),
        "it is not a release archive"
    );
    assert_eq!(opened("bytes_after", after(b"more".to_vec())), "it ends in the middle");
}

#[test]
fn windows_larger_than_anything_we_write() {
    // A frame that wants 2 GB to look back on, and one of 128 MB: window descriptors of 2^31 and 2^27.
    for (name, descriptor) in [("window2G", 0xa8u8), ("window128M", 0x88)] {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x40, descriptor];
        // Content of 300 bytes, one RLE block of them.
        frame.extend_from_slice(&(300u16 - 256).to_le_bytes());
        frame.extend_from_slice(&[(300u32 << 3 | 0b011) as u8, (300u32 >> 5) as u8, 0, 0]);
        let verdict = opened(name, |file| file.write_all(&frame).unwrap());
        assert_eq!(verdict, "a compressed frame looks back further than 8388608 bytes", "{name}");
    }
}
