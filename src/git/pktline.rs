//! The framing of git's protocol: pkt-lines, four hex digits of length and then the data. Pure: bytes in, bytes out.
//! What the lines of a `proc-receive` hook mean stands in `proc_receive`.

/// Most data one pkt-line can carry.
pub const MAX_DATA: usize = 65_516;
/// The end of a section.
pub const FLUSH: &[u8] = b"0000";

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    Data(Vec<u8>),
    Flush,
}

/// Bytes that are no pkt-line, or data that fits in none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PktError {
    #[error("no pkt-line: bad length {0:?}")]
    Length(String),
    #[error("{0} bytes do not fit in a pkt-line")]
    TooLong(usize),
}

/// Appends one pkt-line.
pub fn encode(data: &[u8], into: &mut Vec<u8>) -> Result<(), PktError> {
    if data.len() > MAX_DATA {
        return Err(PktError::TooLong(data.len()));
    }
    into.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    into.extend_from_slice(data);
    Ok(())
}

/// Cuts a stream into packets as it comes. Holds what was fed and not yet taken, so take before feeding more.
#[derive(Default)]
pub struct Decoder {
    held: Vec<u8>,
    taken: usize,
}

impl Decoder {
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.held.drain(..self.taken);
            self.taken = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next whole packet, `None` when more bytes are needed. Delimiters of protocol 2 are refused.
    pub fn take(&mut self) -> Result<Option<Packet>, PktError> {
        let rest = self.held.get(self.taken..).unwrap_or(&[]);
        let Some((digits, after)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = length(digits)?;
        if length == 0 {
            self.taken += 4;
            return Ok(Some(Packet::Flush));
        }
        let Some(data) = after.get(..length - 4) else { return Ok(None) };
        let packet = Packet::Data(data.to_vec());
        self.taken += length;
        Ok(Some(packet))
    }
}

impl Decoder {
    /// Everything that was fed and not taken; nothing is held any more.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = self.held.split_off(self.taken.min(self.held.len()));
        (self.held, self.taken) = (Vec::new(), 0);
        rest
    }
}

/// What the first bytes of a push tell about the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientHello {
    /// It asked for `quiet`, as every client does whose error stream is no terminal.
    pub quiet: bool,
    /// It pushes from a shallow clone: accepted refs must be answered with [`super::Verdict::GitMoves`].
    pub shallow: bool,
}

/// Reads the start of what a receive-pack client sent. `None`: too few bytes to know. What is no push says nothing.
pub fn client_hello(first_bytes: &[u8]) -> Option<ClientHello> {
    let mut decoder = Decoder::default();
    decoder.feed(first_bytes);
    let mut hello = ClientHello::default();
    loop {
        match decoder.take() {
            Ok(None) => return None,
            Err(_) | Ok(Some(Packet::Flush)) => return Some(hello),
            Ok(Some(Packet::Data(line))) if line.starts_with(b"shallow ") => hello.shallow = true,
            Ok(Some(Packet::Data(line))) => {
                let capabilities = line.splitn(2, |byte| *byte == 0).nth(1).unwrap_or(&[]);
                hello.quiet = words(capabilities).any(|word| word == b"quiet");
                return Some(hello);
            }
        }
    }
}

/// [`ClientHello::quiet`] alone.
pub fn client_is_quiet(first_bytes: &[u8]) -> Option<bool> {
    client_hello(first_bytes).map(|hello| hello.quiet)
}

/// The blank-separated words of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn length(digits: &[u8; 4]) -> Result<usize, PktError> {
    let bad = || PktError::Length(super::text::visible(digits, 32));
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad());
    }
    let text = std::str::from_utf8(digits).map_err(|_| bad())?;
    match usize::from_str_radix(text, 16) {
        Ok(0) => Ok(0),
        Ok(length) if (4..=MAX_DATA + 4).contains(&length) => Ok(length),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMAND: &str =
        "0000000000000000000000000000000000000000 1111111111111111111111111111111111111111 refs/heads/main";

    fn line(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(text.as_bytes(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_client_without_a_terminal_is_quiet() {
        let quiet = line(&format!("{COMMAND}\0 report-status side-band-64k quiet object-format=sha1"));
        let terminal = line(&format!("{COMMAND}\0 report-status side-band-64k agent=quiet/2"));
        assert_eq!(client_is_quiet(&quiet), Some(true));
        assert_eq!(client_is_quiet(&terminal), Some(false));
        assert_eq!(client_is_quiet(&quiet[..quiet.len() - 1]), None);
        assert_eq!(client_is_quiet(b""), None);
        assert_eq!(client_is_quiet(b"0000"), Some(false));
        assert_eq!(client_is_quiet(b"GET / HTTP/1.1"), Some(false));
        let mut shallow = line("shallow 1111111111111111111111111111111111111111");
        shallow.extend(quiet);
        assert_eq!(client_hello(&shallow), Some(ClientHello { quiet: true, shallow: true }));
    }

    #[test]
    fn lengths_that_git_never_sends_are_refused() {
        for bad in ["0001", "0003", "+00a", "fff1", "zzzz", " 004"] {
            let mut decoder = Decoder::default();
            decoder.feed(bad.as_bytes());
            assert!(decoder.take().is_err(), "{bad}");
        }
        assert!(encode(&vec![0; MAX_DATA + 1], &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_they_are_cut(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), step in 1usize..9,
        ) {
            let mut bytes = Vec::new();
            for line in &lines {
                encode(line, &mut bytes).unwrap();
            }
            bytes.extend_from_slice(FLUSH);
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece);
                while let Some(packet) = decoder.take().unwrap() {
                    seen.push(packet);
                }
            }
            prop_assert_eq!(seen.pop(), Some(Packet::Flush));
            prop_assert_eq!(seen, lines.into_iter().map(Packet::Data).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.take() {}
            client_is_quiet(&bytes);
        }
    }
}
