//! Events of a newer program, with `unknown_events = "skip"`.

use std::path::Path;

use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::SOON;

macro_rules! program {
    ($module:ident, [$($variant:ident)*]) => {
        mod $module {
            use std::convert::Infallible;

            use eventfold_es::prelude::*;

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
            #[serde(tag = "type", content = "data")]
            pub(crate) enum GadgetEvent {
                $($variant,)*
            }

            #[aggregate(name = "gadget", command = GadgetEvent, error = Infallible)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub(crate) struct Gadget;

            impl Decider for Gadget {
                fn decide(&self, event: GadgetEvent) -> Result<Vec<GadgetEvent>, Infallible> {
                    Ok(vec![event])
                }

                fn evolve(&mut self, _: &GadgetEvent) {}
            }

            #[projection(subscribes = [Gadget], key = String, name = "gadgets", unknown_events = "skip")]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub(crate) struct Gadgets {
                pub(crate) events: u32,
            }

            impl Locate<Gadget> for Gadgets {
                fn locate(_: &GadgetEvent, cx: &EventContext<'_>) -> Keys<String> {
                    Keys::one(cx.stream_id().to_owned())
                }
            }

            impl Project<Gadget> for Gadgets {
                fn project(&mut self, _: &GadgetEvent, _: &EventContext<'_>) {
                    self.events += 1;
                }
            }
        }
    };
}

program!(older, [Made]);
program!(newer, [Made Melted]);

async fn older_store(base: &Path) -> Result<AggregateStore, eventfold_es::OpenError> {
    AggregateStore::builder(base)
        .projection::<older::Gadgets>()
        .open()
        .await
}

#[tokio::test]
async fn unknown_events_are_skipped_until_a_program_knows_them() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let gadget = store.get::<newer::Gadget>("g").await?;
    for event in [
        newer::GadgetEvent::Made,
        newer::GadgetEvent::Melted,
        newer::GadgetEvent::Made,
    ] {
        gadget.execute(event, ()).await?;
    }
    drop(gadget);
    store.close().await?;

    let store = older_store(base.path()).await?;
    store.wait_for::<older::Gadgets>(3, SOON).await?;
    let events = async || -> Result<_, eventfold_es::StoreError> {
        let row = store.rows::<older::Gadgets>()?.get("g").await?;
        Ok(row.map(|row| row.events))
    };
    assert_eq!(events().await?, Some(2));
    store.rebuild_projection::<older::Gadgets>().await?;
    assert_eq!(events().await?, Some(2));
    store.clone().close().await?;

    // It knows the event that was skipped, so it rebuilds the rows.
    let builder = AggregateStore::builder(base.path());
    let store = builder.projection::<newer::Gadgets>().open().await?;
    store.wait_for::<newer::Gadgets>(3, SOON).await?;
    let row = store.rows::<newer::Gadgets>()?.get("g").await?;
    assert_eq!(row.map(|row| row.events), Some(3));
    Ok(())
}
