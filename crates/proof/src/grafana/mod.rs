//! What Grafana makes of the files it is shipped with, without Grafana: it is not needed to find out that a link is wrong.

pub(crate) mod provisioning;
pub(crate) mod substitute;

pub use provisioning::{Datasources, ProvisioningError};
