//! A runtime whose clock stands still while code runs, and moves on to the next timer when all code waits.

use std::cell::OnceCell;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::Instant;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread with a runtime of its own, so that a test may run inside another runtime. The first future starts it.
#[derive(Debug, Default)]
pub(super) struct VirtualTime(OnceCell<Clockwork>);

#[derive(Debug)]
struct Clockwork {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl VirtualTime {
    /// Runs a future to its end. Returns the time that it took on the virtual clock.
    #[track_caller]
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (T, Duration) {
        let clockwork = self.0.get_or_init(Clockwork::start);
        let (done, result) = mpsc::channel();
        let job: Job = Box::pin(async move {
            let begin = Instant::now();
            let value = future.await;
            let _ = done.send((value, begin.elapsed()));
        });
        let sent = clockwork.jobs.as_ref().map(|jobs| jobs.send(job));
        match (sent, result.recv()) {
            (Some(Ok(())), Ok(done)) => done,
            _ => panic!("the thread of the virtual clock has panicked"),
        }
    }
}

impl Clockwork {
    fn start() -> Self {
        let (jobs, received) = mpsc::channel::<Job>();
        let mut builder = Builder::new_current_thread();
        let runtime = match builder.enable_time().start_paused(true).build() {
            Ok(runtime) => runtime,
            Err(error) => panic!("a test of an event handler has no runtime: {error}"),
        };
        let work = move || {
            for job in received {
                runtime.block_on(job);
            }
            // A blocking call may never return.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("virtual time".to_owned());
        match thread.spawn(work) {
            Ok(thread) => Self {
                jobs: Some(jobs),
                thread: Some(thread),
            },
            Err(error) => panic!("a test of an event handler has no thread: {error}"),
        }
    }
}

impl Drop for Clockwork {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_while_all_code_waits() {
        let time = VirtualTime::default();
        let hour = Duration::from_secs(3600);
        let (value, taken) = time.run(async move {
            tokio::time::sleep(hour).await;
            7
        });
        assert_eq!((value, taken), (7, hour));
        assert_eq!(time.run(async {}).1, Duration::ZERO);
        let (ended, taken) = time.run(async move {
            let never = std::future::pending::<()>();
            tokio::time::timeout(hour, never).await
        });
        assert!(ended.is_err() && taken == hour);
    }
}
