//! A subscriber that keeps what it is told.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A span or a line as text: `name field=value ..`.
#[derive(Debug, Clone)]
pub struct Told {
    pub level: Level,
    pub text: String,
    /// The names of the spans that it is in, the outermost first.
    pub within: Vec<String>,
}

#[derive(Default)]
struct State {
    spans: HashMap<u64, Told>,
    /// Those that are closed, too.
    all_spans: Vec<u64>,
    lines: Vec<Told>,
    entered: HashMap<ThreadId, Vec<u64>>,
}

/// See the [module](self).
#[derive(Default)]
pub struct Collector {
    next: AtomicU64,
    state: Mutex<State>,
}

impl Collector {
    /// The one of this process: the store has threads of its own.
    pub fn global() -> &'static Self {
        static INSTALLED: OnceLock<&'static Collector> = OnceLock::new();
        INSTALLED.get_or_init(|| {
            let collector: &'static Self = Box::leak(Box::default());
            tracing::subscriber::set_global_default(collector).unwrap();
            collector
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The lines that have a text.
    pub fn lines(&self, with: &str) -> Vec<Told> {
        let state = self.state();
        let lines = state.lines.iter();
        lines
            .filter(|line| line.text.contains(with))
            .cloned()
            .collect()
    }

    /// The spans that have a text.
    pub fn spans(&self, with: &str) -> Vec<Told> {
        let state = self.state();
        let spans = state.all_spans.iter().map(|id| &state.spans[id]);
        spans
            .filter(|span| span.text.contains(with))
            .cloned()
            .collect()
    }
}

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for &'static Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target.starts_with("eventfold_es") || target.starts_with("operations::health")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut text = span.metadata().name().to_owned();
        span.record(&mut Text(&mut text));
        let mut state = self.state();
        let within = state.within();
        let level = *span.metadata().level();
        let told = Told {
            level,
            text,
            within,
        };
        state.spans.insert(id, told);
        state.all_spans.push(id);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(span) = self.state().spans.get_mut(&span.into_u64()) {
            values.record(&mut Text(&mut span.text));
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        if text.contains("the store is poisoned") {
            // A caller that learned of the failure too early would find the store healthy.
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut state = self.state();
        let within = state.within();
        let level = *event.metadata().level();
        state.lines.push(Told {
            level,
            text,
            within,
        });
    }

    fn enter(&self, span: &Id) {
        let thread = std::thread::current().id();
        let mut state = self.state();
        state
            .entered
            .entry(thread)
            .or_default()
            .push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let thread = std::thread::current().id();
        let mut state = self.state();
        let entered = state.entered.entry(thread).or_default();
        assert_eq!(entered.pop(), Some(span.into_u64()), "spans are nested");
    }
}

impl State {
    fn within(&self) -> Vec<String> {
        let entered = self.entered.get(&std::thread::current().id());
        let entered = entered.into_iter().flatten();
        entered
            .map(|id| {
                let text = &self.spans[id].text;
                text.split(' ').next().unwrap_or_default().to_owned()
            })
            .collect()
    }
}
