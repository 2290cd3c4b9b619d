//! The library and the macros read expressions with the same code.

use eventfold_es_tests::TestResult;

#[test]
fn the_macros_read_expressions_as_the_library_does() -> TestResult {
    let library = std::fs::read_to_string("../eventfold-es/src/schedule/cron.rs")?;
    let macros = std::fs::read_to_string("../eventfold-es-macros/src/schedule/cron.rs")?;
    assert!(
        library == macros,
        "copy eventfold-es/src/schedule/cron.rs to eventfold-es-macros/src/schedule/cron.rs"
    );
    Ok(())
}
