//! The questions of other nodes, which this node executes while it is the leader.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Semaphore, mpsc, watch};

use super::outcomes::Ended;
use super::wire::{Answer, Asked, FORMAT, Told};
use super::{ForwardRoutes, Forwarding};
use crate::replication::Question;
use crate::runtime::{check_context, generated_key};
use crate::sabotage::{Bug, planted};
use crate::store::{AggregateStore, Shared};

/// The maximum number of questions in work. More of them wait.
const IN_WORK: usize = 4_096;
/// The number of errands of which the last attempt is noted. Only errands with a second attempt are noted.
const NOTED: usize = 16_384;

/// See the [module](self).
pub(in crate::store) struct Desk {
    questions: mpsc::Receiver<Question>,
    state: Arc<State>,
    closing: watch::Receiver<bool>,
    /// Each question in work has a clone, for which closing waits.
    alive: mpsc::Sender<()>,
}

#[derive(Default)]
struct State(Mutex<Errands>);

#[derive(Default)]
struct Errands {
    /// The answers of the errands in work.
    in_work: HashMap<Box<str>, watch::Receiver<Option<Arc<str>>>>,
    /// The last attempts, of errands with more than one attempt.
    attempts: HashMap<Box<str>, u32>,
    /// The errands with a last attempt, the oldest first.
    noted: VecDeque<Box<str>>,
}

/// The part of an attempt in its errand.
enum Turn {
    /// It is executed. The answer goes to later attempts, too.
    Work(Work),
    /// An earlier attempt is in work, and has this answer.
    Joins(watch::Receiver<Option<Arc<str>>>),
    /// It is late: a later attempt was here.
    Late,
}

/// An attempt that is executed. Dropping it ends its work.
struct Work {
    state: Arc<State>,
    errand: Box<str>,
    answer: watch::Sender<Option<Arc<str>>>,
}

impl Desk {
    pub(in crate::store) fn new(
        questions: mpsc::Receiver<Question>,
        closing: watch::Receiver<bool>,
        alive: mpsc::Sender<()>,
    ) -> Self {
        Self {
            questions,
            state: Arc::default(),
            closing,
            alive,
        }
    }

    /// Takes questions until the store closes.
    pub(in crate::store) async fn run(mut self, shared: Weak<Shared>) {
        let room = Arc::new(Semaphore::new(IN_WORK));
        loop {
            let next = async {
                let room = Arc::clone(&room).acquire_owned().await.ok()?;
                Some((self.questions.recv().await?, room))
            };
            let taken = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => break,
                next = next => next,
            };
            let Some((question, room)) = taken else {
                break;
            };
            let Some(shared) = shared.upgrade() else {
                refuse(question);
                break;
            };
            let (state, alive) = (Arc::clone(&self.state), self.alive.clone());
            let store = AggregateStore { shared };
            tokio::spawn(async move {
                let answer = answer(&store, &state, question.text()).await;
                drop(store);
                if let Some(answer) = answer {
                    question.answer(answer.as_ref().to_owned());
                }
                drop((room, alive));
            });
        }
        // The messenger refuses later questions. Those that it has delivered get an answer.
        self.questions.close();
        while let Some(question) = self.questions.recv().await {
            refuse(question);
        }
    }
}

/// Answers that the store closes.
fn refuse(question: Question) {
    let reason = "the leader closes its store".to_owned();
    let told = Told::Unavailable { reason };
    let answer = Answer {
        format: FORMAT,
        seen: 0,
        told,
    };
    question.answer(answer.text(usize::MAX));
}

/// The answer to a question. `None` if there is none.
async fn answer(store: &AggregateStore, state: &Arc<State>, text: &str) -> Option<Arc<str>> {
    let forwarding = store.shared.forwarding.as_ref()?;
    forwarding.taken.asked();
    let finished = |told: Told| {
        let answer = Answer {
            format: FORMAT,
            seen: *store.shared.runtime.journal.durable().borrow(),
            told,
        };
        Arc::<str>::from(answer.text(forwarding.messenger.max_message_bytes()))
    };
    let asked = match read(text) {
        Ok(asked) => asked,
        Err(reason) => {
            forwarding.taken.ended(Ended::Failed);
            return Some(finished(Told::Foreign { reason }));
        }
    };
    match state.turn(&asked.errand, asked.attempt) {
        Turn::Work(work) => {
            let told = execute(store, forwarding, &asked).await;
            forwarding.taken.ended(Ended::from(&told));
            let answer = finished(told);
            work.answer.send_replace(Some(Arc::clone(&answer)));
            Some(answer)
        }
        Turn::Joins(mut answer) => {
            let answer = answer.wait_for(Option::is_some).await.ok()?;
            answer.clone()
        }
        Turn::Late => {
            let reason = "a later attempt has come before this one".to_owned();
            Some(finished(Told::Unavailable { reason }))
        }
    }
}

/// Reads a question. The error says why the program cannot.
fn read(text: &str) -> Result<Asked<'_>, String> {
    let asked: Asked<'_> = serde_json::from_str(text)
        .map_err(|error| format!("the question cannot be read: {error}"))?;
    match asked.format {
        FORMAT => Ok(asked),
        other => Err(format!(
            "the question has the format {other}, and this program knows {FORMAT}"
        )),
    }
}

async fn execute(store: &AggregateStore, forwarding: &Forwarding, asked: &Asked<'_>) -> Told {
    if let Some(reason) = unknown_type(&forwarding.routes, asked) {
        return Told::Foreign { reason };
    }
    let mut context = asked.context.clone().into_owned();
    if planted(Bug::CausationNotSent) {
        context.causation_id = None;
    }
    if let Err(error) = check_context(&context) {
        return error.into();
    }
    let generated = match context.idempotency_key {
        Some(_) => None,
        None => Some(generated_key(&asked.errand)),
    };
    match (asked.is_together, asked.commands.as_slice()) {
        (false, [command]) => {
            let Some(route) = forwarding.routes.of(&command.aggregate_type) else {
                return Told::NotLeader { leader: None };
            };
            context.idempotency_key = context.idempotency_key.or(generated);
            context.expected_version = command.expected_version;
            (route.execute)(store, command, context, asked.batch).await
        }
        (false, _) => Told::Foreign {
            reason: "only a transaction has several commands".to_owned(),
        },
        (true, commands) => {
            let mut transaction = store.transaction(context);
            for command in commands {
                let Some(route) = forwarding.routes.of(&command.aggregate_type) else {
                    return Told::NotLeader { leader: None };
                };
                transaction = match (route.add)(transaction, command) {
                    Ok(transaction) => transaction,
                    Err(error) => return error.into(),
                };
            }
            transaction.commit_for_node(generated, asked.batch).await
        }
    }
}

/// The reason for not taking the commands, if a type is not registered.
fn unknown_type(routes: &ForwardRoutes, asked: &Asked<'_>) -> Option<String> {
    let mut types = asked.commands.iter().map(|command| &command.aggregate_type);
    let unknown = types.find(|name| routes.of(name).is_none())?;
    Some(format!(
        "`{unknown}` is not registered: add `.aggregate_type::<..>()` to the builder of the store"
    ))
}

impl State {
    fn errands(&self) -> MutexGuard<'_, Errands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an attempt its turn. An attempt after the first makes all earlier ones late.
    fn turn(self: &Arc<Self>, errand: &str, attempt: u32) -> Turn {
        let mut errands = self.errands();
        let is_late = errands
            .attempts
            .get(errand)
            .is_some_and(|last| attempt < *last);
        if is_late && !planted(Bug::LateAttemptExecuted) {
            return Turn::Late;
        }
        if attempt > 1 && errands.attempts.insert(errand.into(), attempt).is_none() {
            errands.noted.push_back(errand.into());
            if errands.noted.len() > NOTED
                && let Some(oldest) = errands.noted.pop_front()
            {
                errands.attempts.remove(&oldest);
            }
        }
        if let Some(answer) = errands.in_work.get(errand)
            && !planted(Bug::AttemptNotJoined)
        {
            return Turn::Joins(answer.clone());
        }
        let (answer, answered) = watch::channel(None);
        errands.in_work.insert(errand.into(), answered);
        Turn::Work(Work {
            state: Arc::clone(self),
            errand: errand.into(),
            answer,
        })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.state.errands().in_work.remove(&self.errand);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_join_the_work_and_are_late_behind_later_ones() {
        let state = Arc::<State>::default();
        let Turn::Work(work) = state.turn("a", 1) else {
            panic!("it is the first");
        };
        assert!(matches!(state.turn("b", 1), Turn::Work(_)));
        assert!(matches!(state.turn("a", 2), Turn::Joins(_)));
        // Late, although nothing but the second attempt was told.
        assert!(matches!(state.turn("a", 1), Turn::Late));
        drop(work);
        assert!(matches!(state.turn("a", 1), Turn::Late));
        assert!(matches!(state.turn("a", 2), Turn::Work(_)));
        assert!(matches!(state.turn("a", 3), Turn::Work(_)));
        assert!(matches!(state.turn("a", 2), Turn::Late));
        assert!(state.errands().in_work.is_empty());
    }

    #[test]
    fn the_notes_are_bounded() {
        let state = Arc::<State>::default();
        for number in 0..NOTED + 10 {
            state.turn(&number.to_string(), 2);
            state.turn(&number.to_string(), 3);
        }
        let errands = state.errands();
        assert_eq!(
            (errands.attempts.len(), errands.noted.len()),
            (NOTED, NOTED)
        );
        assert!(!errands.attempts.contains_key("9"));
        assert!(errands.attempts.contains_key("10"));
    }

    #[test]
    fn a_question_of_another_format_is_refused_with_a_reason() {
        let text = r#"{"format":2,"errand":"e","attempt":1,"batch":1,"is_together":false,"context":{"actor":null,"correlation_id":null,"metadata":null},"commands":[]}"#;
        let reason = read(text).err();
        assert_eq!(
            reason.as_deref(),
            Some("the question has the format 2, and this program knows 1")
        );
        let reason = read(r#"{"format":9}"#).err();
        assert!(reason.is_some_and(|reason| reason.contains("cannot be read")));
        assert!(read(&text.replace("\"format\":2", "\"format\":1")).is_ok());
    }
}
