//! What the program says of a wrong variable.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::time::Duration;

use assert_cmd::Command;

fn refused(vars: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_users"))
        .env_remove("DATABASE_URL")
        .envs([("OTEL_SDK_DISABLED", "true"), ("USERS_PORT", "0")])
        .envs(vars.iter().copied())
        .timeout(Duration::from_secs(20))
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_database_is_named() {
    let text = refused(&[]);
    assert!(
        text.contains("DATABASE_URL is not set: expected an address such as postgres://"),
        "{text}"
    );
}

#[test]
fn a_wrong_database_is_named_and_its_password_is_not() {
    let text = refused(&[("DATABASE_URL", "mysql://lab:secret@localhost/lab")]);
    assert!(
        text.contains("DATABASE_URL=\"(not shown)\" is not valid"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_wrong_port_and_a_wrong_host_are_named() {
    let url = ("DATABASE_URL", "postgres://lab:lab@127.0.0.1:9/lab");
    let text = refused(&[url, ("USERS_PORT", "eight")]);
    assert!(text.contains("USERS_PORT=\"eight\" is not valid"), "{text}");
    let text = refused(&[url, ("LISTEN_HOST", "everywhere")]);
    assert!(
        text.contains("LISTEN_HOST=\"everywhere\" is not valid"),
        "{text}"
    );
}

#[test]
fn a_taken_port_is_named_with_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let url = ("DATABASE_URL", "postgres://lab:lab@127.0.0.1:9/lab");
    let text = refused(&[url, ("USERS_PORT", &port)]);
    let expected = format!("cannot listen on 127.0.0.1:{port} (LISTEN_HOST, USERS_PORT)");
    assert!(text.contains(&expected), "{text}");
}
