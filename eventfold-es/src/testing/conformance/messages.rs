//! The rules of questions between nodes, for a log that has a messenger.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout};

use super::{Rule, Suite, short};
use crate::replication::{AskError, CommitLog, Messenger, Question};

/// The time for an answer that comes.
const LIMIT: Duration = Duration::from_secs(30);
/// The time for an answer that does not come.
const SHORT_LIMIT: Duration = Duration::from_millis(200);
/// The questions at the same time.
const TOGETHER: usize = 200;

pub(super) fn rules<L: CommitLog>() -> Vec<Rule<L>> {
    vec![
        (
            "A question reaches the node of its name as it was asked, and the answer comes back as it was given.",
            reaches_its_node,
        ),
        (
            "A question to a node that takes no questions is `NotDelivered`.",
            is_not_delivered,
        ),
        (
            "Questions at the same time get their own answers.",
            gets_its_own_answer,
        ),
        (
            "A question may have `max_message_bytes` bytes; a larger one is `TooLarge`, and reaches no node.",
            has_a_limit,
        ),
        (
            "A question without an answer is `NoAnswer` after its limit.",
            is_not_answered,
        ),
        (
            "A question of one log reaches no node of another log.",
            stays_in_its_log,
        ),
    ]
}

/// Runs a check, if the log has a messenger.
fn run(check: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| format!("No runtime: {error}."))?;
    runtime.block_on(check)
}

/// Answers each question, until the receiver ends.
fn serve(
    mut questions: Receiver<Question>,
    answer: impl Fn(&str) -> String + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let text = answer(question.text());
            question.answer(text);
        }
    })
}

impl<L: CommitLog> Suite<'_, L> {
    /// Asks until the node takes questions. A busy server may lose some of them.
    async fn ask(
        &self,
        messenger: &Arc<dyn Messenger>,
        node: &str,
        text: &str,
    ) -> Result<String, AskError> {
        let begun = Instant::now();
        loop {
            match messenger.ask(node, text.to_owned(), LIMIT).await {
                Err(AskError::NotDelivered(_)) if begun.elapsed() < self.patience => {
                    sleep(Duration::from_millis(5)).await;
                }
                Err(AskError::NoAnswer(_)) if self.budget.take() => {}
                answer => return answer,
            }
        }
    }
}

fn reaches_its_node<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("questions")?;
    let names = ["node-1", "node.1", "node", "N"];
    run(async {
        let mut messengers = Vec::new();
        for (node, name) in nodes.iter().zip(names) {
            let Some(messenger) = node.messenger() else {
                return Ok(());
            };
            serve(messenger.questions(name), move |text| {
                format!("{name}: {text}")
            });
            messengers.push(messenger);
        }
        let text = "it's \u{1F980} \\ \"%s\"\r\n\u{0} ";
        for (asker, messenger) in names.iter().zip(&messengers) {
            for name in names {
                let expected = format!("{name}: {text}");
                match suite.ask(messenger, name, text).await {
                    Ok(answer) if answer == expected => {}
                    other => {
                        return Err(format!(
                            "`{asker}` asked `{name}` {}, and got {other:?}.",
                            short(text)
                        ));
                    }
                }
            }
        }
        Ok(())
    })
}

fn is_not_delivered<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let (one, other) = (suite.open("absent")?, suite.open("absent")?);
    run(async {
        let (Some(one), Some(other)) = (one.messenger(), other.messenger()) else {
            return Ok(());
        };
        let wrong = |asked: &str, answer| Err(format!("{asked} was answered {answer:?}."));
        match one.ask("absent", String::new(), LIMIT).await {
            Err(AskError::NotDelivered(_)) => {}
            answer => return wrong("A question to a node that never was", answer),
        }
        let questions = other.questions("closed");
        let served = serve(questions, str::to_owned);
        if let answer @ (Ok(_) | Err(_)) = suite.ask(&one, "closed", "first").await
            && answer.as_deref() != Ok("first")
        {
            return wrong("A question to a node that answers", answer);
        }
        served.abort();
        // An error is the abortion.
        let _ = served.await;
        let begun = Instant::now();
        loop {
            match one.ask("closed", String::new(), SHORT_LIMIT).await {
                Err(AskError::NotDelivered(_)) => return Ok(()),
                // The servers learn of it a moment later.
                Err(AskError::NoAnswer(_)) if begun.elapsed() < suite.patience => {}
                answer => return wrong("A question to a node that takes no more", answer),
            }
        }
    })
}

fn gets_its_own_answer<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let (one, other) = (suite.open("together")?, suite.open("together")?);
    run(async {
        let (Some(one), Some(other)) = (one.messenger(), other.messenger()) else {
            return Ok(());
        };
        let mut questions = other.questions("other");
        // Half of them at once, and in the opposite order.
        tokio::spawn(async move {
            loop {
                let mut some = Vec::new();
                while some.len() < TOGETHER / 2
                    && let Ok(Some(question)) = timeout(SHORT_LIMIT, questions.recv()).await
                {
                    some.push(question);
                }
                if some.is_empty() && questions.is_closed() {
                    return;
                }
                for question in some.into_iter().rev() {
                    let answer = format!("re: {}", question.text());
                    question.answer(answer);
                }
            }
        });
        suite
            .ask(&one, "other", "are you there")
            .await
            .map_err(|error| format!("A node that answers: {error}."))?;
        let asked: Vec<_> = (0..TOGETHER)
            .map(|number| {
                let one = Arc::clone(&one);
                tokio::spawn(async move { one.ask("other", number.to_string(), LIMIT).await })
            })
            .collect();
        for (number, asked) in asked.into_iter().enumerate() {
            let answer = asked.await.map_err(|error| error.to_string())?;
            let is_busy = matches!(answer, Err(AskError::NoAnswer(_))) && suite.budget.take();
            if !is_busy && answer != Ok(format!("re: {number}")) {
                return Err(format!(
                    "The question \"{number}\", one of {TOGETHER} at the same time, was answered {answer:?}."
                ));
            }
        }
        Ok(())
    })
}

fn has_a_limit<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let (one, other) = (suite.open("large")?, suite.open("large")?);
    run(async {
        let (Some(one), Some(other)) = (one.messenger(), other.messenger()) else {
            return Ok(());
        };
        let most = one.max_message_bytes();
        serve(other.questions("other"), |text| text.to_owned());
        let largest = "x".repeat(most);
        match suite.ask(&one, "other", &largest).await {
            Ok(answer) if answer == largest => {}
            Ok(answer) => {
                return Err(format!(
                    "A question of {most} bytes came back as {}.",
                    short(&answer)
                ));
            }
            Err(error) => return Err(format!("A question of {most} bytes: {error}.")),
        }
        match one.ask("other", "x".repeat(most + 1), LIMIT).await {
            Err(AskError::TooLarge(_)) => Ok(()),
            Ok(_) => Err(format!("A question of {} bytes was answered.", most + 1)),
            Err(error) => Err(format!("A question of {} bytes: {error}.", most + 1)),
        }
    })
}

fn is_not_answered<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let (one, other) = (suite.open("silent")?, suite.open("silent")?);
    run(async {
        let (Some(one), Some(other)) = (one.messenger(), other.messenger()) else {
            return Ok(());
        };
        let mut questions = other.questions("other");
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(question) = questions.recv().await {
                match question.text() {
                    "keep" => kept.push(question),
                    "drop" => drop(question),
                    _ => question.answer(String::new()),
                }
            }
        });
        suite
            .ask(&one, "other", "are you there")
            .await
            .map_err(|error| format!("A node that answers: {error}."))?;
        for text in ["keep", "drop"] {
            let asked = one.ask("other", text.to_owned(), SHORT_LIMIT);
            match timeout(suite.patience, asked).await {
                Ok(Err(AskError::NoAnswer(_))) => {}
                Ok(answer) => {
                    return Err(format!(
                        "A question without an answer was answered {answer:?}."
                    ));
                }
                Err(_) => {
                    return Err(format!(
                        "A question with a limit of {SHORT_LIMIT:?} has not ended."
                    ));
                }
            }
        }
        Ok(())
    })
}

fn stays_in_its_log<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let (one, other) = (suite.open("asked-1")?, suite.open("asked-10")?);
    run(async {
        let (Some(one), Some(other)) = (one.messenger(), other.messenger()) else {
            return Ok(());
        };
        serve(one.questions("node"), |_| "one".to_owned());
        serve(other.questions("node"), |_| "other".to_owned());
        for (messenger, expected) in [(&one, "one"), (&other, "other")] {
            for _ in 0..5 {
                let answer = suite.ask(messenger, "node", "who is it").await;
                if answer.as_deref() != Ok(expected) {
                    return Err(format!(
                        "A question in the log of \"{expected}\" was answered {answer:?}."
                    ));
                }
            }
        }
        Ok(())
    })
}
