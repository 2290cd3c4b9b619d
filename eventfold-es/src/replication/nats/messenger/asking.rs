//! Asking: questions go out in bundles, and their answers arrive in an inbox of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::bundle::{Bundle, Bundles, Fate, parts};
use super::{most, next, publish_paced};
use crate::replication::AskError;
use crate::replication::nats::link::Link;

/// The questions that are sent at once, at most.
const AT_ONCE: usize = 256;
/// The time after an answer within which its client is expected to ask again. Questions that come meanwhile share its message.
const RETURN_WITHIN: Duration = Duration::from_millis(1);
/// How often the questions are forgotten whose caller waits no longer.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// A question on its way.
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) answer: oneshot::Sender<Result<String, AskError>>,
}

/// The questions that wait for their answers.
struct Desk {
    link: Arc<Link>,
    /// The subject below which answers arrive.
    inbox: String,
    waiting: BTreeMap<u64, oneshot::Sender<Result<String, AskError>>>,
    /// The number of the next question.
    next: u64,
    /// The questions that are not sent yet.
    held: Vec<Letter>,
    /// The clients that were answered and have not asked again.
    returning: usize,
    /// The time until which they are waited for.
    until: Instant,
}

/// Sends questions and takes their answers, until the messenger is dropped.
pub(super) async fn run(link: Arc<Link>, mut letters: mpsc::Receiver<Letter>) {
    let inbox = link.client.new_inbox();
    let mut subscription: Subscriber = match link.client.subscribe(format!("{inbox}.>")).await {
        Ok(subscription) => subscription,
        Err(error) => {
            tracing::warn!(%error, "this node cannot send commands to other nodes");
            return;
        }
    };
    let mut desk = Desk {
        link,
        inbox,
        waiting: BTreeMap::new(),
        next: 0,
        held: Vec::new(),
        returning: 0,
        until: Instant::now(),
    };
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            count = letters.recv_many(&mut desk.held, AT_ONCE) => if count == 0 {
                return;
            },
            message = next(&mut subscription) => match message {
                Some(message) => desk.take(&message),
                None => return,
            },
            () = sleep_until(desk.until), if !desk.held.is_empty() => {}
            _ = ticks.tick() => desk.waiting.retain(|_, answer| !answer.is_closed()),
        }
        if Instant::now() >= desk.until {
            desk.returning = 0;
        }
        if !desk.held.is_empty() && desk.held.len() >= desk.returning.min(AT_ONCE) {
            desk.send().await;
        }
    }
}

impl Desk {
    async fn send(&mut self) {
        let mut letters = std::mem::take(&mut self.held);
        self.returning = self.returning.saturating_sub(letters.len());
        letters.retain(|letter| !letter.answer.is_closed());
        // So the numbers of a message have no gap.
        letters.sort_by(|one, other| one.subject.cmp(&other.subject));
        let mut bundles = Bundles::new(most(&self.link));
        for letter in letters.drain(..) {
            let number = self.next;
            self.next += 1;
            self.waiting.insert(number, letter.answer);
            bundles.push(letter.subject, (number, Ok(letter.text)));
        }
        for (subject, Bundle { payload, numbers }) in bundles {
            let reply = format!("{}.{}-{}", self.inbox, numbers.start, numbers.end);
            if let Err(reason) = publish_paced(&self.link, subject, Some(reply), payload).await {
                for number in numbers {
                    self.settle(number, Err(AskError::NotDelivered(reason.clone())));
                }
            }
        }
    }

    fn take(&mut self, message: &Message) {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            let numbers = message.subject.rsplit('.').next();
            let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
            let Some((Ok(start), Ok(end))) =
                numbers.map(|(start, end)| (start.parse::<u64>(), end.parse::<u64>()))
            else {
                return;
            };
            let asked = self.waiting.keys().copied();
            let asked: Vec<_> = asked
                .filter(|number| (start..end).contains(number))
                .collect();
            for number in asked {
                let reason = "no node of this name takes questions".to_owned();
                self.settle(number, Err(AskError::NotDelivered(reason)));
            }
            return;
        }
        for (number, answer) in parts(&message.payload).unwrap_or_default() {
            self.settle(
                number,
                answer.map_err(|fate| match fate {
                    Fate::Refused => AskError::NotDelivered("the node closes its store".to_owned()),
                    Fate::Dropped => AskError::NoAnswer("the node dropped the question".to_owned()),
                }),
            );
        }
    }

    fn settle(&mut self, number: u64, answer: Result<String, AskError>) {
        if let Some(waiting) = self.waiting.remove(&number)
            // The caller may wait no longer.
            && waiting.send(answer).is_ok()
        {
            self.returning += 1;
            self.until = Instant::now() + RETURN_WITHIN;
        }
    }
}
