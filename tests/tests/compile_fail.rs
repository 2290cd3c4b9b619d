//! Every mistake that the compiler can find, with the message it gives, beside a twin without the mistake.
//!
//! `ui/<class>/<case>.rs` has one mistake, which `<case>.stderr` reports; `<case>.pass.rs` is the same program without it.
//! The messages are rustc's and change with it, so they are compared under the toolchain of `rust-toolchain.toml` only.
//! `TRYBUILD=overwrite cargo test -p eventfold-es-tests --test compile_fail` writes them anew.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLCHAIN: &str = "1.95.0";

fn compiler() -> Result<String, Box<dyn Error>> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output()?;
    Ok(String::from_utf8(version.stdout)?)
}

/// The files under `ui/` with this extension, in order.
fn cases(extension: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = Vec::new();
    for class in std::fs::read_dir(Path::new("ui"))? {
        for file in std::fs::read_dir(class?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_twin(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".pass.rs")
}

#[test]
fn mistakes_are_reported() -> Result<(), Box<dyn Error>> {
    let compiler = compiler()?;
    if !compiler.starts_with(&format!("rustc {TOOLCHAIN} ")) {
        println!("skipped: the messages are those of rustc {TOOLCHAIN}, and this is {compiler}");
        return Ok(());
    }
    let trybuild = trybuild::TestCases::new();
    for path in cases("rs")? {
        if is_twin(&path) {
            trybuild.pass(path);
        } else {
            trybuild.compile_fail(path);
        }
    }
    Ok(())
}

#[test]
fn the_toolchain_is_the_pinned_one() -> Result<(), Box<dyn Error>> {
    let pinned = std::fs::read_to_string("../rust-toolchain.toml")?;
    assert!(
        pinned.contains(&format!("channel = \"{TOOLCHAIN}\"")),
        "TOOLCHAIN is not the channel of rust-toolchain.toml:\n{pinned}"
    );
    Ok(())
}

#[test]
fn messages_depend_on_nothing_but_the_toolchain() -> Result<(), Box<dyn Error>> {
    for path in cases("stderr")? {
        let message = std::fs::read_to_string(&path)?;
        // Sources of the standard library are quoted only where the component rust-src is installed.
        for machine in [
            "$RUST", "/rustc/", "$CARGO", "/home/", "/root/", "/work/", "/tmp/", "/usr/",
        ] {
            assert!(
                !message.contains(machine),
                "{} contains {machine}",
                path.display()
            );
        }
    }
    Ok(())
}
