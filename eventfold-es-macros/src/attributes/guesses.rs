//! Plausible wrong keys of several macros.

use super::{Guess, Key};

/// Words for `subscribes`.
pub(crate) const SUBSCRIBES: &[&str] = &[
    "subscribe",
    "subscription",
    "subscriptions",
    "subscribes_to",
    "events",
    "event",
    "handles",
    "listens",
    "listens_to",
    "on",
    "sources",
    "aggregates",
    "reacts",
    "reacts_to",
];

/// Words for `key`.
pub(crate) const KEYED: &[&str] = &[
    "keyed",
    "keyed_by",
    "key_type",
    "keys",
    "per",
    "by",
    "instance",
    "instances",
    "correlate",
    "correlates",
    "correlate_by",
    "correlated_by",
    "correlation",
    "correlation_id",
    "partition_by",
];

/// Words for `on_failure`.
pub(crate) const ON_FAILURE: &[&str] = &[
    "on_error",
    "on_reject",
    "on_rejected",
    "failure",
    "failures",
    "failure_policy",
    "error_policy",
    "policy",
    "retry",
    "retries",
    "backoff",
    "handle_failure",
    "handles_failures",
    "compensates",
];

/// Commands that are sent.
pub(crate) const DISPATCHES: Guess = Guess {
    words: &[
        "dispatch",
        "dispatches_to",
        "commands",
        "command",
        "sends",
        "sends_to",
        "targets",
        "emits",
        "issues",
    ],
    key: Some(Key::Dispatches),
    answer: "the aggregates it sends commands to are listed as `dispatches = [Inventory]`",
};

/// A starting point.
pub(crate) const START: Guess = Guess {
    words: &[
        "from",
        "starts",
        "start_from",
        "starts_from",
        "start_at",
        "starts_at",
        "since",
        "position",
    ],
    key: Some(Key::Start),
    answer: "where it starts is given as `start = \"now\"`",
};
