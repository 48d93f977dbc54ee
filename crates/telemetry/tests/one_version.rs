//! Two versions of one of these crates compile side by side and share no globals: a trace then ends
//! in the middle, and nothing says why.

const LOCK: &str = include_str!("../../../Cargo.lock");

#[test]
fn one_version_of_each_opentelemetry_crate() {
    for name in [
        "opentelemetry",
        "opentelemetry_sdk",
        "opentelemetry-http",
        "tracing-subscriber",
    ] {
        let line = format!("name = \"{name}\"");
        let versions = LOCK.lines().filter(|l| *l == line).count();
        assert_eq!(versions, 1, "{name} is locked in {versions} versions");
    }
}
