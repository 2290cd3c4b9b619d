//! Errands: work that is called again beside the events of the window. It is the held work of a key or of a stream, or dead letters that an
//! operator redrives. The calls of one errand follow each other; errands run side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::driver::ProcessManagerRunner;
use super::super::hold::Scope;
use super::super::machine::Input;
use super::super::operator::{Answer, Asked};
use super::super::plan::Report;
use super::super::rows::{self, DeadRow, HeldRow, ReactionRow, RetriedRow};
use super::super::{Halt, Shown};
use super::Job;
use super::handler::Outcome;
use super::window::Call;
use crate::journal::{Row, RowRange};

/// The number of held rows in one read.
const ROWS: usize = 64;

/// See the [module](self).
pub(super) struct Errand {
    id: u64,
    work: Work,
    /// The rows of the next work.
    rows: VecDeque<Row>,
    current: Option<Piece>,
    call: State,
    report: Report,
    /// The operators who asked for it.
    asked: Vec<Asked>,
    /// The event with which it was deferred, until the errand ends.
    pub(super) deferred: Option<u64>,
}

enum Work {
    Held(Scope),
    Letters,
    /// An operator has discarded it. The outcome of its call is dropped.
    Dropped,
}

enum State {
    NotBegun,
    /// The call began as the call of this event of the window, if it did.
    Running(Option<u64>),
    Ended(Outcome),
}

/// A piece of work: an event, with its row.
struct Piece {
    row: Row,
    shown: Shown,
    key: Option<Arc<str>>,
    letter: Option<Box<ReactionRow>>,
    has_failed: bool,
}

/// The errand whose call has ended.
#[derive(Clone, Copy)]
pub(super) enum Called {
    Event(u64),
    Errand(u64),
}

impl Errand {
    fn wait(&self) -> Option<u64> {
        self.asked.first().and_then(|asked| asked.wait)
    }
}

impl ProcessManagerRunner {
    fn errand(&mut self, work: Work, asked: Option<Asked>) -> Errand {
        self.calls.next_errand += 1;
        Errand {
            id: self.calls.next_errand,
            work,
            rows: VecDeque::new(),
            current: None,
            call: State::NotBegun,
            report: Report::default(),
            asked: asked.into_iter().collect(),
            deferred: None,
        }
    }

    /// Defers the first event of the window: its key holds it in a row, and its call continues.
    pub(super) async fn defer_front(&mut self) -> Result<(), Halt> {
        let Some((number, entry)) = self.calls.window.front() else {
            return Ok(());
        };
        let Some(key) = entry.key.clone() else {
            return Ok(());
        };
        let is_running = matches!(entry.call, Call::Running(_));
        self.is_held(&key).await?;
        let Some(entry) = self.calls.window.take_front() else {
            return Ok(());
        };
        let position = entry.event.position();
        let row = self.machine.defer(&key, position);
        self.machine.position = position;
        let mut errand = self.errand(Work::Held(Scope::Instance(key.to_string())), None);
        errand.deferred = Some(position);
        if is_running {
            errand.call = State::Running(Some(number));
        }
        errand.current = Some(Piece {
            row: Row {
                key: row,
                value: "".into(),
            },
            shown: entry.event,
            key: Some(key),
            letter: None,
            has_failed: false,
        });
        self.calls.errands.push(errand);
        Ok(())
    }

    /// Notes the end of the call of an errand. The outcome for an errand that an operator has discarded is dropped.
    pub(super) fn note_errand(&mut self, called: Called, outcome: Outcome) {
        let mut errands = self.calls.errands.iter_mut();
        let found = errands.find(|errand| match (called, &errand.call) {
            (Called::Event(number), State::Running(Some(own))) => number == *own,
            (Called::Errand(id), State::Running(None)) => id == errand.id,
            _ => false,
        });
        if let Some(errand) = found {
            errand.call = State::Ended(outcome);
        }
    }

    /// Begins to release a scope that holds its work. The operator, if there is one, is answered at the end.
    pub(in super::super) async fn begin_errand(
        &mut self,
        scope: &Scope,
        asked: Option<Asked>,
    ) -> Result<(), Halt> {
        if let Scope::Instance(key) = scope {
            self.learn(vec![key.clone()]).await?;
        }
        let mut errands = self.calls.errands.iter_mut();
        let same = |work: &Work| matches!(work, Work::Held(held) if held == scope);
        if let Some(errand) = errands.find(|errand| same(&errand.work)) {
            errand.asked.extend(asked);
            return Ok(());
        }
        if !self.machine.holds(scope) {
            tell(asked, Report::default());
            return Ok(());
        }
        // A release that a stop has interrupted has its marker.
        if self.machine.is_parked(scope) && !self.machine.begin_release(scope) {
            tell(asked, Report::new(0, 1));
            return Ok(());
        }
        if let Scope::Stream(stream) = scope
            && let Some(held) = self.machine.held_streams.get_mut(stream)
        {
            held.is_releasing = true;
        }
        let errand = self.errand(Work::Held(scope.clone()), asked);
        self.calls.errands.push(errand);
        Ok(())
    }

    /// Begins to redrive dead letters.
    pub(in super::super) fn begin_letters(&mut self, letters: Vec<Row>, asked: Asked) {
        let mut errand = self.errand(Work::Letters, Some(asked));
        errand.rows.extend(letters);
        self.calls.errands.push(errand);
    }

    /// Ends the errand of a scope, because an operator discards its work. A call that runs for it ends without an effect.
    pub(in super::super) fn drop_errand(&mut self, scope: &Scope) {
        for errand in &mut self.calls.errands {
            if matches!(&errand.work, Work::Held(held) if held == scope) {
                errand.work = Work::Dropped;
                errand.deferred = None;
                errand.rows.clear();
                for asked in std::mem::take(&mut errand.asked) {
                    asked.tell(errand.report.clone());
                }
            }
        }
    }

    /// Releases the keys, and executes the commands, whose retries are due. Returns their number.
    pub(in super::super) async fn release_due(&mut self) -> Result<usize, Halt> {
        let mut begun = 0;
        while self.may_release() {
            self.read_due().await?;
            let first = self.machine.retries.due(self.now_ms());
            let Some((key, value)) = first.map(|(key, value)| (Box::from(key), value.to_owned()))
            else {
                break;
            };
            self.note_start().await?;
            begun += 1;
            let Ok(retried) = rows::read::<RetriedRow>(&key, &value) else {
                self.try_again(key, &value).await?;
                self.due = None;
                continue;
            };
            if let Some(scope) = self.takes_turn(key, retried).await? {
                self.begin_errand(&scope, None).await?;
            }
        }
        Ok(begun)
    }

    /// Continues interrupted releases, and starts due retries. The request is answered when they have ended.
    pub(in super::super) async fn fire_for(&mut self, answer: Answer<usize>) -> Result<(), Halt> {
        let begun = match self.is_paused {
            true => 0,
            false => {
                self.resume_releases().await?;
                self.release_due().await?
            }
        };
        self.calls.fired.push((answer, begun));
        Ok(())
    }

    /// Continues the errands. Returns whether one of them has moved.
    pub(super) async fn run_errands(&mut self) -> Result<bool, Halt> {
        let mut has_moved = false;
        for errand in std::mem::take(&mut self.calls.errands) {
            if let Some(errand) = self.run_errand(errand, &mut has_moved).await? {
                self.calls.errands.push(errand);
            }
        }
        if !self.calls.fired.is_empty() && (self.calls.errands.is_empty() || self.is_paused) {
            self.settle_all().await?;
            for (answer, begun) in std::mem::take(&mut self.calls.fired) {
                let _ = answer.send(begun);
            }
        }
        Ok(has_moved)
    }

    /// Continues an errand until it waits. `None` if it has ended.
    async fn run_errand(
        &mut self,
        mut errand: Errand,
        has_moved: &mut bool,
    ) -> Result<Option<Errand>, Halt> {
        loop {
            match std::mem::replace(&mut errand.call, State::NotBegun) {
                State::Running(number) => {
                    errand.call = State::Running(number);
                    return Ok(Some(errand));
                }
                State::Ended(outcome) => {
                    *has_moved = true;
                    self.take_piece(&mut errand, Some(outcome)).await?;
                    continue;
                }
                State::NotBegun => {}
            }
            // A paused handler continues for operators only.
            if self.is_paused && errand.asked.is_empty() {
                return Ok(Some(errand));
            }
            if matches!(errand.work, Work::Dropped) {
                errand.current = None;
            }
            if errand.current.is_none() && !self.next_piece(&mut errand).await? {
                *has_moved = true;
                self.end_errand(errand).await?;
                return Ok(None);
            }
            let Some(piece) = &errand.current else {
                continue;
            };
            let key = piece.key.clone();
            let is_own = matches!(&errand.work, Work::Held(Scope::Instance(_)));
            let needs_call = match &key {
                None => false,
                Some(key) => is_own || !self.is_held(key).await?,
            };
            let Some(key) = key.filter(|_| needs_call) else {
                *has_moved = true;
                self.take_piece(&mut errand, None).await?;
                continue;
            };
            if !self.may_call() || self.calls.window.is_busy(&key) {
                return Ok(Some(errand));
            }
            let Some(piece) = &errand.current else {
                continue;
            };
            let position = piece.shown.position();
            let (event, row) = (piece.shown.event(), piece.row.key.clone());
            if let Some(cause) = self.begins(|| format!("held {row}")).await? {
                errand.call = State::Ended(Err(cause));
                continue;
            }
            let attempt = self.machine.attempt_at(&key, position);
            self.calls.window.occupy(&key);
            self.call(Job::Errand(errand.id), event, attempt);
            errand.call = State::Running(None);
        }
    }

    /// Reads the next piece of an errand. Returns `false` if none is left.
    async fn next_piece(&mut self, errand: &mut Errand) -> Result<bool, Halt> {
        loop {
            if let Work::Held(scope) = &errand.work {
                let scope = scope.clone();
                if let Scope::Instance(key) = &scope {
                    self.is_held(key).await?;
                }
                if self.machine.is_parked(&scope) || !self.machine.holds(&scope) {
                    return Ok(false);
                }
                if errand.rows.is_empty() {
                    // Rows in flight belong to it, too.
                    if !self.machine.dirty.is_empty() || !self.in_flight.is_empty() {
                        self.settle_all().await?;
                    }
                    let range = RowRange::numbered(&scope.prefix());
                    errand.rows.extend(self.read_range(range, ROWS).await?);
                }
            }
            let Some(row) = errand.rows.pop_front() else {
                return Ok(false);
            };
            errand.current = match &errand.work {
                Work::Held(scope) => {
                    let scope = scope.clone();
                    self.held_piece(&scope, row, errand).await?
                }
                Work::Letters => self.letter_piece(row, errand).await?,
                Work::Dropped => None,
            };
            if errand.current.is_some() {
                return Ok(true);
            }
        }
    }

    /// An event that a scope holds. A held command is executed at once.
    async fn held_piece(
        &mut self,
        scope: &Scope,
        row: Row,
        errand: &mut Errand,
    ) -> Result<Option<Piece>, Halt> {
        let held = rows::read(&row.key, &row.value);
        let held: HeldRow = held.map_err(|reason| self.unreadable_row(reason))?;
        let has_failed = matches!(held, HeldRow::Failed(_));
        let (HeldRow::Event(at) | HeldRow::Failed(at)) = held else {
            if let HeldRow::Command(command) = held {
                let place = Some(row.key.clone());
                self.operator = errand.wait();
                self.execute(row.key, *command, place, false).await?;
                self.operator = None;
                errand.report.done += 1;
            }
            return Ok(None);
        };
        let Some(shown) = self.shown_at(at).await? else {
            let position = self.machine.position;
            self.machine.put(rows::remove(row.key), position);
            return Ok(None);
        };
        let key = match scope {
            Scope::Instance(key) => Some(Arc::from(&**key)),
            Scope::All | Scope::Stream(_) => key_of(&shown),
        };
        Ok(Some(Piece {
            row,
            shown,
            key,
            letter: None,
            has_failed,
        }))
    }

    /// An event whose dead letter is redriven. The dead letter of a command is executed at once.
    async fn letter_piece(&mut self, row: Row, errand: &mut Errand) -> Result<Option<Piece>, Halt> {
        if let Ok(DeadRow::Reaction(letter)) = DeadRow::read(&row.key, &row.value)
            && let HeldRow::Event(at) | HeldRow::Failed(at) = letter.reaction
        {
            let shown = self.shown_at(at).await?;
            return Ok(shown.map(|shown| Piece {
                row,
                key: key_of(&shown),
                shown,
                letter: Some(letter),
                has_failed: true,
            }));
        }
        self.operator = errand.wait();
        let report = self.redrive_command(row).await?;
        self.operator = None;
        errand.report.add(report);
        Ok(None)
    }

    /// Gives the current piece of an errand to the machine, with the outcome of its call.
    async fn take_piece(
        &mut self,
        errand: &mut Errand,
        outcome: Option<Outcome>,
    ) -> Result<(), Halt> {
        let Some(piece) = errand.current.take() else {
            return Ok(());
        };
        let Piece {
            row,
            shown,
            key,
            letter,
            has_failed,
        } = piece;
        if let Some(key) = &key {
            self.is_held(key).await?;
            if outcome.is_some() {
                self.calls.window.free(key);
            }
        }
        if matches!(errand.work, Work::Dropped) {
            return Ok(());
        }
        self.operator = errand.wait();
        if self.operator.is_some() {
            let operator = self.operator.take();
            self.flush().await?;
            self.operator = operator;
        }
        self.commits(|| format!("held {}", row.key));
        self.machine.called = outcome;
        let input = match (&errand.work, letter) {
            (Work::Held(Scope::Instance(key)), _) => Input::Held {
                key,
                row: row.key,
                shown: &shown,
                has_failed,
                is_behind: false,
            },
            (Work::Held(_) | Work::Dropped, _) | (Work::Letters, None) => {
                let position = self.machine.position;
                self.machine.put(rows::remove(row.key), position);
                Input::Event {
                    shown: &shown,
                    nth: 0,
                }
            }
            (Work::Letters, Some(letter)) => Input::Letter {
                row: row.key,
                letter: *letter,
                shown: Some(&shown),
            },
        };
        let report = self.step(input).await;
        self.machine.called = None;
        self.operator = None;
        match errand.work {
            Work::Letters => errand.report.add(report?),
            Work::Held(_) | Work::Dropped => drop(report?),
        }
        if let Work::Held(scope) = &errand.work
            && !self.machine.is_parked(scope)
        {
            errand.report.done += 1;
        }
        Ok(())
    }

    /// Ends an errand without work.
    async fn end_errand(&mut self, mut errand: Errand) -> Result<(), Halt> {
        if let Work::Held(scope) = &errand.work {
            if self.machine.is_parked(scope) {
                errand.report.failed = 1;
            }
            self.machine.end_release(scope);
        }
        self.calls.window.recheck();
        if !errand.asked.is_empty() {
            self.operator = errand.wait();
            self.settle_all().await?;
            self.operator = None;
            for asked in errand.asked {
                asked.tell(errand.report.clone());
            }
        }
        Ok(())
    }

    /// Takes the outcomes of the calls of errands that have ended, because the store closes. The rest of their work stays held.
    pub(super) async fn take_last_errands(&mut self) -> Result<(), Halt> {
        for mut errand in std::mem::take(&mut self.calls.errands) {
            match std::mem::replace(&mut errand.call, State::NotBegun) {
                State::Ended(outcome) => self.take_piece(&mut errand, Some(outcome)).await?,
                running @ State::Running(_) => {
                    errand.call = running;
                    self.calls.errands.push(errand);
                }
                State::NotBegun => {}
            }
        }
        Ok(())
    }
}

fn key_of(shown: &Shown) -> Option<Arc<str>> {
    shown.joins().first().map(|join| Arc::from(&*join.key))
}

fn tell(asked: Option<Asked>, report: Report) {
    if let Some(asked) = asked {
        asked.tell(report);
    }
}
