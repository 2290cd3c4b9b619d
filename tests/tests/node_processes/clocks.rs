//! The clocks of the nodes are hours apart.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::{Clock, SystemClock};
use serde_json::Value;

use super::cluster::NODES;
use super::engine;
use super::program::CLOCK;
use super::scene::Scene;

/// The system clock, some hours ahead or behind.
pub struct Shifted {
    pub hours: i64,
}

impl Shifted {
    fn shift(&self, time: SystemTime, hours: i64) -> SystemTime {
        let by = Duration::from_secs(hours.unsigned_abs() * 3600);
        match hours < 0 {
            true => time - by,
            false => time + by,
        }
    }
}

impl Clock for Shifted {
    fn now(&self) -> SystemTime {
        self.shift(SystemClock.now(), self.hours)
    }

    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let time = self.shift(time, -self.hours);
        Box::pin(async move { SystemClock.sleep_until(time).await })
    }
}

const HOURS: [i64; NODES] = [0, -5, 7];

/// Each node leads. The times of commits never go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_are_hours_apart() {
    let Some(server) = engine::running() else {
        return;
    };
    let scene = Scene::start("clocks are hours apart", &server).await;
    let cluster = &scene.cluster;
    for leader in [1, 2, 0] {
        scene.clients.until_more(20).await;
        cluster.kill(leader);
        cluster.set(leader, CLOCK, HOURS[leader]);
        cluster.must_open(leader).await;
        let others: Vec<_> = (0..NODES).filter(|node| *node != leader).collect();
        others.iter().for_each(|node| cluster.kill(*node));
        cluster.leader_of(&[leader]).await;
        scene.clients.until_more(20).await;
        for node in others {
            cluster.must_open(node).await;
        }
    }
    let times = times(&cluster.log());
    assert!(times.is_sorted(), "{times:?}");
    let hours = (times[times.len() - 1] - times[0]) / 3_600_000;
    assert!((6..=8).contains(&hours), "{hours} hours");
    scene.finish().await;
}

/// The times of all commits, in milliseconds.
fn times(log: &str) -> Vec<u64> {
    let lines = log.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["data"]["time"].as_u64().unwrap()
    });
    lines.collect()
}
