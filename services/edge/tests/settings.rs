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
        ("USERS_URL", "https://users:8000"),
        ("USERS_URL", "http://users:8000/#top"),
        ("LISTEN_MAX_CONNECTIONS", "0"),
        ("LISTEN_CLIENT_TIMEOUT", "0"),
        ("LISTEN_CLIENT_TIMEOUT", "10s"),
        ("LISTEN_HOST", "[127.0.0.1]"),
        ("LISTEN_HOST", "::1]"),
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

#[test]
fn credentials_and_queries_of_an_upstream_are_refused_and_not_shown() {
    for (value, reason) in [
        ("http://me:secret@users:8000", "it has credentials"),
        ("http://users:8000/?key=secret", "it has a query"),
        ("ftp://me:secret@users", "the scheme is not http"),
    ] {
        let text = refused("ALBUMS_URL", value);
        let expected =
            format!("ALBUMS_URL=\"(not shown)\" is not valid ({reason}): expected http://");
        assert!(text.contains(&expected), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
