//! The native engine: the lab as plain processes on loopback.
//!
//! `up` starts one detached supervisor ([`supervisor`]); it owns every child, finds or prepares
//! each component's program ([`provision`]), and writes the state file. Everything that is
//! special about one component is in its file under [`components`].

pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod component;
pub(crate) mod components;
pub(crate) mod environment;
pub(crate) mod health;
pub(crate) mod ports;
pub(crate) mod provision;
pub(crate) mod rules;
pub(crate) mod supervisor;
