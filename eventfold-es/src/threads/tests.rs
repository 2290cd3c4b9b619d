use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::{Next, StoreRuntime, Turn, Turns, Worker};

/// Longer than any step of these tests takes.
const LONG: Duration = Duration::from_secs(60);

/// A worker whose turns are a closure.
struct Doing<F> {
    turn: F,
    ended: Sender<&'static str>,
}

impl<F: FnMut(&Turn<'_>) -> Next + Send + 'static> Turns for Doing<F> {
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        (self.turn)(turn)
    }

    fn panicked(&mut self) {
        let _ = self.ended.send("panicked");
    }
}

impl<F> Drop for Doing<F> {
    fn drop(&mut self) {
        let _ = self.ended.send("dropped");
    }
}

fn lane(max_threads: usize) -> Arc<Lane> {
    Lane::new("eventfold-es-test", max_threads, LONG)
}

/// Starts a worker on the lane, and returns it with the channel that reports its end.
fn begin(
    lane: &Arc<Lane>,
    turn: impl FnMut(&Turn<'_>) -> Next + Send + 'static,
) -> io::Result<(Worker, Receiver<&'static str>)> {
    let (sender, receiver) = mpsc::channel();
    let worker = Worker::new(StoreRuntime::new(), Arc::clone(lane))?;
    worker.begin(Doing {
        turn,
        ended: sender,
    });
    Ok((worker, receiver))
}

fn wait_until(reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < LONG, "it does not come");
        thread::yield_now();
    }
}

#[test]
fn every_wake_is_seen_by_a_turn_and_turns_come_one_at_a_time() -> io::Result<()> {
    const WAKES: usize = 500;
    let lane = lane(4);
    let handed_over = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    let is_running = AtomicBool::new(false);
    let (given, told) = (Arc::clone(&handed_over), Arc::clone(&seen));
    let (worker, _ended) = begin(&lane, move |_| {
        assert!(
            !is_running.swap(true, Ordering::SeqCst),
            "two turns at once"
        );
        told.store(given.load(Ordering::SeqCst), Ordering::SeqCst);
        thread::yield_now();
        is_running.store(false, Ordering::SeqCst);
        Next::Idle
    })?;
    for round in 1..=4 {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..WAKES {
                        handed_over.fetch_add(1, Ordering::SeqCst);
                        worker.wake();
                    }
                });
            }
        });
        wait_until(|| seen.load(Ordering::SeqCst) == round * 2 * WAKES);
    }
    Ok(())
}

#[test]
fn a_turn_that_is_to_come_later_comes_by_itself_or_when_it_is_woken() -> io::Result<()> {
    let lane = lane(2);
    let (sender, turns) = mpsc::channel();
    let mut number = 0;
    let (worker, ended) = begin(&lane, move |_| {
        number += 1;
        let _ = sender.send(number);
        match number {
            1 => Next::Later(Duration::from_millis(1)),
            2 => Next::Later(LONG * 60),
            _ => Next::Ended,
        }
    })?;
    assert_eq!(turns.recv_timeout(LONG), Ok(1));
    assert_eq!(turns.recv_timeout(LONG), Ok(2));
    worker.wake();
    assert_eq!(turns.recv_timeout(LONG), Ok(3));
    assert_eq!(ended.recv_timeout(LONG), Ok("dropped"));
    // The worker has ended, so waking it has no effect.
    worker.wake();
    assert!(turns.recv_timeout(LONG).is_err());
    Ok(())
}

#[test]
fn who_has_more_to_do_lets_others_have_the_only_thread() -> io::Result<()> {
    let lane = lane(1);
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    let (_busy, busy_ended) = begin(&lane, move |turn| {
        while !done.load(Ordering::SeqCst) {
            if turn.others_wait() {
                return Next::Again;
            }
        }
        Next::Ended
    })?;
    let (_other, other_ended) = begin(&lane, move |_| {
        is_done.store(true, Ordering::SeqCst);
        Next::Ended
    })?;
    assert_eq!(other_ended.recv_timeout(LONG), Ok("dropped"));
    assert_eq!(busy_ended.recv_timeout(LONG), Ok("dropped"));
    assert_eq!(lane.threads(), 1);
    Ok(())
}

#[test]
fn there_are_as_many_threads_as_work_that_blocks_up_to_the_bound() -> io::Result<()> {
    const THREADS: usize = 3;
    let lane = lane(THREADS);
    let all = Arc::new(Barrier::new(THREADS + 1));
    let mut workers = Vec::new();
    for _ in 0..THREADS * 2 {
        let all = Arc::clone(&all);
        workers.push(begin(&lane, move |_| {
            all.wait();
            Next::Ended
        })?);
    }
    // Each round passes only if all threads take part.
    for _ in 0..2 {
        all.wait();
    }
    for (_, ended) in &workers {
        assert_eq!(ended.recv_timeout(LONG), Ok("dropped"));
    }
    assert_eq!(lane.threads(), THREADS);
    Ok(())
}

#[test]
fn a_panic_ends_its_worker_and_no_other() -> io::Result<()> {
    let lane = lane(1);
    let (_panics, ended) = begin(&lane, |_| std::panic::resume_unwind(Box::new("no")))?;
    assert_eq!(ended.recv_timeout(LONG), Ok("panicked"));
    assert_eq!(ended.recv_timeout(LONG), Ok("dropped"));
    let (_other, ended) = begin(&lane, |_| Next::Ended)?;
    assert_eq!(ended.recv_timeout(LONG), Ok("dropped"));
    assert_eq!(lane.threads(), 1);
    Ok(())
}

#[test]
fn one_thread_stays_for_an_idle_worker_and_none_without_one() -> io::Result<()> {
    let lane = Lane::new("eventfold-es-test", 4, Duration::ZERO);
    let all = Arc::new(Barrier::new(5));
    let mut workers = Vec::new();
    for _ in 0..4 {
        let all = Arc::clone(&all);
        let mut is_first = true;
        workers.push(begin(&lane, move |_| {
            if std::mem::take(&mut is_first) {
                all.wait();
            }
            Next::Idle
        })?);
    }
    all.wait();
    wait_until(|| (lane.threads(), lane.parked()) == (1, 1));
    let last = workers.pop();
    drop(workers);
    assert_eq!((lane.threads(), lane.parked()), (1, 1));
    drop(last);
    wait_until(|| lane.threads() == 0);
    Ok(())
}

#[test]
fn the_threads_end_with_the_last_handle() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = StoreRuntime::new();
    let place = std::path::Path::new("here");
    let worker = runtime.upkeep_worker(place)?;
    let (sender, result) = mpsc::channel();
    runtime.submit(move || {
        let _ = sender.send(7);
    })?;
    assert_eq!(result.recv_timeout(LONG), Ok(7));
    let lane: Weak<Lane> = Arc::downgrade(&runtime.lanes.upkeep);
    drop(runtime);
    assert!(lane.upgrade().is_some(), "the worker keeps it");
    drop(worker);
    // Each thread holds the lane.
    wait_until(|| lane.strong_count() == 0);
    Ok(())
}

#[test]
fn what_waits_for_the_disk_is_done_at_once_and_in_order() {
    let runtime = StoreRuntime::new();
    for count in [0, 1, 2, 50] {
        let doubled = runtime.at_once((0..count).collect(), |item: &u64| 2 * item);
        assert!(doubled.into_iter().eq((0..count).map(|item| 2 * item)));
    }
    let slow = |item: &u64| {
        thread::sleep(Duration::from_millis(5));
        (*item, thread::current().id())
    };
    let (items, mut threads): (Vec<_>, Vec<_>) =
        runtime.at_once((0..80).collect(), slow).into_iter().unzip();
    assert!(items.into_iter().eq(0..80));
    assert!(threads.contains(&thread::current().id()));
    threads.sort_unstable_by_key(|id| format!("{id:?}"));
    threads.dedup();
    assert!((3..=8).contains(&threads.len()), "{}", threads.len());
}

/// Nothing of a store that was just opened is in memory.
#[test]
fn the_first_items_are_done_at_once_from_the_start() {
    let runtime = StoreRuntime::new();
    let nothing: Vec<u64> = Vec::new();
    assert!(runtime.at_once(nothing, |item| *item).is_empty());
    let started = Arc::new(AtomicUsize::new(0));
    let met = runtime.at_once(vec![1, 2], move |_| {
        started.fetch_add(1, Ordering::SeqCst);
        let begun = Instant::now();
        while started.load(Ordering::SeqCst) < 2 && begun.elapsed() < Duration::from_secs(9) {
            thread::yield_now();
        }
        started.load(Ordering::SeqCst)
    });
    assert_eq!(met, [2, 2]);
}

/// All threads are busy until the items are done.
#[test]
fn what_is_done_at_once_needs_no_other_thread() {
    let runtime = StoreRuntime::new();
    let busy = Arc::new(Barrier::new(super::UPKEEP_THREADS + 1));
    for _ in 0..super::UPKEEP_THREADS {
        let busy = Arc::clone(&busy);
        let submitted = runtime.submit(move || {
            busy.wait();
        });
        assert!(submitted.is_ok());
    }
    let done = runtime.at_once(vec![1, 2, 3], |item| {
        thread::sleep(Duration::from_millis(1));
        2 * item
    });
    assert_eq!(done, [2, 4, 6]);
    busy.wait();
}

#[test]
fn what_a_helper_has_panicked_at_is_done_by_the_caller() {
    let runtime = StoreRuntime::new();
    let caller = thread::current().id();
    let done = runtime.at_once((0..40).collect(), move |item: &u64| {
        thread::sleep(Duration::from_millis(1));
        if thread::current().id() != caller {
            std::panic::resume_unwind(Box::new("no"));
        }
        *item
    });
    assert!(done.into_iter().eq(0..40));
}
