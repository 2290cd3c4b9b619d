//! Rounds of random failures. Each round has servers, nodes and clients of its own, and a seed from which its failures follow.
//!
//! `EVENTFOLD_NODE_MINUTES=120` begins rounds for so long, and `EVENTFOLD_CRASH_SEED` is the seed of the first. Without the minutes, a
//! short round is all.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use eventfold_es::disk::SplitMix64;
use eventfold_es_tests::campaign::number;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::clients::Temper;
use super::cluster::{Cluster, NODES, until};
use super::damage::{DAMAGES, Damage};
use super::engine::{Server, Ways};
use super::proxy::Link;
use super::scene::{Scene, seed};

/// The answers that were on their way at a failure have come after this time.
const ON_THE_WAY: Duration = Duration::from_millis(300);

/// The servers of a round.
pub trait Servers: Sized + Send + 'static {
    type Failure: Copy + Debug + Send + Sync + 'static;
    /// A failure that lasts.
    type Trouble: Debug + Send + Sync;
    const FAILURES: &'static [Self::Failure];

    /// Servers that run. `None` without a program for them.
    fn start() -> Option<Self>;

    fn server(&self) -> &Server;

    /// Blocks.
    fn begin(
        &mut self,
        failure: Self::Failure,
        ways: &Ways,
        random: &mut SplitMix64,
    ) -> Self::Trouble;

    /// Blocks.
    fn end(&mut self, trouble: Self::Trouble, ways: &Ways);
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Leader,
    Other,
    All,
}

#[derive(Debug, Clone, Copy)]
enum Failure<F> {
    Kill(Who),
    Suspend(Who),
    Close(Who),
    Link(Who, Link),
    /// All nodes are closed and opened, one after the other.
    Restart,
    /// It is over at once, as a restart.
    Damage(Damage),
    Servers(F),
}

/// A failure that lasts.
#[derive(Debug)]
enum Trouble<T> {
    Down(usize),
    Asleep(usize),
    Link(usize),
    Servers(T),
}

/// The size of the rounds.
#[derive(Clone, Copy)]
struct Size {
    steps: usize,
    pause: Duration,
}

#[derive(Default)]
struct Totals {
    rounds: usize,
    commands: usize,
    failures: usize,
    /// The times from kill -9 of the leader to the next acknowledged command, without another failure.
    takeovers: Vec<Duration>,
}

/// Runs rounds, and fails at their end if a round has failed.
pub fn run<S: Servers>(name: &'static str) {
    let minutes = number("EVENTFOLD_NODE_MINUTES");
    let size = match minutes {
        Some(_) => Size {
            steps: 8,
            pause: Duration::from_millis(200),
        },
        None => Size {
            steps: 2,
            pause: Duration::ZERO,
        },
    };
    let until = Instant::now() + Duration::from_secs(60 * minutes.unwrap_or_default());
    let (mut totals, mut failed) = (Totals::default(), Vec::new());
    for seed in seed().. {
        let Some(servers) = block_in_place(S::start) else {
            return;
        };
        // A panic ends the round, and not the campaign.
        let (runtime, Size { steps, pause }) = (Handle::current(), size);
        let round =
            thread::spawn(move || runtime.block_on(round(name, servers, seed, steps, pause)));
        match block_in_place(|| round.join()) {
            Ok(of_round) => totals.add(of_round),
            Err(_) => {
                println!("{name}: the round with the seed {seed} has failed");
                failed.push(seed);
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    totals.print(name);
    assert!(
        failed.is_empty(),
        "the rounds with the seeds {failed:?} have failed"
    );
}

impl Totals {
    fn add(&mut self, of_round: Self) {
        self.rounds += of_round.rounds;
        self.commands += of_round.commands;
        self.failures += of_round.failures;
        self.takeovers.extend(of_round.takeovers);
    }

    fn print(&mut self, name: &str) {
        let Self {
            rounds,
            commands,
            failures,
            takeovers,
        } = self;
        println!(
            "{name}: {rounds} rounds without a violation, {commands} commands, {failures} failures"
        );
        takeovers.sort();
        let at = |hundredths: usize| takeovers.get(takeovers.len() * hundredths / 100);
        if let (Some(half), Some(nearly_all), Some(longest)) = (at(50), at(99), takeovers.last()) {
            println!(
                "  {} kills of the leader alone; to the next acknowledged command: p50 {half:?}, p99 {nearly_all:?}, max {longest:?}",
                takeovers.len()
            );
        }
    }
}

async fn round<S: Servers>(
    name: &'static str,
    servers: S,
    seed: u64,
    steps: usize,
    pause: Duration,
) -> Totals {
    println!("{name}: seed {seed}");
    let tempers = [Temper::Hasty, Temper::Stubborn].repeat(3);
    let scene = Scene::start_from(seed, name, servers.server(), &tempers, pause).await;
    let mut round = Round {
        scene,
        servers,
        totals: Totals::default(),
    };
    for _ in 0..steps {
        round.scene.clients.until_more(5).await;
        let time = round.scene.random.below(1_000_000);
        sleep(Duration::from_micros(time as u64)).await;
        round.step().await;
    }
    let Round {
        scene,
        servers,
        mut totals,
    } = round;
    scene.clients.until_more(10).await;
    totals.commands = scene.finish().await;
    totals.rounds = 1;
    drop(servers);
    totals
}

struct Round<S: Servers> {
    scene: Scene,
    servers: S,
    totals: Totals,
}

impl<S: Servers> Round<S> {
    fn cluster(&self) -> &Cluster {
        &self.scene.cluster
    }

    /// A failure, sometimes a second one beside it, and the end of both.
    async fn step(&mut self) {
        let begun = Instant::now();
        let mut troubles = Vec::new();
        let count = 1 + usize::from(self.scene.random.chance(2));
        for _ in 0..count {
            let failure = self.choose();
            if let Some(begins) = self.begin(failure, &troubles).await {
                print!("  {failure:?} {begins:?}");
                troubles.extend(begins);
                self.totals.failures += 1;
            }
            if let (1, Failure::Kill(Who::Leader), [Trouble::Down(leader)]) =
                (count, failure, &*troubles)
            {
                let next = self
                    .scene
                    .clients
                    .until_by_other(*leader, begun + ON_THE_WAY)
                    .await;
                self.totals.takeovers.push(next.at - begun);
            }
            sleep(self.duration()).await;
        }
        self.end(troubles).await;
        let after = begun + ON_THE_WAY;
        let clients = &self.scene.clients;
        let next = until("a later command", async || clients.first_after(after)).await;
        println!(": a command after {:?}", next.at - begun);
    }

    /// Sometimes longer than an append may take, so that its outcome is unknown.
    fn duration(&mut self) -> Duration {
        let random = &mut self.scene.random;
        let seconds = if random.chance(1) { 6 } else { 0 };
        Duration::from_micros(seconds * 1_000_000 + random.below(2_000_000) as u64)
    }

    fn choose(&mut self) -> Failure<S::Failure> {
        let random = &mut self.scene.random;
        let (damage, link) = (DAMAGES[random.below(DAMAGES.len())], Link::bad(random));
        let of_servers = S::FAILURES[random.below(S::FAILURES.len())];
        match random.below(16) {
            0..=2 => Failure::Kill(Who::Leader),
            3 => Failure::Kill(Who::Other),
            4 => Failure::Kill(Who::All),
            5 => Failure::Suspend(Who::Leader),
            6 => Failure::Suspend(Who::Other),
            7 => Failure::Close(Who::Leader),
            8 => Failure::Restart,
            9 => Failure::Link(Who::Leader, link),
            10 => Failure::Link(Who::Other, link),
            11 => Failure::Damage(damage),
            _ => Failure::Servers(of_servers),
        }
    }

    /// Begins a failure. `None` if another one excludes it.
    async fn begin(
        &mut self,
        failure: Failure<S::Failure>,
        troubles: &[Trouble<S::Trouble>],
    ) -> Option<Vec<Trouble<S::Trouble>>> {
        let in_trouble = |node: usize| {
            let of_node = |trouble: &Trouble<S::Trouble>| matches!(trouble, Trouble::Down(one) | Trouble::Asleep(one) | Trouble::Link(one) if *one == node);
            troubles.iter().any(of_node)
        };
        let mut leader = self.scene.clients.last_by();
        for node in 0..NODES {
            if !in_trouble(node) && self.scene.cluster.is_leader(node).await {
                leader = node;
            }
        }
        let mut nodes = |who| {
            let nodes = match who {
                Who::Leader => vec![leader],
                Who::Other => vec![(leader + 1 + self.scene.random.below(NODES - 1)) % NODES],
                Who::All => (0..NODES).collect(),
            };
            (!nodes.iter().any(|node| in_trouble(*node))).then_some(nodes)
        };
        let troubles = match failure {
            Failure::Kill(who) => {
                let nodes = nodes(who)?;
                nodes.iter().for_each(|node| self.cluster().kill(*node));
                nodes.into_iter().map(Trouble::Down).collect()
            }
            Failure::Suspend(who) => {
                let nodes = nodes(who)?;
                nodes.iter().for_each(|node| self.cluster().suspend(*node));
                nodes.into_iter().map(Trouble::Asleep).collect()
            }
            Failure::Close(who) => {
                let nodes = nodes(who)?;
                block_in_place(|| nodes.iter().for_each(|node| self.cluster().close(*node)));
                nodes.into_iter().map(Trouble::Down).collect()
            }
            Failure::Link(who, link) => {
                let nodes = nodes(who)?;
                let ways = self.cluster().ways();
                nodes.iter().for_each(|node| ways.set(*node, link));
                nodes.into_iter().map(Trouble::Link).collect()
            }
            Failure::Restart if troubles.is_empty() => {
                for node in 0..NODES {
                    block_in_place(|| self.cluster().close(node));
                    self.cluster().must_open(node).await;
                }
                Vec::new()
            }
            Failure::Damage(damage) if troubles.is_empty() => {
                let (node, random) = (nodes(Who::Other)?[0], self.scene.random.next_u64());
                self.cluster().kill(node);
                damage.inflict(self.cluster(), node, random);
                damage.mend(self.cluster(), node).await;
                Vec::new()
            }
            Failure::Servers(failure)
                if !troubles
                    .iter()
                    .any(|trouble| matches!(trouble, Trouble::Servers(_))) =>
            {
                let Self { scene, servers, .. } = self;
                let ways = scene.cluster.ways();
                let trouble = block_in_place(|| servers.begin(failure, ways, &mut scene.random));
                vec![Trouble::Servers(trouble)]
            }
            Failure::Restart | Failure::Damage(_) | Failure::Servers(_) => return None,
        };
        Some(troubles)
    }

    /// Ends failures in any order. A node that needs the servers is opened after them.
    async fn end(&mut self, mut troubles: Vec<Trouble<S::Trouble>>) {
        let mut down = Vec::new();
        while !troubles.is_empty() {
            let index = self.scene.random.below(troubles.len());
            match troubles.swap_remove(index) {
                Trouble::Down(node) => match self.cluster().open(node).await {
                    Ok(()) => {}
                    Err(refused) => {
                        assert!(refused.contains("is not available"), "{refused}");
                        down.push(node);
                    }
                },
                Trouble::Asleep(node) => self.cluster().wake(node),
                Trouble::Link(node) => self.cluster().ways().set(node, Link::Open),
                Trouble::Servers(trouble) => {
                    let Self { scene, servers, .. } = self;
                    block_in_place(|| servers.end(trouble, scene.cluster.ways()));
                }
            }
        }
        for node in down {
            self.cluster().must_open(node).await;
        }
    }
}
