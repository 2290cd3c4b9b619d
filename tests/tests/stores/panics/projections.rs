//! Each piece of code of a projection panics in turn.

use eventfold_es::StoreError;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::panics::bomb::{Bomb, arm, touch};
use crate::panics::context;
use crate::panics::mine::{Mine, MineCommand, MineEvent};

macro_rules! map {
    ($name:ident, $tag:literal) => {
        #[projection(subscribes = [Mine])]
        #[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            seen: u64,
            bomb: Bomb,
        }

        impl Project<Mine> for $name {
            fn project(&mut self, _: &MineEvent, _: &EventContext<'_>) {
                touch($tag, "project");
                self.seen += 1;
                if self.bomb.0.is_empty() {
                    self.bomb = Bomb::new($tag);
                }
            }
        }
    };
}

map!(Map, "map");
map!(Plan, "plan");

#[tokio::test]
async fn a_panic_anywhere_fails_its_projection_only() -> TestResult {
    for (code, fails) in [
        ("project", true),
        ("clone", false),
        ("serialize", false),
        ("deserialize", false),
        ("drop", false),
    ] {
        let base = tempfile::tempdir()?;
        let open = || {
            let builder = AggregateStore::builder(base.path());
            builder.projection::<Map>().projection::<Plan>().open()
        };
        let store = open().await?;
        store.send("m", MineCommand::walk(""), context()).await?;
        store.rebuild_projection::<Map>().await?;
        store.rebuild_projection::<Plan>().await?;
        store.send("m", MineCommand::walk(""), context()).await?;
        {
            let _armed = arm("map", code);
            for _ in 0..2 {
                let map = store.projection::<Map>().await;
                match (fails, map) {
                    (true, Err(StoreError::Panicked { what, message })) => {
                        assert!(
                            what.contains("`map`") && message.contains(code),
                            "{what}: {message}"
                        );
                    }
                    (false, Ok(map)) => {
                        assert_eq!(map.seen, 2, "{code}");
                        std::mem::forget(map);
                    }
                    (_, other) => panic!("{code}: {other:?}"),
                }
                assert_eq!(store.projection::<Plan>().await?.seen, 2, "{code}");
            }
            store.rebuild_projection::<Map>().await.ok();
            store.send("m", MineCommand::walk(""), context()).await?;
            store.close().await?;
            // Its checkpoint is read, and written.
            let store = open().await?;
            assert_eq!(store.projection::<Plan>().await?.seen, 3, "{code}");
            if !fails {
                let map = store.projection::<Map>().await?;
                assert_eq!(map.seen, 3, "{code}");
                std::mem::forget(map);
            }
            store.close().await?;
        }
        let store = open().await?;
        let map = store.projection::<Map>().await?;
        assert_eq!(map.seen, 3, "{code}");
        assert_eq!(map.bomb, Bomb::new("map"));
    }
    Ok(())
}
