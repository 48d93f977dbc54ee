//! A module per path.

pub(crate) mod albums;
pub(crate) mod root;
pub(crate) mod user;
pub(crate) mod users;
