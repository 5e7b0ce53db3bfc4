//! Copies of what people and applications write: backups of `data/` and their way back, and edited trees before a
//! deployment changes them. One copier, told by a purpose what matters. Whether and when is decided in `pipeline`; nothing
//! here is durable before the caller has synced.

pub mod backup;
pub mod twin;

mod content;
mod duplicate;
mod inventory;
mod known;
mod purpose;
mod tour;
mod traits;
mod unchanged;

#[cfg(test)]
mod tests;
