//! What is piped into a verb: bytes that come as they are read, so that a slow verb slows its client down.

use crate::model::{Code, Failure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Text of a verb that takes text is never longer.
const TEXT_MAX: u64 = 1 << 20;

/// Standard input of a verb. Dropping it unread is fine.
pub struct Input(Box<dyn AsyncRead + Send + Unpin>);

impl Input {
    pub fn none() -> Self {
        Self(Box::new(tokio::io::empty()))
    }

    pub fn text(text: String) -> Self {
        Self(Box::new(std::io::Cursor::new(text.into_bytes())))
    }

    pub fn stream(bytes: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Box::new(bytes))
    }

    /// Everything, as text.
    ///
    /// # Errors
    /// `BadConfig` when it is longer than a megabyte or not UTF-8.
    pub async fn read_text(self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let read = self.0.take(TEXT_MAX + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| Failure::new(Code::Usage, format!("standard input broke off: {error}")))?;
        if bytes.len() as u64 > TEXT_MAX {
            return Err(Failure::new(Code::BadConfig, "standard input is longer than 1 MB"));
        }
        String::from_utf8(bytes).map_err(|_| Failure::new(Code::BadConfig, "standard input is not UTF-8"))
    }

    /// The bytes as they come.
    pub fn bytes(self) -> Box<dyn AsyncRead + Send + Unpin> {
        self.0
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
