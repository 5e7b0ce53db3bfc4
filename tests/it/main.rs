//! The one binary of integration tests (one link instead of twenty). A file that is not listed here fails `tidy`.

mod tidy;
