//! The Docker engine that the tests bring where none answers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use common::TestLab;

/// Everything that an engine keeps but images.
const LIST: &str = "docker container ls --all --quiet; docker volume ls --quiet; \
                    docker network ls --quiet --filter type=custom";

#[test]
#[ignore = "needs a Docker engine or Debian's packages: `lab test` runs it"]
fn it_keeps_images_and_nothing_else() {
    let lab = TestLab::new();
    let script = |script: &str| {
        let output = lab.lab(&["with-docker", "sh", "-ec", script]);
        String::from_utf8(output.stdout).unwrap()
    };
    let own = script("echo $LAB_OWN_ENGINE");
    if own.trim() != "true" {
        // Somebody's own: nothing in it is ours to remove.
        return;
    }
    // The state directory is the same: stopping a lab is not stopping the engine under it.
    let lab_down = format!(
        "{} down 2>&1; docker version >&2",
        env!("CARGO_BIN_EXE_lab")
    );
    let said = script(&lab_down);
    assert!(said.contains("no lab is running"), "{said}");
    assert!(!said.contains("left behind"), "{said}");
    let left = script(&format!(
        "tar --create --files-from=/dev/null | docker import - leftover:1
         docker network create leftover
         docker volume create leftover
         docker container create --network leftover --volume leftover:/data leftover:1 /none
         echo left; {LIST}"
    ));
    let left = left.split_once("left\n").unwrap().1;
    assert_eq!(left.lines().count(), 3, "{left}");
    let images = "docker image ls --quiet leftover:1; docker image rm leftover:1";
    let found = script(&format!("{LIST}; echo images; {images}"));
    let (found, images) = found.split_once("images\n").unwrap();
    assert_eq!(found, "");
    assert!(images.contains("Untagged: leftover:1"), "{images}");
}
