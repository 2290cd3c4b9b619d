//! Names the tests that `cargo test --workspace` leaves out, and the way to run them.

#[test]
fn tests_that_are_left_out_are_named() {
    if cfg!(not(feature = "postgres")) {
        // Without `print!`, whose text is hidden while the test passes.
        let note = "left out: projections into PostgreSQL, whose tests need a server: `apt-get install postgresql`, then \
                    `cargo test -p eventfold-es-tests --features postgres --test postgres`\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes());
    }
}
