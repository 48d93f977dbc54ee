//! What the report of an incident must have.

use serde_json::Value;

/// An incident's report has everything, one after the other.
#[track_caller]
pub(crate) fn went_in_order(report: &Value) {
    let timeline = report["timeline"].as_array().unwrap();
    let at = |event: &str| {
        let moment = timeline.iter().find(|moment| moment["event"] == event);
        moment.unwrap_or_else(|| panic!("no {event} in {report:#}"))["at"]
            .as_f64()
            .unwrap()
    };
    let order = ["injected", "firing", "notified", "healed", "resolved"].map(at);
    assert!(order.is_sorted(), "{report:#}");
}
