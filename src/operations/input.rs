//! What is piped into a verb, or typed: bytes that come as they are read, so that a slow verb slows its client down.

use crate::model::Window;
use crate::model::{Code, Failure};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// Text of a verb that takes text is never longer.
const TEXT_MAX: u64 = 1 << 20;

/// Standard input of a verb. Dropping it unread is fine.
pub struct Input {
    bytes: Box<dyn AsyncRead + Send + Unpin>,
    terminal: Option<Terminal>,
}

/// The terminal at which somebody sits.
#[derive(Clone)]
pub struct Terminal {
    /// `$TERM`.
    pub name: String,
    /// How large it is, and becomes.
    pub window: watch::Receiver<Window>,
}

impl Terminal {
    /// A name that is none becomes `dumb`.
    pub fn new(name: &str, window: watch::Receiver<Window>) -> Self {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        let name = if plain && (1..=64).contains(&name.len()) { name } else { "dumb" };
        Self { name: name.to_owned(), window }
    }
}

impl Input {
    pub fn none() -> Self {
        Self::stream(tokio::io::empty())
    }

    pub fn text(text: String) -> Self {
        Self::stream(std::io::Cursor::new(text.into_bytes()))
    }

    pub fn stream(bytes: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self { bytes: Box::new(bytes), terminal: None }
    }

    /// What somebody types.
    pub fn typed(keys: impl AsyncRead + Send + Unpin + 'static, terminal: Terminal) -> Self {
        Self { bytes: Box::new(keys), terminal: Some(terminal) }
    }

    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// Everything, as text.
    ///
    /// # Errors
    /// `BadConfig` when it is longer than a megabyte or not UTF-8.
    pub async fn read_text(self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let read = self.bytes.take(TEXT_MAX + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| Failure::new(Code::Usage, format!("standard input broke off: {error}")))?;
        if bytes.len() as u64 > TEXT_MAX {
            return Err(Failure::new(Code::BadConfig, "standard input is longer than 1 MB"));
        }
        String::from_utf8(bytes).map_err(|_| Failure::new(Code::BadConfig, "standard input is not UTF-8"))
    }

    /// The bytes as they come.
    pub fn bytes(self) -> Box<dyn AsyncRead + Send + Unpin> {
        self.bytes
    }

    pub(super) fn take(self) -> (Box<dyn AsyncRead + Send + Unpin>, Option<Terminal>) {
        (self.bytes, self.terminal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn text_is_whole_and_bounded() {
        assert_eq!(Input::text("a\nb".into()).read_text().await.unwrap(), "a\nb");
        assert_eq!(Input::none().read_text().await.unwrap(), "");
        let long = Input::stream(tokio::io::repeat(b'x')).read_text().await.unwrap_err();
        assert!(long.what.contains("longer than 1 MB"));
        let bad = Input::stream(&b"\xff"[..]).read_text().await.unwrap_err();
        assert_eq!(bad.code, Code::BadConfig);
    }
}
