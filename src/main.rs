//! The one binary: `serve` is the server, everything else its client.

fn main() {}
