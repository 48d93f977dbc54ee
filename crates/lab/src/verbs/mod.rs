//! One file per verb: its arguments and what it does.

pub(crate) mod air_gap;
pub(crate) mod bench;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod fault;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod panels;
pub(crate) mod provide;
pub(crate) mod restart;
pub(crate) mod scenario;
pub(crate) mod slo;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod supervise;
pub(crate) mod test;
pub(crate) mod trace;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod webhook;
pub(crate) mod with_docker;
