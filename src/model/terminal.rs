//! The terminal of somebody who asks, as far as everybody must agree on it.

/// How large a terminal is, in letters. 0 is "not known".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Window {
    pub columns: u16,
    pub rows: u16,
}
