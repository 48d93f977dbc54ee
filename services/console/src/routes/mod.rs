pub(crate) mod dashboards;
pub(crate) mod lab;
pub(crate) mod page;
pub(crate) mod profile;
pub(crate) mod proxy;
pub(crate) mod scenarios;
pub(crate) mod verify;
