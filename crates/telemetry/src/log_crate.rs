//! Records that come through the crate `log`: `tracing` sees them with the target `log`, and their own in a
//! field.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use tracing::field::Field;

const TARGET: &str = "log.target";

/// Fields that are metadata, not what the caller wrote.
pub(crate) fn is_metadata(field: &Field) -> bool {
    matches!(
        field.name(),
        TARGET | "log.module_path" | "log.file" | "log.line"
    )
}

/// Gives such a record its own target, before the exporters get it.
#[derive(Debug)]
pub(crate) struct OwnTarget;

impl LogProcessor for OwnTarget {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        if record.target().is_none_or(|target| target != "log") {
            return;
        }
        let own = record
            .attributes_iter()
            .find_map(|(key, value)| match value {
                AnyValue::String(text) if key.as_str() == TARGET => Some(text.to_string()),
                _ => None,
            });
        if let Some(own) = own {
            record.set_target(own);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
