//! A leader that closes hands over, over real servers.

use crate::handovers::{check, closes};
use crate::servers::Servers;

/// `EVENTFOLD_NODE_CLOSES=50` takes more closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_waits_for_no_silence() {
    let Some(servers) = Servers::three() else {
        return;
    };
    servers.wait_until_whole();
    check("NATS", closes(), || servers.log("shop")).await;
}
