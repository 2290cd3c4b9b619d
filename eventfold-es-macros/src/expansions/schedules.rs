//! The expansions of `#[schedule]`.

use proc_macro2::TokenStream;
use quote::quote;

use super::{check, shop};
use crate::event_store::event_store;
use crate::schedule::{schedule, without_the_feature};

pub(super) fn nightly() -> TokenStream {
    quote! {
        /// Two in the morning in Berlin.
        #[derive(Debug)]
        pub struct Nightly;
    }
}

#[test]
fn schedule_by_default() {
    check("schedule", schedule(quote!(cron = "0 2 * * *"), nightly()));
}

#[test]
fn schedule_with_every_argument() {
    let arguments = quote!(
        cron = times::NIGHTLY,
        time_zone = "Europe/Berlin",
        missed = "all",
        name = "night",
        crate = my::es
    );
    check("schedule_arguments", schedule(arguments, nightly()));
}

/// A schedule with a mistake.
#[test]
fn schedule_fallback() {
    check("schedule_fallback", schedule(quote!(cron = 2), nightly()));
}

#[test]
fn event_store_with_schedules() {
    let arguments = quote!(aggregates = [Order], schedules = [Nightly]);
    check("event_store_schedules", event_store(arguments, shop()));
}

#[test]
fn without_the_feature_the_item_stays_with_one_error() {
    let item = nightly();
    let output = without_the_feature(&item).to_string();
    assert!(output.starts_with(&item.to_string()), "{output}");
    let said = "`#[schedule]` needs the feature `schedules` of `eventfold-es`";
    assert!(output.contains(said), "{output}");
    assert_eq!(output.matches("compile_error").count(), 1, "{output}");
}
