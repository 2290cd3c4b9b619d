//! A campaign of random failures of nodes, of their ways, and of PostgreSQL.

use eventfold_es::disk::SplitMix64;

use super::campaign;
use super::engine::{Server, Ways};
use crate::server::Kill;

struct Postgres(Server);

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// It is killed, and runs again at once.
    Kill(Kill),
    /// It is killed, and stays away for a while.
    Down,
    Suspend,
}

#[derive(Debug)]
enum Trouble {
    None,
    Down,
    Suspended,
}

impl campaign::Servers for Postgres {
    type Failure = Failure;
    type Trouble = Trouble;
    const FAILURES: &'static [Failure] = &[
        Failure::Kill(Kill::All),
        Failure::Kill(Kill::Postmaster),
        Failure::Kill(Kill::Connection),
        Failure::Down,
        Failure::Suspend,
    ];

    fn start() -> Option<Self> {
        Some(Self(Server::start(true)))
    }

    fn server(&self) -> &Server {
        &self.0
    }

    fn begin(&mut self, failure: Failure, _: &Ways, _: &mut SplitMix64) -> Trouble {
        match failure {
            Failure::Kill(kill) => {
                self.0.kill_and_resume(kill);
                Trouble::None
            }
            Failure::Down => {
                self.0.kill();
                Trouble::Down
            }
            Failure::Suspend => {
                self.0.suspend();
                Trouble::Suspended
            }
        }
    }

    fn end(&mut self, trouble: Trouble, _: &Ways) {
        match trouble {
            Trouble::None => {}
            Trouble::Down => self.0.resume(),
            Trouble::Suspended => self.0.wake(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_failures() {
    campaign::run::<Postgres>("random failures with PostgreSQL");
}
