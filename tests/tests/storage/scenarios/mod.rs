//! Failure scenarios by their number in the collection, those that no other test is named after.
//!
//! | scenarios | tests |
//! |---|---|
//! | 27 | `torn_tail`, and sampled in `campaigns::crash_enumeration` |
//! | 28, 29 | `campaigns::{crash_enumeration, killed}` |
//! | 30, 31, 32 | `campaigns::failed_calls` |
//! | 33 | `flipped_bits`, and sampled in `recovery` |
//! | 34, 36 | `stores::aggregates` |
//! | 35 | `stores::ids` |
//! | 37 | `operations::second_opener` |
//! | 38 | `few_descriptors` |
//! | 39 | `stores::{aggregates, hard_values}` |
//! | 40 | `operations::clock`, in a process of its own, because it sets the clock of its process |
//! | 41 | `read_only` |
//! | 42 | `older_copies` |
//! | 43 | `stores::projections` |

mod everything;
mod few_descriptors;
mod flipped_bits;
mod older_copies;
mod read_only;
mod torn_tail;
