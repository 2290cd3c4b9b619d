//! Failure scenarios of process managers by their number in the collection, on process managers that the macro declares.
//!
//! | scenarios | tests |
//! |---|---|
//! | 1 to 9, 15, 18, 19 | `crashes`: after a crash at each operation on the disk |
//! | 10 to 12 | `deadlines` |
//! | 13, 14, 21, 22, 24 | `failures` |
//! | 17, 25, 26 | `files` |
//! | 20 | `states` |
//! | 23 | `chaos` |
//! | 16 | `operations::aborts`, in processes of their own |
//!
//! Beside them, what an operator asks for (`parked_work`, `dead_letters`, `skipped`, `paused`, with what they share in `operator`) and is
//! told of the reactions (`answers`) and of letters that were handed over (`redriven`), what
//! parked instances hold (`held`, `held_deadlines`, `released`, and `letters` that are redriven meanwhile), where all stay (`staying`),
//! which instances are there (`beginnings`), `starting_points` (`start = "now"`), `migrations` (`state_version`), `unreadable` (states
//! that no program reads, and `unreadable_instances`), `rebuilt` (states that are made again meanwhile), `retries` (of commands whose
//! target cannot be read), `order_of_time` (deadlines among events) and `causes` (`meta` of what is sent late).

mod answers;
mod beginnings;
mod causes;
mod chaos;
mod crashes;
mod dead_letters;
mod deadlines;
mod domain;
mod failures;
mod files;
mod held;
mod held_deadlines;
mod interrupted;
mod letters;
mod migrations;
mod operator;
mod order_of_time;
mod parked_work;
mod paused;
mod rebuilt;
mod redriven;
mod released;
mod retries;
mod skipped;
mod starting_points;
mod states;
mod staying;
mod unreadable;
mod unreadable_instances;
mod worker;
