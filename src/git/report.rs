//! Why git did not take the objects of a push. git prints the cause, but where clients and scripts look for a reason
//! it says no more than `unpacker error`; this puts the cause there. Pure: bytes of `receive-pack` in, bytes out.

use super::pktline::{self, Decoder, FLUSH, Packet};
use super::text::visible;

/// What git complained about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unstored {
    /// An object that git itself finds hostile or broken: `hasDotgit: contains '.git'`.
    Hostile(String),
    Full,
    TooLarge,
    /// Nothing that is known here.
    Unknown,
}

/// What to tell instead: the reason of each ref, and lines for people.
pub struct Wording {
    pub reason: String,
    pub lines: Vec<String>,
}

/// Follows what `receive-pack` sends.
#[derive(Default)]
pub struct Report {
    decoder: Decoder,
    complaint: Option<Unstored>,
    /// Not packets, or no longer: passed on as they are.
    raw: bool,
}

const NOTHING: &[u8] = b" unpacker error";
const PEOPLE: u8 = 2;
const MACHINES: u8 = 1;

impl Report {
    /// Takes bytes as they come and gives those for the client, whole packets at a time.
    pub fn pass(&mut self, bytes: &[u8], wording: &dyn Fn(&Unstored) -> Wording) -> Vec<u8> {
        if self.raw {
            return bytes.to_vec();
        }
        self.decoder.feed(bytes);
        let mut out = Vec::new();
        loop {
            match self.decoder.take() {
                Ok(Some(Packet::Flush)) => out.extend_from_slice(FLUSH),
                Ok(Some(Packet::Data(data))) => self.packet(&data, wording, &mut out),
                Ok(None) => return out,
                Err(_) => {
                    self.raw = true;
                    out.extend(self.decoder.rest());
                    return out;
                }
            }
        }
    }

    /// What is left when git has ended in the middle of a packet.
    pub fn rest(&mut self) -> Vec<u8> {
        self.decoder.rest()
    }

    fn packet(&mut self, data: &[u8], wording: &dyn Fn(&Unstored) -> Wording, out: &mut Vec<u8>) {
        match data.split_first() {
            Some((&PEOPLE, text)) => self.listen(text),
            Some((&MACHINES, report)) if says_nothing(report) => {
                let wording = wording(self.complaint.as_ref().unwrap_or(&Unstored::Unknown));
                let lines: String = wording.lines.iter().map(|line| format!("{line}\n")).collect();
                put(&[&[PEOPLE], lines.as_bytes()].concat(), out);
                put(&[&[MACHINES][..], &reworded(report, &wording.reason)].concat(), out);
                return;
            }
            Some(_) | None => {}
        }
        put(data, out);
    }

    fn listen(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.lines() {
            let heard = if let Some((_, what)) = line.strip_prefix("error: object ").and_then(|l| l.split_once(": ")) {
                Unstored::Hostile(visible(what.as_bytes(), 120))
            } else if line.contains("No space left on device") || line.contains("Disk quota exceeded") {
                Unstored::Full
            } else if line.contains("exceeds maximum allowed size") {
                Unstored::TooLarge
            } else {
                continue;
            };
            self.complaint.get_or_insert(heard);
        }
    }
}

/// A report in which no ref has a better reason.
fn says_nothing(report: &[u8]) -> bool {
    report.windows(NOTHING.len()).any(|window| window == NOTHING)
}

fn reworded(report: &[u8], reason: &str) -> Vec<u8> {
    let mut lines = Decoder::default();
    lines.feed(report);
    let mut out = Vec::new();
    while let Ok(Some(packet)) = lines.take() {
        match packet {
            Packet::Flush => out.extend_from_slice(FLUSH),
            Packet::Data(line) => match line.trim_ascii_end().strip_suffix(NOTHING) {
                Some(head) => put(&[head, b" ", reason.as_bytes(), b"\n"].concat(), &mut out),
                None => put(&line, &mut out),
            },
        }
    }
    out.extend(lines.rest());
    out
}

/// Everything here came out of a packet or is a few lines long.
fn put(data: &[u8], out: &mut Vec<u8>) {
    let _ = pktline::encode(data, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| put(part, &mut bytes));
        bytes
    }

    fn wording(why: &Unstored) -> Wording {
        Wording { reason: format!("refused: {why:?}"), lines: vec!["hint: mend it".into()] }
    }

    fn report(status: &str, reference: &str) -> Vec<u8> {
        let inner = [packets(&[status.as_bytes(), reference.as_bytes()]), FLUSH.to_vec()].concat();
        [vec![MACHINES], inner].concat()
    }

    fn sent(text: &str) -> Vec<u8> {
        let people = [&[PEOPLE], text.as_bytes()].concat();
        let machines = report("unpack unpack-objects abnormal exit\n", "ng refs/heads/main unpacker error\n");
        [packets(&[b"0123 refs/heads/main\n", &people, &machines]), FLUSH.to_vec()].concat()
    }

    fn passed(bytes: &[u8], step: usize) -> String {
        let mut reader = Report::default();
        let mut out: Vec<u8> = bytes.chunks(step).flat_map(|chunk| reader.pass(chunk, &wording)).collect();
        out.extend(reader.rest());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_cause_takes_the_place_of_unpacker_error_however_the_bytes_come() {
        let bytes = sent("error: object 12ab: hasDotgit: contains '.git'\nfatal: fsck error\n");
        let whole = passed(&bytes, bytes.len());
        assert!(whole.contains("ng refs/heads/main refused: Hostile(\"hasDotgit: contains '.git'\")\n"), "{whole:?}");
        assert!(whole.contains("hint: mend it\n") && !whole.contains("unpacker error"), "{whole:?}");
        assert_eq!(passed(&bytes, 1), whole);
    }

    #[test]
    fn a_full_disk_and_a_push_that_is_too_large_are_known() {
        for (line, why) in [
            ("fatal: unable to write file: No space left on device\n", "Full"),
            ("fatal: pack exceeds maximum allowed size (1.00 GiB)\n", "TooLarge"),
            ("fatal: something else\n", "Unknown"),
        ] {
            assert!(passed(&sent(line), 7).contains(&format!("refused: {why}\n")), "{line}");
        }
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        let good = [packets(&[b"0123 x", &report("unpack ok\n", "ok refs/heads/main\n")]), FLUSH.to_vec()].concat();
        let strange = b"0004no packets at all".to_vec();
        for bytes in [good, strange, b"00".to_vec()] {
            assert_eq!(passed(&bytes, 3), String::from_utf8_lossy(&bytes));
        }
    }
}
