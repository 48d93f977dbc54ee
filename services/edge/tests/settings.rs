//! What the program says of a wrong variable.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::time::Duration;

use assert_cmd::Command;

fn refused(name: &str, value: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_edge"))
        .envs([
            ("OTEL_SDK_DISABLED", "true"),
            ("EDGE_PORT", "0"),
            (name, value),
        ])
        .timeout(Duration::from_secs(20))
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn each_wrong_variable_is_named() {
    for (name, value) in [
        ("EDGE_PORT", "-1"),
        ("USERS_URL", "users"),
        ("ALBUMS_URL", "ftp://albums"),
        ("UPSTREAM_TIMEOUT", "0"),
        ("UPSTREAM_TIMEOUT", "soon"),
        ("LISTEN_HOST", "everywhere"),
    ] {
        let text = refused(name, value);
        assert!(
            text.contains(name) && text.contains("expected"),
            "{name}={value}: {text}"
        );
    }
}
