//! Who is measured: the resource that every span, metric and log record carries.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_semantic_conventions::attribute::{
    HOST_NAME, PROCESS_PID, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION,
};

use crate::settings::Settings;

/// From weakest to strongest: the crate's own name and version, `OTEL_RESOURCE_ATTRIBUTES`,
/// `OTEL_SERVICE_NAME`. The SDK on its own would let `OTEL_RESOURCE_ATTRIBUTES` win the name.
pub(crate) fn build(name: &'static str, version: &'static str, settings: &Settings) -> Resource {
    let mut attributes = vec![
        KeyValue::new(SERVICE_NAME, name),
        KeyValue::new(SERVICE_VERSION, version),
        KeyValue::new(SERVICE_INSTANCE_ID, instance_id()),
        KeyValue::new(PROCESS_PID, i64::from(std::process::id())),
    ];
    if let Some(host) = host_name() {
        attributes.push(KeyValue::new(HOST_NAME, host));
    }
    let from_env = settings.resource_attributes.iter();
    attributes.extend(from_env.map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    if let Some(service_name) = &settings.service_name {
        attributes.push(KeyValue::new(SERVICE_NAME, service_name.clone()));
    }
    // A later attribute replaces an earlier one of the same key.
    Resource::builder_empty()
        .with_detector(Box::new(
            opentelemetry_sdk::resource::TelemetryResourceDetector,
        ))
        .with_attributes(attributes)
        .build()
}

/// One value for each process, so that two instances of a service are two series.
fn instance_id() -> String {
    use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
    RandomIdGenerator::default().new_trace_id().to_string()
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
