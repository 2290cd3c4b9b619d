//! What is stored, and what becomes due, while a deadline is handled.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use super::{Bell, at, open};
use crate::process_managers::domain::{Log, log_of};
use crate::process_managers::worker::{Post, PostEvent, append, beginning, clock, say, words};

/// Tells when a deadline is being handled, and when to go on.
type Gate = (mpsc::Sender<()>, mpsc::Receiver<()>);

static GATE: Mutex<Option<Gate>> = Mutex::new(None);

/// `at` seconds name arms a deadline; `slow` waits at the gate; everything is written down.
#[process_manager(subscribes = [Post], dispatches = [Log], deadlines = [Bell])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sluggish;

impl React<Post> for Sluggish {
    fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
        if let ("at", rest) = words(said) {
            let (seconds, text) = words(rest);
            let text = text.to_owned();
            return cx.schedule(text.clone(), at(seconds), Bell { text });
        }
        cx.send("a", append(said));
    }
}

impl OnDeadline<Bell> for Sluggish {
    fn on_deadline(&mut self, Bell { text }: Bell, cx: &mut Reaction<'_, Self>) {
        let gate = GATE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((reached, go_on)) = gate {
            reached.send(()).unwrap();
            tokio::task::block_in_place(|| go_on.recv()).unwrap();
        }
        cx.send("a", append(&text));
    }
}

/// The clock goes on while a deadline is handled, and an event is stored before the next deadline is due: it comes before that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_while_a_deadline_is_handled_comes_before_the_next_one() -> TestResult {
    let (base, time) = (tempfile::tempdir()?, clock());
    let set = |seconds| time.set(beginning() + Duration::from_secs(seconds));
    let store = open::<Sluggish>(base.path(), &time, Some(RunMode::OnDemand)).await;
    for words in ["at 10 slow", "at 25 next"] {
        say(&store, "a", words).await;
    }
    store.run_process_managers().await?;
    let ((reached, is_reached), (go_on, is_told)) = (mpsc::channel(), mpsc::channel());
    *GATE.lock().unwrap_or_else(PoisonError::into_inner) = Some((reached, is_told));
    set(10);
    let running = tokio::spawn({
        let store = store.clone();
        async move { store.run_process_managers().await }
    });
    tokio::task::block_in_place(|| is_reached.recv())?;
    set(20);
    say(&store, "a", "between").await;
    set(30);
    go_on.send(())?;
    running.await??;
    store.run_process_managers().await?;
    assert_eq!(log_of(&store, "a").await, ["slow", "between", "next"]);
    store.close().await?;
    Ok(())
}
