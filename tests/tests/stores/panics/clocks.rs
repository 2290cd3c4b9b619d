//! A clock that panics: the time goes on without it.

use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use eventfold_es::clock::Clock;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::panics::bomb::{Bomb, arm, touch};
use crate::panics::context;
use crate::panics::mine::{Mine, MineCommand, MineEvent};

struct Broken(Bomb);

impl Clock for Broken {
    fn now(&self) -> SystemTime {
        touch(&self.0.0, "now");
        SystemTime::now()
    }

    fn sleep_until(&self, _: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        touch(&self.0.0, "sleep_until");
        Box::pin(async {
            touch(&self.0.0, "sleep");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bell;

/// Walks at each step of another, and when its bell rings.
#[process_manager(subscribes = [Mine], dispatches = [Mine], deadlines = [Bell])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ringer;

impl React<Mine> for Ringer {
    fn react(&mut self, _: &MineEvent, cx: &mut Reaction<'_, Self>) {
        if cx.stream_id() == "m" {
            cx.schedule(
                "bell",
                Deadline::after(std::time::Duration::from_millis(20)),
                Bell,
            );
        }
    }
}

impl OnDeadline<Bell> for Ringer {
    fn on_deadline(&mut self, _: Bell, cx: &mut Reaction<'_, Self>) {
        cx.send("rung", MineCommand::walk(""));
    }
}

#[tokio::test]
async fn a_clock_that_panics_stops_nobody() -> TestResult {
    for code in ["now", "sleep_until", "sleep"] {
        let base = tempfile::tempdir()?;
        let tag = format!("clock that panics in {code}");
        let builder = AggregateStore::builder(base.path()).process_manager::<Ringer>();
        let store = builder.clock(Broken(Bomb::new(&tag))).open().await?;
        let _armed = arm(&tag, code);
        store.send("m", MineCommand::walk(""), context()).await?;
        let rung = store.get::<Mine>("rung").await?;
        let rings = async {
            while rung.state().await?.seen == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Ok::<_, eventfold_es::Error>(())
        };
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, rings)
            .await
            .map_err(|_| format!("{code}: it never rings"))??;
        assert_eq!(
            store.health().await.process_managers[0].parked_at,
            None,
            "{code}"
        );
    }
    Ok(())
}
