//! The components, in the order of every table. Preparing goes in this order too: what serves
//! first, then what collects and shows traces, then what takes longest to build.

mod albums;
mod alertmanager;
mod compose_only;
pub(crate) mod console;
mod edge;
mod jaeger;
mod loki;
mod otel_collector;
mod postgres;
mod prometheus;
mod users;
mod webhook;

use super::component::Component;

pub(crate) static ALL: [Component; 17] = [
    postgres::COMPONENT,
    users::COMPONENT,
    edge::COMPONENT,
    albums::COMPONENT,
    prometheus::COMPONENT,
    otel_collector::COMPONENT,
    console::COMPONENT,
    jaeger::COMPONENT,
    webhook::COMPONENT,
    alertmanager::COMPONENT,
    loki::COMPONENT,
    compose_only::GRAFANA,
    compose_only::TEMPO,
    compose_only::PYROSCOPE,
    compose_only::PYRRA,
    compose_only::KARMA,
    compose_only::BEYLA,
];

pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|component| component.name).collect()
}

pub(crate) fn by_name(name: &str) -> Option<&'static Component> {
    ALL.iter().find(|component| component.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::Port;

    #[test]
    fn every_port_belongs_to_one_component() {
        let mut seen = BTreeSet::new();
        for component in &ALL {
            for port in component.ports {
                assert!(seen.insert(*port), "{} twice", port.var());
            }
        }
        assert_eq!(seen.len(), Port::ALL.len());
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = names().into_iter().collect();
        assert_eq!(names.len(), ALL.len());
    }
}
