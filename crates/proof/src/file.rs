//! Files that others read while they are written.

use std::io::{self, Write};
use std::path::Path;

/// Writes beside the target, then renames over it: whoever reads sees the old file or the new one.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // Two programs may write the same file at once, and in containers both may be process 1.
    name.push(format!(".{:08x}.tmp", rand::random::<u32>()));
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(content)?;
        drop(file);
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _gone = std::fs::remove_file(&temporary);
    })
}
