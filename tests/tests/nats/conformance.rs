//! The rules of every log.

use eventfold_es::testing::conformance::{self, BrokenRule};

use crate::servers::Servers;

#[test]
fn a_log_on_one_server_keeps_the_rules() -> Result<(), BrokenRule> {
    let Some(servers) = Servers::one() else {
        return Ok(());
    };
    conformance::check(|name| servers.log(name))
}

#[test]
fn a_log_on_three_servers_keeps_the_rules() -> Result<(), BrokenRule> {
    let Some(servers) = Servers::three() else {
        return Ok(());
    };
    conformance::check(|name| servers.log(name))
}
