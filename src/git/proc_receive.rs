//! The conversation of git's `proc-receive` hook, as values: what a push asks and what each of its refs is told.
//! Pure. Bytes are carried by `relay` and `conversation`; what to answer is decided by the caller.

use super::pktline::{self, Decoder, FLUSH, MAX_DATA, Packet, PktError};
use super::text::{shorten_bytes, visible};
use crate::model::{Code, CommitId, Failure, RefName};

pub const MAX_OPTIONS: usize = 64;
/// Bytes of one push option, and of all of them.
pub const MAX_OPTION: usize = 4 << 10;
pub const MAX_ALL_OPTIONS: usize = 64 << 10;
/// More refs than this are refused, each by name; far more end the conversation.
pub const MAX_COMMANDS: usize = 10_000;
const ABSURD_COMMANDS: usize = 200_000;
const MAX_REASON: usize = 1000;

/// One line of a push: this ref, from here to there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushCommand {
    pub old: CommitId,
    /// Zero: the ref is to be deleted.
    pub new: CommitId,
    /// `Err` holds the printable form of a name that is not on our allow-list; the caller answers it with `Ng`.
    pub name: Result<RefName, String>,
    /// The name as git sent it, which the answer has to repeat.
    raw: Vec<u8>,
}

/// Everything that a push asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Received {
    pub commands: Vec<PushCommand>,
    /// Push options, in order. Empty when `refusal` is set.
    pub options: Vec<String>,
    /// The client wants all refs or none; git leaves that to the hook.
    pub atomic: bool,
    /// The push as a whole is beyond our limits: every ref is to be answered with this.
    pub refusal: Option<Failure>,
}

/// The answer to one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The ref has been moved, by us, durably.
    Ok,
    /// git is to move the ref itself once it has this answer. For pushes of shallow clones, where only git can record
    /// where history is cut (it ends with a BUG otherwise); the `reference-transaction` hook then makes it durable before the pusher is told.
    GitMoves,
    /// The ref was not moved; the text is what the pusher reads in brackets.
    Ng(String),
}

/// What to do after bytes were fed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    NeedMore,
    /// Send these bytes to git, then go on.
    Say(Vec<u8>),
    Done(Received),
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("{0}")]
    Packet(#[from] PktError),
    #[error("expected {expected}, got {got:?}")]
    Unexpected { expected: &'static str, got: String },
    #[error("more than {ABSURD_COMMANDS} refs in one push")]
    Absurd,
}

/// The hook's side of the conversation, fed with what git says.
#[derive(Default)]
pub struct Conversation {
    decoder: Decoder,
    stage: Stage,
    capabilities: Vec<u8>,
    received: Received,
    option_count: usize,
    option_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Hello,
    Commands,
    Options,
    Over,
}

impl Conversation {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// Goes on as far as the bytes reach.
    pub fn step(&mut self) -> Result<Step, ProtocolError> {
        while let Some(packet) = self.decoder.take()? {
            match (self.stage, packet) {
                (Stage::Hello, Packet::Data(line)) => self.hello(&line)?,
                (Stage::Hello, Packet::Flush) => return self.greet(),
                (Stage::Commands, Packet::Data(line)) => self.command(&line)?,
                (Stage::Commands, Packet::Flush) if self.offered(b"push-options") => self.stage = Stage::Options,
                (Stage::Options, Packet::Data(option)) => self.option(&option),
                (Stage::Commands | Stage::Options, Packet::Flush) => return Ok(Step::Done(self.end())),
                (Stage::Over, _) => return Err(unexpected("nothing more", b"another packet")),
            }
        }
        Ok(Step::NeedMore)
    }

    fn hello(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let mut parts = line.trim_ascii_end().splitn(2, |byte| *byte == 0);
        if parts.next() != Some(b"version=1") || !self.capabilities.is_empty() {
            return Err(unexpected("version=1", line));
        }
        self.capabilities = [b" ", parts.next().unwrap_or(&[])].concat();
        Ok(())
    }

    fn greet(&mut self) -> Result<Step, ProtocolError> {
        if self.capabilities.is_empty() {
            return Err(unexpected("version=1", b"a flush"));
        }
        self.stage = Stage::Commands;
        self.received.atomic = self.offered(b"atomic");
        let mut reply = Vec::new();
        pktline::encode(b"version=1\0push-options atomic\n", &mut reply)?;
        reply.extend_from_slice(FLUSH);
        Ok(Step::Say(reply))
    }

    fn command(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut id = || parts.next().and_then(|hex| std::str::from_utf8(hex).ok()).and_then(CommitId::parse);
        let (Some(old), Some(new)) = (id(), id()) else { return Err(unexpected("old new ref", line)) };
        let Some(raw) = parts.next().filter(|raw| !raw.is_empty()) else {
            return Err(unexpected("old new ref", line));
        };
        if self.received.commands.len() >= ABSURD_COMMANDS {
            return Err(ProtocolError::Absurd);
        }
        let name = std::str::from_utf8(raw).ok().and_then(RefName::parse).ok_or_else(|| visible(raw, 200));
        self.received.commands.push(PushCommand { old, new, name, raw: raw.to_vec() });
        Ok(())
    }

    fn option(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.option_count += 1;
        self.option_bytes += line.len();
        let fits = self.option_count <= MAX_OPTIONS && line.len() <= MAX_OPTION && self.option_bytes <= MAX_ALL_OPTIONS;
        match std::str::from_utf8(line) {
            Ok(option) if fits => self.received.options.push(option.to_owned()),
            Err(_) if fits => self.refuse(Code::BadOption, "a push option is not UTF-8 text"),
            _ => self.refuse(Code::BadOption, "too many push options: at most 64, of 4 kB each and 64 kB together"),
        }
    }

    fn refuse(&mut self, code: Code, what: &str) {
        if self.received.refusal.is_none() {
            self.received.refusal = Some(Failure::new(code, what));
        }
    }

    fn end(&mut self) -> Received {
        self.stage = Stage::Over;
        if self.received.commands.len() > MAX_COMMANDS {
            let what = format!("{} refs in one push: at most {MAX_COMMANDS}", self.received.commands.len());
            let hint = "push the refs in several goes";
            self.received.refusal = Some(Failure::new(Code::Refused, what).hint(hint));
        }
        if self.received.refusal.is_some() {
            self.received.options.clear();
        }
        std::mem::take(&mut self.received)
    }

    fn offered(&self, capability: &[u8]) -> bool {
        pktline::words(&self.capabilities).any(|word| word == capability)
    }
}

impl Received {
    /// The whole answer: one verdict for each command, in the same order. A missing verdict is a refusal.
    pub fn answer(&self, verdicts: &[Verdict]) -> Result<Vec<u8>, PktError> {
        let missing = Verdict::Ng("internal: no verdict was reached".into());
        let mut answer = Vec::new();
        let ok = |command: &PushCommand| [b"ok ", command.raw.as_slice()].concat();
        for (index, command) in self.commands.iter().enumerate() {
            let line = match verdicts.get(index).unwrap_or(&missing) {
                Verdict::Ok => ok(command),
                Verdict::GitMoves => {
                    pktline::encode(&ok(command), &mut answer)?;
                    b"option fall-through".to_vec()
                }
                Verdict::Ng(reason) => {
                    let head = [b"ng ", command.raw.as_slice(), b" "].concat();
                    let room = MAX_REASON.min(MAX_DATA.saturating_sub(head.len() + 1));
                    let reason = visible(reason.as_bytes(), MAX_REASON);
                    [head.as_slice(), shorten_bytes(&reason, room).as_bytes()].concat()
                }
            };
            pktline::encode(&line, &mut answer)?;
        }
        answer.extend_from_slice(FLUSH);
        Ok(answer)
    }

    /// The same verdict for every command.
    pub fn all(&self, verdict: &Verdict) -> Vec<Verdict> {
        vec![verdict.clone(); self.commands.len()]
    }
}

fn unexpected(expected: &'static str, got: &[u8]) -> ProtocolError {
    ProtocolError::Unexpected { expected, got: visible(got, 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0000000000000000000000000000000000000000";
    const NEW: &str = "1111111111111111111111111111111111111111";

    fn packets(lines: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            pktline::encode(line, &mut bytes).unwrap();
        }
        bytes.extend_from_slice(FLUSH);
        bytes
    }

    fn push(refs: &[&[u8]], options: &[&[u8]]) -> Received {
        let mut conversation = Conversation::default();
        conversation.feed(&packets(&[b"version=1\0push-options atomic\n"]));
        let Step::Say(reply) = conversation.step().unwrap() else { panic!("no greeting") };
        assert_eq!(
            reply,
            b"0022version=1\0push-options atomic
0000"
        );
        let commands: Vec<_> =
            refs.iter().map(|name| [OLD.as_bytes(), b" ", NEW.as_bytes(), b" ", name].concat()).collect();
        conversation.feed(&packets(&commands.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        assert_eq!(conversation.step().unwrap(), Step::NeedMore);
        conversation.feed(&packets(options));
        let Step::Done(received) = conversation.step().unwrap() else { panic!("not done") };
        received
    }

    #[test]
    fn a_push_is_read_with_its_refs_and_options() {
        let received =
            push(&[b"refs/heads/main\n", b"refs/heads/$(id)", b"refs/heads/\xff"], &[b"detach\n", b"wait=5"]);
        assert!(received.atomic);
        assert_eq!(received.options, ["detach", "wait=5"]);
        let names: Vec<_> = received.commands.iter().map(|command| command.name.clone()).collect();
        assert_eq!(names[0], Ok(RefName::parse("refs/heads/main").unwrap()));
        assert_eq!(names[1], Err("refs/heads/$(id)".into()));
        assert_eq!(names[2], Err("refs/heads/\\xff".into()));
    }

    #[test]
    fn options_beyond_the_limits_refuse_the_whole_push() {
        let many: Vec<&[u8]> = vec![b"a=1"; MAX_OPTIONS + 1];
        let long = vec![b'A'; MAX_OPTION + 1];
        let big = vec![b'A'; MAX_OPTION];
        for options in [many, vec![long.as_slice()], vec![big.as_slice(); 17], vec![b"\xff".as_slice()]] {
            let received = push(&[b"refs/heads/main"], &options);
            assert_eq!(received.refusal.map(|failure| failure.code), Some(Code::BadOption));
            assert!(received.options.is_empty());
        }
        assert_eq!(push(&[b"refs/heads/main"], &[b"a=1".as_slice(); MAX_OPTIONS]).refusal, None);
    }

    #[test]
    fn reasons_are_one_printable_line() {
        let received = push(&[b"refs/heads/main", b"refs/heads/dev", b"refs/heads/x"], &[]);
        let answer = received.answer(&[Verdict::Ok, Verdict::Ng(format!("a\nb\x1b{}", "é".repeat(900)))]).unwrap();
        let mut decoder = Decoder::default();
        decoder.feed(&answer);
        assert_eq!(decoder.take().unwrap(), Some(Packet::Data(b"ok refs/heads/main".to_vec())));
        let Some(Packet::Data(line)) = decoder.take().unwrap() else { panic!("no second answer") };
        assert!(line.starts_with(b"ng refs/heads/dev a\\u{a}b\\u{1b}"));
        assert!(line.len() <= 18 + MAX_REASON && std::str::from_utf8(&line).is_ok());
        assert_eq!(
            decoder.take().unwrap(),
            Some(Packet::Data(b"ng refs/heads/x internal: no verdict was reached".to_vec()))
        );
        assert_eq!(decoder.take().unwrap(), Some(Packet::Flush));
    }

    #[test]
    fn what_is_not_git_is_an_error() {
        for bytes in [&packets(&[b"version=2\0"])[..], &packets(&[]), b"hello", &packets(&[b"version=1", b"version=1"])]
        {
            let mut conversation = Conversation::default();
            conversation.feed(bytes);
            assert!(conversation.step().is_err(), "{}", visible(bytes, 99));
        }
    }
}
