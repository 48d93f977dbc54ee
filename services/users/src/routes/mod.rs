//! A module per path.

pub(crate) mod do_long_work;
pub(crate) mod root;
pub(crate) mod users;
