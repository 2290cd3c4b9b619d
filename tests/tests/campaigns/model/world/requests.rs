//! What is asked of a store, and whether its answers fit what was seen.

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use eventfold::Event;
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{ExecuteError, Executed, Reactions, RunMode};

use super::{World, same, text};
use crate::model::domain::{ACCOUNTS, Account, AccountCommand, AccountEvent, TILLS, TillCommand};
use crate::model::operations::Action;
use crate::model::shadow::{Asked, Request};

/// What a store answers to a request.
#[derive(Debug)]
pub(super) enum Answer {
    Done {
        events: Vec<Event>,
        version: u64,
        position: Option<u64>,
        reactions: Reactions,
    },
    Rejected(String),
    KeyReused,
    Injected,
}

impl World {
    pub(super) fn request(&self, action: &Action) -> (Request, InjectOptions) {
        // Every other key is used again for the same command; the others are used for another one.
        let tag = |key: &Option<u8>, place: usize| match key {
            Some(key) if key % 2 == 0 => 1_000_000 + place as u64 * 10 + u64::from(*key),
            _ => self.next,
        };
        let coins = |key: &Option<u8>, coins: u32| match key {
            Some(key) if key % 2 == 0 => 1 + u32::from(*key),
            _ => coins,
        };
        let mut options = InjectOptions::default();
        let (asked, key) = match action {
            Action::Deposit {
                account,
                coins: paid,
                key,
            } => {
                let (tag, coins) = (tag(key, *account), coins(key, *paid));
                let command = AccountCommand::Deposit { tag, coins };
                (Asked::Account(ACCOUNTS[*account].to_owned(), command), *key)
            }
            Action::Withdraw {
                account,
                coins: paid,
                key,
            } => {
                let (tag, coins) = (tag(key, 10 + *account), coins(key, *paid));
                let command = AccountCommand::Withdraw { tag, coins };
                (Asked::Account(ACCOUNTS[*account].to_owned(), command), *key)
            }
            Action::Empty { till, key } => {
                let tag = tag(key, 20 + *till);
                let command = TillCommand::Empty { tag };
                (Asked::Till(TILLS[*till].to_owned(), command), *key)
            }
            Action::Inject {
                account,
                id,
                runs_process_managers,
            } => {
                options.run_process_managers = *runs_process_managers;
                let event = AccountEvent::Deposited {
                    tag: self.next,
                    coin: 0,
                };
                let mut event = event.to_event().expect("plain values");
                event.id = id.map(|id| format!("injected-{id}"));
                event.ts = 1_234_567_890;
                event.actor = Some("elsewhere".to_owned());
                (Asked::Inject(ACCOUNTS[*account].to_owned(), event), None)
            }
        };
        let key = key.map(|key| format!("key-{key}"));
        (Request { asked, key }, options)
    }

    /// Whether an answer fits what was seen.
    pub(super) fn check(
        &self,
        request: &Request,
        before: usize,
        answer: Answer,
        found: Option<&Range<usize>>,
    ) -> Result<(), String> {
        let length = self.shadow.length(&request.stream());
        // What was decided while others wrote was decided on some state in between.
        // Once there is an answer to its key, it is not decided any more.
        let answer_to_key = self.shadow.answer(request).filter(|_| found.is_none());
        let is_same = self.shadow.is_answer_to(request);
        let answered = answer_to_key.filter(|_| is_same);
        let first = answer_to_key.map(|entries| self.shadow.log[entries.start].version as usize);
        let decided = (before..=length)
            .take_while(|length| first.is_none_or(|first| *length < first))
            .map(|length| self.shadow.decide_request(request, length));
        let decided: Vec<_> = decided.collect();
        match (answer, found.or(answered)) {
            (
                Answer::Done {
                    events,
                    position: None,
                    ..
                },
                _,
            ) if found.is_none() && events.is_empty() && decided.contains(&Ok(Vec::new())) => {
                Ok(())
            }
            (Answer::Rejected(error), _)
                if found.is_none() && decided.contains(&Err(error.clone())) =>
            {
                Ok(())
            }
            (
                Answer::Done {
                    events,
                    version,
                    position,
                    reactions,
                },
                Some(entries),
            ) => {
                let seen = &self.shadow.log[entries.clone()];
                let last = seen.last().ok_or("it is empty")?;
                let pairs = |event: &Event| (event.event_type.clone(), event.data.clone());
                same(
                    "its events",
                    events.iter().map(pairs).collect::<Vec<_>>(),
                    seen.iter().map(|seen| pairs(&seen.event)).collect(),
                )?;
                same(
                    "its place",
                    (version, position),
                    (last.version, Some(last.position)),
                )?;
                let expected = match self.setup.mode {
                    RunMode::Inline => Reactions::Done,
                    _ => Reactions::NotAwaited,
                };
                same("what became of reactions", reactions, expected)?;
                if reactions == Reactions::Done
                    && let Some(owed) = self.shadow.owed_for(entries.clone())
                {
                    return Err(format!(
                        "its reactions are done, but nobody reacted to {owed}"
                    ));
                }
                Ok(())
            }
            (Answer::KeyReused, None) if answer_to_key.is_some() && !is_same => Ok(()),
            (Answer::Injected, Some(_)) => Ok(()),
            (Answer::Injected, None) => same(
                "what else it does",
                self.shadow.decide_request(request, length),
                Ok(Vec::new()),
            ),
            (answer, found) => Err(format!("{answer:?}, and the log has it at {found:?}")),
        }
    }
}

pub(super) async fn answer(
    store: AggregateStore,
    request: Request,
    options: InjectOptions,
) -> Result<Answer, String> {
    let mut context = CommandContext::default();
    if let Some(key) = request.key {
        context = context.with_idempotency_key(key);
    }
    match request.asked {
        Asked::Account(id, command) => answered(store.send(&id, command, context).await),
        Asked::Till(id, command) => answered(store.send(&id, command, context).await),
        Asked::Inject(id, event) => {
            let injected = store.inject_event::<Account>(&id, event, options).await;
            injected.map_err(text).map(|()| Answer::Injected)
        }
    }
}

fn answered<E: DomainEvent, R: std::error::Error + Send + Sync + 'static>(
    executed: Result<Executed<E>, ExecuteError<R>>,
) -> Result<Answer, String> {
    match executed {
        Ok(done) => Ok(Answer::Done {
            events: done
                .events
                .iter()
                .map(DomainEvent::to_event)
                .collect::<Result<_, _>>()
                .map_err(text)?,
            version: done.version,
            position: done.position,
            reactions: done.reactions,
        }),
        Err(ExecuteError::KeyReused { .. }) => Ok(Answer::KeyReused),
        Err(ExecuteError::Domain(error)) => Ok(Answer::Rejected(error.to_string())),
        Err(error) => Err(text(error)),
    }
}

/// Polls a future a number of times, with other tasks in between, and drops it unless it is done before.
pub(super) async fn abandon_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}
