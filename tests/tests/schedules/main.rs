//! Schedules: which occurrences are recorded, when, and who learns of them.

#[cfg(not(eventfold_sabotage))]
mod changes;
#[cfg(not(eventfold_sabotage))]
mod clocks;
#[cfg(not(eventfold_sabotage))]
mod closing;
#[cfg(not(eventfold_sabotage))]
mod copies;
#[cfg(not(eventfold_sabotage))]
mod crashes;
#[cfg(not(eventfold_sabotage))]
mod daylight_saving;
#[cfg(not(eventfold_sabotage))]
mod failures;
#[cfg(not(eventfold_sabotage))]
mod files;
#[cfg(not(eventfold_sabotage))]
mod missed;
#[cfg(not(eventfold_sabotage))]
mod subscribers;
#[cfg(not(eventfold_sabotage))]
mod world;
