//! The twins of the compile-fail cases: each is the program of its case without the mistake, and compiles.
//!
//! They are modules of one program, so that they are built at once. `compile_fail` sees to it that none is missing.

#![allow(
    dead_code,
    unused,
    non_local_definitions,
    clippy::all,
    reason = "what a twin is like is decided by its case"
)]

#[path = "../../ui/aggregates/attribute_missing.pass.rs"]
mod aggregates_attribute_missing;
#[path = "../../ui/aggregates/attribute_misspelt.pass.rs"]
mod aggregates_attribute_misspelt;
#[path = "../../ui/aggregates/attribute_twice.pass.rs"]
mod aggregates_attribute_twice;
#[path = "../../ui/aggregates/command_of_another_aggregate.pass.rs"]
mod aggregates_command_of_another_aggregate;
#[path = "../../ui/aggregates/command_of_another_crate.pass.rs"]
mod aggregates_command_of_another_crate;
#[path = "../../ui/aggregates/command_of_two_aggregates.pass.rs"]
mod aggregates_command_of_two_aggregates;
#[path = "../../ui/aggregates/command_type_missing.pass.rs"]
mod aggregates_command_type_missing;
#[path = "../../ui/aggregates/command_with_a_lifetime.pass.rs"]
mod aggregates_command_with_a_lifetime;
#[path = "../../ui/aggregates/context_decider_missing.pass.rs"]
mod aggregates_context_decider_missing;
#[path = "../../ui/aggregates/context_not_declared.pass.rs"]
mod aggregates_context_not_declared;
#[path = "../../ui/aggregates/context_not_taken.pass.rs"]
mod aggregates_context_not_taken;
#[path = "../../ui/aggregates/context_taken_by_decider.pass.rs"]
mod aggregates_context_taken_by_decider;
#[path = "../../ui/aggregates/decide_missing.pass.rs"]
mod aggregates_decide_missing;
#[path = "../../ui/aggregates/decider_missing.pass.rs"]
mod aggregates_decider_missing;
#[path = "../../ui/aggregates/decides_another_command.pass.rs"]
mod aggregates_decides_another_command;
#[path = "../../ui/aggregates/decides_asynchronously.pass.rs"]
mod aggregates_decides_asynchronously;
#[path = "../../ui/aggregates/decides_both_ways.pass.rs"]
mod aggregates_decides_both_ways;
#[path = "../../ui/aggregates/decides_commands.pass.rs"]
mod aggregates_decides_commands;
#[path = "../../ui/aggregates/error_is_a_text.pass.rs"]
mod aggregates_error_is_a_text;
#[path = "../../ui/aggregates/error_not_an_error.pass.rs"]
mod aggregates_error_not_an_error;
#[path = "../../ui/aggregates/error_of_another_type.pass.rs"]
mod aggregates_error_of_another_type;
#[path = "../../ui/aggregates/error_of_one_thread.pass.rs"]
mod aggregates_error_of_one_thread;
#[path = "../../ui/aggregates/error_type_missing.pass.rs"]
mod aggregates_error_type_missing;
#[path = "../../ui/aggregates/error_without_the_trait.pass.rs"]
mod aggregates_error_without_the_trait;
#[path = "../../ui/aggregates/error_without_the_trait_used.pass.rs"]
mod aggregates_error_without_the_trait_used;
#[path = "../../ui/aggregates/event_is_the_command.pass.rs"]
mod aggregates_event_is_the_command;
#[path = "../../ui/aggregates/event_not_a_domain_event.pass.rs"]
mod aggregates_event_not_a_domain_event;
#[path = "../../ui/aggregates/event_not_a_domain_event_subscribed.pass.rs"]
mod aggregates_event_not_a_domain_event_subscribed;
#[path = "../../ui/aggregates/evolve_missing.pass.rs"]
mod aggregates_evolve_missing;
#[path = "../../ui/aggregates/evolves_by_value.pass.rs"]
mod aggregates_evolves_by_value;
#[path = "../../ui/aggregates/implemented_twice.pass.rs"]
mod aggregates_implemented_twice;
#[path = "../../ui/aggregates/state_unfinished.pass.rs"]
mod aggregates_state_unfinished;
#[path = "../../ui/arguments/aggregate_equals.pass.rs"]
mod arguments_aggregate_equals;
#[path = "../../ui/arguments/aggregate_subscribes.pass.rs"]
mod arguments_aggregate_subscribes;
#[path = "../../ui/arguments/colon.pass.rs"]
mod arguments_colon;
#[path = "../../ui/arguments/comma_missing.pass.rs"]
mod arguments_comma_missing;
#[path = "../../ui/arguments/command_by_reference.pass.rs"]
mod arguments_command_by_reference;
#[path = "../../ui/arguments/command_list.pass.rs"]
mod arguments_command_list;
#[path = "../../ui/arguments/concurrency_constant_zero.pass.rs"]
mod arguments_concurrency_constant_zero;
#[path = "../../ui/arguments/concurrency_zero.pass.rs"]
mod arguments_concurrency_zero;
#[path = "../../ui/arguments/context_with_value.pass.rs"]
mod arguments_context_with_value;
#[path = "../../ui/arguments/crate_not_a_path.pass.rs"]
mod arguments_crate_not_a_path;
#[path = "../../ui/arguments/deadlines_collide.pass.rs"]
mod arguments_deadlines_collide;
#[path = "../../ui/arguments/deadlines_without_brackets.pass.rs"]
mod arguments_deadlines_without_brackets;
#[path = "../../ui/arguments/envelope_in_quotes.pass.rs"]
mod arguments_envelope_in_quotes;
#[path = "../../ui/arguments/envelope_not_a_name.pass.rs"]
mod arguments_envelope_not_a_name;
#[path = "../../ui/arguments/envelope_of_its_own_name.pass.rs"]
mod arguments_envelope_of_its_own_name;
#[path = "../../ui/arguments/envelope_with_a_path.pass.rs"]
mod arguments_envelope_with_a_path;
#[path = "../../ui/arguments/error_boxed.pass.rs"]
mod arguments_error_boxed;
#[path = "../../ui/arguments/event_in_a_vec.pass.rs"]
mod arguments_event_in_a_vec;
#[path = "../../ui/arguments/event_is_the_aggregate.pass.rs"]
mod arguments_event_is_the_aggregate;
#[path = "../../ui/arguments/event_store_equals.pass.rs"]
mod arguments_event_store_equals;
#[path = "../../ui/arguments/event_store_string_alone.pass.rs"]
mod arguments_event_store_string_alone;
#[path = "../../ui/arguments/fingerprint_by_value.pass.rs"]
mod arguments_fingerprint_by_value;
#[path = "../../ui/arguments/fingerprint_called.pass.rs"]
mod arguments_fingerprint_called;
#[path = "../../ui/arguments/fingerprint_closure.pass.rs"]
mod arguments_fingerprint_closure;
#[path = "../../ui/arguments/fingerprint_not_serializable.pass.rs"]
mod arguments_fingerprint_not_serializable;
#[path = "../../ui/arguments/given_twice.pass.rs"]
mod arguments_given_twice;
#[path = "../../ui/arguments/guessed.pass.rs"]
mod arguments_guessed;
#[path = "../../ui/arguments/guessed_aggregate_type.pass.rs"]
mod arguments_guessed_aggregate_type;
#[path = "../../ui/arguments/guessed_command_enum.pass.rs"]
mod arguments_guessed_command_enum;
#[path = "../../ui/arguments/guessed_commands.pass.rs"]
mod arguments_guessed_commands;
#[path = "../../ui/arguments/guessed_context.pass.rs"]
mod arguments_guessed_context;
#[path = "../../ui/arguments/guessed_error.pass.rs"]
mod arguments_guessed_error;
#[path = "../../ui/arguments/guessed_event_type.pass.rs"]
mod arguments_guessed_event_type;
#[path = "../../ui/arguments/guessed_fingerprint.pass.rs"]
mod arguments_guessed_fingerprint;
#[path = "../../ui/arguments/guessed_id.pass.rs"]
mod arguments_guessed_id;
#[path = "../../ui/arguments/guessed_in_event_handler.pass.rs"]
mod arguments_guessed_in_event_handler;
#[path = "../../ui/arguments/guessed_index.pass.rs"]
mod arguments_guessed_index;
#[path = "../../ui/arguments/guessed_instances.pass.rs"]
mod arguments_guessed_instances;
#[path = "../../ui/arguments/guessed_key.pass.rs"]
mod arguments_guessed_key;
#[path = "../../ui/arguments/guessed_name.pass.rs"]
mod arguments_guessed_name;
#[path = "../../ui/arguments/guessed_on_error.pass.rs"]
mod arguments_guessed_on_error;
#[path = "../../ui/arguments/guessed_retry.pass.rs"]
mod arguments_guessed_retry;
#[path = "../../ui/arguments/guessed_sink.pass.rs"]
mod arguments_guessed_sink;
#[path = "../../ui/arguments/guessed_snapshot_version.pass.rs"]
mod arguments_guessed_snapshot_version;
#[path = "../../ui/arguments/guessed_snapshots.pass.rs"]
mod arguments_guessed_snapshots;
#[path = "../../ui/arguments/guessed_sources.pass.rs"]
mod arguments_guessed_sources;
#[path = "../../ui/arguments/guessed_start.pass.rs"]
mod arguments_guessed_start;
#[path = "../../ui/arguments/guessed_state.pass.rs"]
mod arguments_guessed_state;
#[path = "../../ui/arguments/guessed_state_version.pass.rs"]
mod arguments_guessed_state_version;
#[path = "../../ui/arguments/guessed_timers.pass.rs"]
mod arguments_guessed_timers;
#[path = "../../ui/arguments/guessed_unknown_events.pass.rs"]
mod arguments_guessed_unknown_events;
#[path = "../../ui/arguments/guessed_version.pass.rs"]
mod arguments_guessed_version;
#[path = "../../ui/arguments/handler_on_failure_with_value.pass.rs"]
mod arguments_handler_on_failure_with_value;
#[path = "../../ui/arguments/key_by_reference.pass.rs"]
mod arguments_key_by_reference;
#[path = "../../ui/arguments/key_in_quotes.pass.rs"]
mod arguments_key_in_quotes;
#[path = "../../ui/arguments/list_as_a_vec.pass.rs"]
mod arguments_list_as_a_vec;
#[path = "../../ui/arguments/list_in_an_option.pass.rs"]
mod arguments_list_in_an_option;
#[path = "../../ui/arguments/list_in_quotes.pass.rs"]
mod arguments_list_in_quotes;
#[path = "../../ui/arguments/list_of_self.pass.rs"]
mod arguments_list_of_self;
#[path = "../../ui/arguments/list_without_commas.pass.rs"]
mod arguments_list_without_commas;
#[path = "../../ui/arguments/listed_twice.pass.rs"]
mod arguments_listed_twice;
#[path = "../../ui/arguments/listed_twice_in_dispatches.pass.rs"]
mod arguments_listed_twice_in_dispatches;
#[path = "../../ui/arguments/misspelt.pass.rs"]
mod arguments_misspelt;
#[path = "../../ui/arguments/name_not_a_string.pass.rs"]
mod arguments_name_not_a_string;
#[path = "../../ui/arguments/name_without_quotes.pass.rs"]
mod arguments_name_without_quotes;
#[path = "../../ui/arguments/none_at_all.pass.rs"]
mod arguments_none_at_all;
#[path = "../../ui/arguments/on_failure_with_value.pass.rs"]
mod arguments_on_failure_with_value;
#[path = "../../ui/arguments/parentheses.pass.rs"]
mod arguments_parentheses;
#[path = "../../ui/arguments/parentheses_around_list.pass.rs"]
mod arguments_parentheses_around_list;
#[path = "../../ui/arguments/process_manager_equals.pass.rs"]
mod arguments_process_manager_equals;
#[path = "../../ui/arguments/projection_equals.pass.rs"]
mod arguments_projection_equals;
#[path = "../../ui/arguments/projection_on_failure_misspelt.pass.rs"]
mod arguments_projection_on_failure_misspelt;
#[path = "../../ui/arguments/projection_on_failure_not_a_value.pass.rs"]
mod arguments_projection_on_failure_not_a_value;
#[path = "../../ui/arguments/projection_on_failure_without_value.pass.rs"]
mod arguments_projection_on_failure_without_value;
#[path = "../../ui/arguments/projection_version_constant_zero.pass.rs"]
mod arguments_projection_version_constant_zero;
#[path = "../../ui/arguments/projection_version_zero.pass.rs"]
mod arguments_projection_version_zero;
#[path = "../../ui/arguments/reference_in_list.pass.rs"]
mod arguments_reference_in_list;
#[path = "../../ui/arguments/several_mistakes.pass.rs"]
mod arguments_several_mistakes;
#[path = "../../ui/arguments/sink_in_quotes.pass.rs"]
mod arguments_sink_in_quotes;
#[path = "../../ui/arguments/snapshot_version_negative.pass.rs"]
mod arguments_snapshot_version_negative;
#[path = "../../ui/arguments/snapshot_version_not_a_number.pass.rs"]
mod arguments_snapshot_version_not_a_number;
#[path = "../../ui/arguments/snapshot_version_of_another_type.pass.rs"]
mod arguments_snapshot_version_of_another_type;
#[path = "../../ui/arguments/start_misspelt.pass.rs"]
mod arguments_start_misspelt;
#[path = "../../ui/arguments/start_not_a_value.pass.rs"]
mod arguments_start_not_a_value;
#[path = "../../ui/arguments/state_version_constant_zero.pass.rs"]
mod arguments_state_version_constant_zero;
#[path = "../../ui/arguments/state_version_zero.pass.rs"]
mod arguments_state_version_zero;
#[path = "../../ui/arguments/stored_name_for_type.pass.rs"]
mod arguments_stored_name_for_type;
#[path = "../../ui/arguments/string_alone.pass.rs"]
mod arguments_string_alone;
#[path = "../../ui/arguments/subscribes_empty.pass.rs"]
mod arguments_subscribes_empty;
#[path = "../../ui/arguments/subscribes_missing.pass.rs"]
mod arguments_subscribes_missing;
#[path = "../../ui/arguments/subscribes_without_brackets.pass.rs"]
mod arguments_subscribes_without_brackets;
#[path = "../../ui/arguments/timeout_constant_zero.pass.rs"]
mod arguments_timeout_constant_zero;
#[path = "../../ui/arguments/timeout_in_other_words.pass.rs"]
mod arguments_timeout_in_other_words;
#[path = "../../ui/arguments/timeout_without_unit.pass.rs"]
mod arguments_timeout_without_unit;
#[path = "../../ui/arguments/type_alone.pass.rs"]
mod arguments_type_alone;
#[path = "../../ui/arguments/type_alone_in_aggregate.pass.rs"]
mod arguments_type_alone_in_aggregate;
#[path = "../../ui/arguments/type_in_quotes.pass.rs"]
mod arguments_type_in_quotes;
#[path = "../../ui/arguments/unknown.pass.rs"]
mod arguments_unknown;
#[path = "../../ui/arguments/unknown_events_not_a_value.pass.rs"]
mod arguments_unknown_events_not_a_value;
#[path = "../../ui/arguments/value_missing.pass.rs"]
mod arguments_value_missing;
#[path = "../../ui/arguments/variant_in_dispatches.pass.rs"]
mod arguments_variant_in_dispatches;
#[path = "../../ui/arguments/variant_in_subscribes.pass.rs"]
mod arguments_variant_in_subscribes;
#[path = "../../ui/arguments/variants_collide.pass.rs"]
mod arguments_variants_collide;
#[path = "../../ui/derives/aggregate_derived.pass.rs"]
mod derives_aggregate_derived;
#[path = "../../ui/derives/aggregate_derived_above_attribute.pass.rs"]
mod derives_aggregate_derived_above_attribute;
#[path = "../../ui/derives/aggregate_derived_below_attribute.pass.rs"]
mod derives_aggregate_derived_below_attribute;
#[path = "../../ui/derives/aggregate_without_any.pass.rs"]
mod derives_aggregate_without_any;
#[path = "../../ui/derives/aggregate_without_clone.pass.rs"]
mod derives_aggregate_without_clone;
#[path = "../../ui/derives/aggregate_without_default.pass.rs"]
mod derives_aggregate_without_default;
#[path = "../../ui/derives/aggregate_without_deserialize.pass.rs"]
mod derives_aggregate_without_deserialize;
#[path = "../../ui/derives/aggregate_without_serialize.pass.rs"]
mod derives_aggregate_without_serialize;
#[path = "../../ui/derives/command_derived.pass.rs"]
mod derives_command_derived;
#[path = "../../ui/derives/event_without_clone.pass.rs"]
mod derives_event_without_clone;
#[path = "../../ui/derives/event_without_deserialize.pass.rs"]
mod derives_event_without_deserialize;
#[path = "../../ui/derives/event_without_serialize.pass.rs"]
mod derives_event_without_serialize;
#[path = "../../ui/derives/process_manager_derived.pass.rs"]
mod derives_process_manager_derived;
#[path = "../../ui/derives/process_manager_derived_below_attribute.pass.rs"]
mod derives_process_manager_derived_below_attribute;
#[path = "../../ui/derives/process_manager_without_default.pass.rs"]
mod derives_process_manager_without_default;
#[path = "../../ui/derives/process_manager_without_deserialize.pass.rs"]
mod derives_process_manager_without_deserialize;
#[path = "../../ui/derives/process_manager_without_serialize.pass.rs"]
mod derives_process_manager_without_serialize;
#[path = "../../ui/derives/projection_derived.pass.rs"]
mod derives_projection_derived;
#[path = "../../ui/derives/projection_derived_below_attribute.pass.rs"]
mod derives_projection_derived_below_attribute;
#[path = "../../ui/derives/projection_without_clone.pass.rs"]
mod derives_projection_without_clone;
#[path = "../../ui/derives/projection_without_default.pass.rs"]
mod derives_projection_without_default;
#[path = "../../ui/derives/projection_without_deserialize.pass.rs"]
mod derives_projection_without_deserialize;
#[path = "../../ui/derives/projection_without_serialize.pass.rs"]
mod derives_projection_without_serialize;
#[path = "../../ui/derives/row_without_default.pass.rs"]
mod derives_row_without_default;
#[path = "../../ui/derives/row_without_deserialize.pass.rs"]
mod derives_row_without_deserialize;
#[path = "../../ui/derives/row_without_serialize.pass.rs"]
mod derives_row_without_serialize;
#[path = "../../ui/derives/state_of_one_thread.pass.rs"]
mod derives_state_of_one_thread;
#[path = "../../ui/event_handlers/attribute_missing.pass.rs"]
mod event_handlers_attribute_missing;
#[path = "../../ui/event_handlers/derived.pass.rs"]
mod event_handlers_derived;
#[path = "../../ui/event_handlers/error_not_an_error.pass.rs"]
mod event_handlers_error_not_an_error;
#[path = "../../ui/event_handlers/event_subscribed.pass.rs"]
mod event_handlers_event_subscribed;
#[path = "../../ui/event_handlers/future_holds_a_lock.pass.rs"]
mod event_handlers_future_holds_a_lock;
#[path = "../../ui/event_handlers/future_not_send.pass.rs"]
mod event_handlers_future_not_send;
#[path = "../../ui/event_handlers/generic.pass.rs"]
mod event_handlers_generic;
#[path = "../../ui/event_handlers/handler_is_not_asynchronous.pass.rs"]
mod event_handlers_handler_is_not_asynchronous;
#[path = "../../ui/event_handlers/handler_missing.pass.rs"]
mod event_handlers_handler_missing;
#[path = "../../ui/event_handlers/handler_mutates.pass.rs"]
mod event_handlers_handler_mutates;
#[path = "../../ui/event_handlers/handler_not_subscribed.pass.rs"]
mod event_handlers_handler_not_subscribed;
#[path = "../../ui/event_handlers/handler_of_a_process_manager.pass.rs"]
mod event_handlers_handler_of_a_process_manager;
#[path = "../../ui/event_handlers/handler_of_wrong_event.pass.rs"]
mod event_handlers_handler_of_wrong_event;
#[path = "../../ui/event_handlers/handler_returns_nothing.pass.rs"]
mod event_handlers_handler_returns_nothing;
#[path = "../../ui/event_handlers/handler_with_another_context.pass.rs"]
mod event_handlers_handler_with_another_context;
#[path = "../../ui/event_handlers/key_missing.pass.rs"]
mod event_handlers_key_missing;
#[path = "../../ui/event_handlers/key_not_subscribed.pass.rs"]
mod event_handlers_key_not_subscribed;
#[path = "../../ui/event_handlers/key_of_another_type.pass.rs"]
mod event_handlers_key_of_another_type;
#[path = "../../ui/event_handlers/key_undeclared.pass.rs"]
mod event_handlers_key_undeclared;
#[path = "../../ui/event_handlers/lifetime.pass.rs"]
mod event_handlers_lifetime;
#[path = "../../ui/event_handlers/no_handler.pass.rs"]
mod event_handlers_no_handler;
#[path = "../../ui/event_handlers/of_one_thread.pass.rs"]
mod event_handlers_of_one_thread;
#[path = "../../ui/event_handlers/policy_missing.pass.rs"]
mod event_handlers_policy_missing;
#[path = "../../ui/event_handlers/policy_undeclared.pass.rs"]
mod event_handlers_policy_undeclared;
#[path = "../../ui/event_handlers/process_manager_given.pass.rs"]
mod event_handlers_process_manager_given;
#[path = "../../ui/event_handlers/registered_as_process_manager.pass.rs"]
mod event_handlers_registered_as_process_manager;
#[path = "../../ui/event_handlers/serialized.pass.rs"]
mod event_handlers_serialized;
#[path = "../../ui/event_handlers/target_undeclared.pass.rs"]
mod event_handlers_target_undeclared;
#[path = "../../ui/event_handlers/target_undeclared_by_none.pass.rs"]
mod event_handlers_target_undeclared_by_none;
#[path = "../../ui/event_store/aggregates_empty.pass.rs"]
mod event_store_aggregates_empty;
#[path = "../../ui/event_store/aggregates_missing.pass.rs"]
mod event_store_aggregates_missing;
#[path = "../../ui/event_store/another_event_handler.pass.rs"]
mod event_store_another_event_handler;
#[path = "../../ui/event_store/command_shared.pass.rs"]
mod event_store_command_shared;
#[path = "../../ui/event_store/command_shared_with_a_later_one.pass.rs"]
mod event_store_command_shared_with_a_later_one;
#[path = "../../ui/event_store/event_handler_as_process_manager.pass.rs"]
mod event_store_event_handler_as_process_manager;
#[path = "../../ui/event_store/event_handler_not_given.pass.rs"]
mod event_store_event_handler_not_given;
#[path = "../../ui/event_store/event_handlers_in_another_order.pass.rs"]
mod event_store_event_handlers_in_another_order;
#[path = "../../ui/event_store/fields.pass.rs"]
mod event_store_fields;
#[path = "../../ui/event_store/folds_unlisted.pass.rs"]
mod event_store_folds_unlisted;
#[path = "../../ui/event_store/generic.pass.rs"]
mod event_store_generic;
#[path = "../../ui/event_store/guessed.pass.rs"]
mod event_store_guessed;
#[path = "../../ui/event_store/guessed_aggregates.pass.rs"]
mod event_store_guessed_aggregates;
#[path = "../../ui/event_store/guessed_event_handlers.pass.rs"]
mod event_store_guessed_event_handlers;
#[path = "../../ui/event_store/guessed_events.pass.rs"]
mod event_store_guessed_events;
#[path = "../../ui/event_store/guessed_name.pass.rs"]
mod event_store_guessed_name;
#[path = "../../ui/event_store/guessed_projections.pass.rs"]
mod event_store_guessed_projections;
#[path = "../../ui/event_store/guessed_run_mode.pass.rs"]
mod event_store_guessed_run_mode;
#[path = "../../ui/event_store/guessed_schedules.pass.rs"]
mod event_store_guessed_schedules;
#[path = "../../ui/event_store/handler_sends_to_unlisted.pass.rs"]
mod event_store_handler_sends_to_unlisted;
#[path = "../../ui/event_store/handles_unlisted.pass.rs"]
mod event_store_handles_unlisted;
#[path = "../../ui/event_store/listed_twice.pass.rs"]
mod event_store_listed_twice;
#[path = "../../ui/event_store/name_shared.pass.rs"]
mod event_store_name_shared;
#[path = "../../ui/event_store/name_shared_by_event_handlers.pass.rs"]
mod event_store_name_shared_by_event_handlers;
#[path = "../../ui/event_store/name_shared_by_process_managers.pass.rs"]
mod event_store_name_shared_by_process_managers;
#[path = "../../ui/event_store/name_shared_by_projections.pass.rs"]
mod event_store_name_shared_by_projections;
#[path = "../../ui/event_store/name_shared_by_schedules.pass.rs"]
mod event_store_name_shared_by_schedules;
#[path = "../../ui/event_store/name_shared_with_a_process_manager.pass.rs"]
mod event_store_name_shared_with_a_process_manager;
#[path = "../../ui/event_store/not_a_process_manager.pass.rs"]
mod event_store_not_a_process_manager;
#[path = "../../ui/event_store/not_a_projection.pass.rs"]
mod event_store_not_a_projection;
#[path = "../../ui/event_store/not_a_schedule.pass.rs"]
mod event_store_not_a_schedule;
#[path = "../../ui/event_store/not_an_aggregate.pass.rs"]
mod event_store_not_an_aggregate;
#[path = "../../ui/event_store/not_an_event_handler.pass.rs"]
mod event_store_not_an_event_handler;
#[path = "../../ui/event_store/opened_without_event_handlers.pass.rs"]
mod event_store_opened_without_event_handlers;
#[path = "../../ui/event_store/reacts_to_unlisted.pass.rs"]
mod event_store_reacts_to_unlisted;
#[path = "../../ui/event_store/schedule_as_aggregate.pass.rs"]
mod event_store_schedule_as_aggregate;
#[path = "../../ui/event_store/schedule_listed_twice.pass.rs"]
mod event_store_schedule_listed_twice;
#[path = "../../ui/event_store/schedule_unlisted.pass.rs"]
mod event_store_schedule_unlisted;
#[path = "../../ui/event_store/sends_to_unlisted.pass.rs"]
mod event_store_sends_to_unlisted;
#[path = "../../ui/event_store/variants_clash.pass.rs"]
mod event_store_variants_clash;
#[path = "../../ui/events/alias_collides.pass.rs"]
mod events_alias_collides;
#[path = "../../ui/events/attribute_for_derive.pass.rs"]
mod events_attribute_for_derive;
#[path = "../../ui/events/content_without_tag.pass.rs"]
mod events_content_without_tag;
#[path = "../../ui/events/crate_given_twice.pass.rs"]
mod events_crate_given_twice;
#[path = "../../ui/events/crate_misspelt.pass.rs"]
mod events_crate_misspelt;
#[path = "../../ui/events/field_alias_collides.pass.rs"]
mod events_field_alias_collides;
#[path = "../../ui/events/field_key_misspelt.pass.rs"]
mod events_field_key_misspelt;
#[path = "../../ui/events/field_moved.pass.rs"]
mod events_field_moved;
#[path = "../../ui/events/field_not_readable.pass.rs"]
mod events_field_not_readable;
#[path = "../../ui/events/field_renamed_in_one_direction.pass.rs"]
mod events_field_renamed_in_one_direction;
#[path = "../../ui/events/field_skipped.pass.rs"]
mod events_field_skipped;
#[path = "../../ui/events/field_unfinished.pass.rs"]
mod events_field_unfinished;
#[path = "../../ui/events/fields_collide.pass.rs"]
mod events_fields_collide;
#[path = "../../ui/events/fields_collide_by_rule.pass.rs"]
mod events_fields_collide_by_rule;
#[path = "../../ui/events/fields_renamed_in_one_direction.pass.rs"]
mod events_fields_renamed_in_one_direction;
#[path = "../../ui/events/function_pointer.pass.rs"]
mod events_function_pointer;
#[path = "../../ui/events/generic.pass.rs"]
mod events_generic;
#[path = "../../ui/events/helper_on_a_variant.pass.rs"]
mod events_helper_on_a_variant;
#[path = "../../ui/events/internally_tagged.pass.rs"]
mod events_internally_tagged;
#[path = "../../ui/events/key_guessed.pass.rs"]
mod events_key_guessed;
#[path = "../../ui/events/key_misspelt.pass.rs"]
mod events_key_misspelt;
#[path = "../../ui/events/lifetime.pass.rs"]
mod events_lifetime;
#[path = "../../ui/events/map_with_composite_keys.pass.rs"]
mod events_map_with_composite_keys;
#[path = "../../ui/events/name_empty.pass.rs"]
mod events_name_empty;
#[path = "../../ui/events/names_collide.pass.rs"]
mod events_names_collide;
#[path = "../../ui/events/other_words.pass.rs"]
mod events_other_words;
#[path = "../../ui/events/pointer.pass.rs"]
mod events_pointer;
#[path = "../../ui/events/reference.pass.rs"]
mod events_reference;
#[path = "../../ui/events/representation_from_another.pass.rs"]
mod events_representation_from_another;
#[path = "../../ui/events/representation_missing.pass.rs"]
mod events_representation_missing;
#[path = "../../ui/events/rule_misspelt.pass.rs"]
mod events_rule_misspelt;
#[path = "../../ui/events/rule_unknown.pass.rs"]
mod events_rule_unknown;
#[path = "../../ui/events/several_mistakes.pass.rs"]
mod events_several_mistakes;
#[path = "../../ui/events/struct.pass.rs"]
mod events_struct;
#[path = "../../ui/events/struct_with_content.pass.rs"]
mod events_struct_with_content;
#[path = "../../ui/events/tag_not_a_string.pass.rs"]
mod events_tag_not_a_string;
#[path = "../../ui/events/tag_on_a_variant.pass.rs"]
mod events_tag_on_a_variant;
#[path = "../../ui/events/tag_on_the_enum_and_a_variant.pass.rs"]
mod events_tag_on_the_enum_and_a_variant;
#[path = "../../ui/events/trait_object.pass.rs"]
mod events_trait_object;
#[path = "../../ui/events/union.pass.rs"]
mod events_union;
#[path = "../../ui/events/unknown_type.pass.rs"]
mod events_unknown_type;
#[path = "../../ui/events/untagged.pass.rs"]
mod events_untagged;
#[path = "../../ui/events/variant_flattened.pass.rs"]
mod events_variant_flattened;
#[path = "../../ui/events/variant_for_all_others.pass.rs"]
mod events_variant_for_all_others;
#[path = "../../ui/events/variant_not_read.pass.rs"]
mod events_variant_not_read;
#[path = "../../ui/events/variant_not_written.pass.rs"]
mod events_variant_not_written;
#[path = "../../ui/events/variant_skipped.pass.rs"]
mod events_variant_skipped;
#[path = "../../ui/events/variant_untagged.pass.rs"]
mod events_variant_untagged;
#[path = "../../ui/events/written_and_read_differently.pass.rs"]
mod events_written_and_read_differently;
#[path = "../../ui/evolution/argument_unknown.pass.rs"]
mod evolution_argument_unknown;
#[path = "../../ui/evolution/attribute_alone.pass.rs"]
mod evolution_attribute_alone;
#[path = "../../ui/evolution/circle.pass.rs"]
mod evolution_circle;
#[path = "../../ui/evolution/circle_by_another_name.pass.rs"]
mod evolution_circle_by_another_name;
#[path = "../../ui/evolution/circle_through_the_event.pass.rs"]
mod evolution_circle_through_the_event;
#[path = "../../ui/evolution/given_twice.pass.rs"]
mod evolution_given_twice;
#[path = "../../ui/evolution/guessed.pass.rs"]
mod evolution_guessed;
#[path = "../../ui/evolution/guessed_deprecated.pass.rs"]
mod evolution_guessed_deprecated;
#[path = "../../ui/evolution/guessed_old_name.pass.rs"]
mod evolution_guessed_old_name;
#[path = "../../ui/evolution/guessed_schema_version.pass.rs"]
mod evolution_guessed_schema_version;
#[path = "../../ui/evolution/guessed_steps.pass.rs"]
mod evolution_guessed_steps;
#[path = "../../ui/evolution/last_step_not_written.pass.rs"]
mod evolution_last_step_not_written;
#[path = "../../ui/evolution/not_older.pass.rs"]
mod evolution_not_older;
#[path = "../../ui/evolution/on_a_field.pass.rs"]
mod evolution_on_a_field;
#[path = "../../ui/evolution/on_the_enum.pass.rs"]
mod evolution_on_the_enum;
#[path = "../../ui/evolution/retired_with_value.pass.rs"]
mod evolution_retired_with_value;
#[path = "../../ui/evolution/shape_missing.pass.rs"]
mod evolution_shape_missing;
#[path = "../../ui/evolution/shape_named.pass.rs"]
mod evolution_shape_named;
#[path = "../../ui/evolution/shape_not_readable.pass.rs"]
mod evolution_shape_not_readable;
#[path = "../../ui/evolution/shape_of_a_union.pass.rs"]
mod evolution_shape_of_a_union;
#[path = "../../ui/evolution/step_missing.pass.rs"]
mod evolution_step_missing;
#[path = "../../ui/evolution/step_not_written.pass.rs"]
mod evolution_step_not_written;
#[path = "../../ui/evolution/step_to_another_type.pass.rs"]
mod evolution_step_to_another_type;
#[path = "../../ui/evolution/step_version_zero.pass.rs"]
mod evolution_step_version_zero;
#[path = "../../ui/evolution/step_with_another_arrow.pass.rs"]
mod evolution_step_with_another_arrow;
#[path = "../../ui/evolution/steps_empty.pass.rs"]
mod evolution_steps_empty;
#[path = "../../ui/evolution/steps_in_wrong_order.pass.rs"]
mod evolution_steps_in_wrong_order;
#[path = "../../ui/evolution/steps_missing.pass.rs"]
mod evolution_steps_missing;
#[path = "../../ui/evolution/steps_with_equals.pass.rs"]
mod evolution_steps_with_equals;
#[path = "../../ui/evolution/steps_without_comma.pass.rs"]
mod evolution_steps_without_comma;
#[path = "../../ui/evolution/steps_without_versions.pass.rs"]
mod evolution_steps_without_versions;
#[path = "../../ui/evolution/version_in_quotes.pass.rs"]
mod evolution_version_in_quotes;
#[path = "../../ui/evolution/version_missing.pass.rs"]
mod evolution_version_missing;
#[path = "../../ui/evolution/version_zero.pass.rs"]
mod evolution_version_zero;
#[path = "../../ui/items/commands.pass.rs"]
mod items_commands;
#[path = "../../ui/items/constant.pass.rs"]
mod items_constant;
#[path = "../../ui/items/constant_parameter.pass.rs"]
mod items_constant_parameter;
#[path = "../../ui/items/events.pass.rs"]
mod items_events;
#[path = "../../ui/items/extern_block.pass.rs"]
mod items_extern_block;
#[path = "../../ui/items/function.pass.rs"]
mod items_function;
#[path = "../../ui/items/function_as_store.pass.rs"]
mod items_function_as_store;
#[path = "../../ui/items/generic.pass.rs"]
mod items_generic;
#[path = "../../ui/items/generic_aggregate.pass.rs"]
mod items_generic_aggregate;
#[path = "../../ui/items/generic_aggregate_used.pass.rs"]
mod items_generic_aggregate_used;
#[path = "../../ui/items/generic_decided.pass.rs"]
mod items_generic_decided;
#[path = "../../ui/items/generic_handled.pass.rs"]
mod items_generic_handled;
#[path = "../../ui/items/generic_process_manager.pass.rs"]
mod items_generic_process_manager;
#[path = "../../ui/items/impl.pass.rs"]
mod items_impl;
#[path = "../../ui/items/impl_of_projection.pass.rs"]
mod items_impl_of_projection;
#[path = "../../ui/items/import.pass.rs"]
mod items_import;
#[path = "../../ui/items/lifetime.pass.rs"]
mod items_lifetime;
#[path = "../../ui/items/lifetime_handled.pass.rs"]
mod items_lifetime_handled;
#[path = "../../ui/items/lifetime_of_aggregate.pass.rs"]
mod items_lifetime_of_aggregate;
#[path = "../../ui/items/lifetime_of_process_manager.pass.rs"]
mod items_lifetime_of_process_manager;
#[path = "../../ui/items/lifetime_of_projection.pass.rs"]
mod items_lifetime_of_projection;
#[path = "../../ui/items/lifetime_of_projection_read.pass.rs"]
mod items_lifetime_of_projection_read;
#[path = "../../ui/items/macro.pass.rs"]
mod items_macro;
#[path = "../../ui/items/module.pass.rs"]
mod items_module;
#[path = "../../ui/items/statement.pass.rs"]
mod items_statement;
#[path = "../../ui/items/static.pass.rs"]
mod items_static;
#[path = "../../ui/items/trait.pass.rs"]
mod items_trait;
#[path = "../../ui/items/type_alias.pass.rs"]
mod items_type_alias;
#[path = "../../ui/items/type_and_impl.pass.rs"]
mod items_type_and_impl;
#[path = "../../ui/items/type_and_impl_of_aggregate.pass.rs"]
mod items_type_and_impl_of_aggregate;
#[path = "../../ui/items/type_and_impl_of_projection.pass.rs"]
mod items_type_and_impl_of_projection;
#[path = "../../ui/items/type_and_impl_with_arguments.pass.rs"]
mod items_type_and_impl_with_arguments;
#[path = "../../ui/items/union.pass.rs"]
mod items_union;
#[path = "../../ui/names/constant_not_storable.pass.rs"]
mod names_constant_not_storable;
#[path = "../../ui/names/constant_of_another_type.pass.rs"]
mod names_constant_of_another_type;
#[path = "../../ui/names/default_not_storable.pass.rs"]
mod names_default_not_storable;
#[path = "../../ui/names/device.pass.rs"]
mod names_device;
#[path = "../../ui/names/empty.pass.rs"]
mod names_empty;
#[path = "../../ui/names/ends_with_a_dot.pass.rs"]
mod names_ends_with_a_dot;
#[path = "../../ui/names/given_not_ascii.pass.rs"]
mod names_given_not_ascii;
#[path = "../../ui/names/not_ascii.pass.rs"]
mod names_not_ascii;
#[path = "../../ui/names/not_storable.pass.rs"]
mod names_not_storable;
#[path = "../../ui/names/outside_the_store.pass.rs"]
mod names_outside_the_store;
#[path = "../../ui/names/shared_by_another_path.pass.rs"]
mod names_shared_by_another_path;
#[path = "../../ui/names/shared_in_dispatches.pass.rs"]
mod names_shared_in_dispatches;
#[path = "../../ui/names/shared_in_projection.pass.rs"]
mod names_shared_in_projection;
#[path = "../../ui/names/shared_in_subscribes.pass.rs"]
mod names_shared_in_subscribes;
#[path = "../../ui/names/starts_with_a_dot.pass.rs"]
mod names_starts_with_a_dot;
#[path = "../../ui/names/too_long.pass.rs"]
mod names_too_long;
#[path = "../../ui/names/with_a_space.pass.rs"]
mod names_with_a_space;
#[path = "../../ui/process_managers/attribute_missing.pass.rs"]
mod process_managers_attribute_missing;
#[path = "../../ui/process_managers/attribute_missing_below_handlers.pass.rs"]
mod process_managers_attribute_missing_below_handlers;
#[path = "../../ui/process_managers/command_before_id.pass.rs"]
mod process_managers_command_before_id;
#[path = "../../ui/process_managers/command_not_readable.pass.rs"]
mod process_managers_command_not_readable;
#[path = "../../ui/process_managers/command_not_storable.pass.rs"]
mod process_managers_command_not_storable;
#[path = "../../ui/process_managers/command_sent_without_id.pass.rs"]
mod process_managers_command_sent_without_id;
#[path = "../../ui/process_managers/compensation_undeclared.pass.rs"]
mod process_managers_compensation_undeclared;
#[path = "../../ui/process_managers/completed_without_key.pass.rs"]
mod process_managers_completed_without_key;
#[path = "../../ui/process_managers/correlation_missing.pass.rs"]
mod process_managers_correlation_missing;
#[path = "../../ui/process_managers/correlation_not_subscribed.pass.rs"]
mod process_managers_correlation_not_subscribed;
#[path = "../../ui/process_managers/correlation_of_another_key.pass.rs"]
mod process_managers_correlation_of_another_key;
#[path = "../../ui/process_managers/correlation_without_key.pass.rs"]
mod process_managers_correlation_without_key;
#[path = "../../ui/process_managers/deadline_handled_as_event.pass.rs"]
mod process_managers_deadline_handled_as_event;
#[path = "../../ui/process_managers/deadline_handler_missing.pass.rs"]
mod process_managers_deadline_handler_missing;
#[path = "../../ui/process_managers/deadline_handler_undeclared.pass.rs"]
mod process_managers_deadline_handler_undeclared;
#[path = "../../ui/process_managers/deadline_name_not_a_text.pass.rs"]
mod process_managers_deadline_name_not_a_text;
#[path = "../../ui/process_managers/deadline_not_storable.pass.rs"]
mod process_managers_deadline_not_storable;
#[path = "../../ui/process_managers/deadline_time_not_a_time.pass.rs"]
mod process_managers_deadline_time_not_a_time;
#[path = "../../ui/process_managers/deadline_undeclared.pass.rs"]
mod process_managers_deadline_undeclared;
#[path = "../../ui/process_managers/deadline_undeclared_beside_another.pass.rs"]
mod process_managers_deadline_undeclared_beside_another;
#[path = "../../ui/process_managers/deadline_without_name.pass.rs"]
mod process_managers_deadline_without_name;
#[path = "../../ui/process_managers/dispatched_not_an_aggregate.pass.rs"]
mod process_managers_dispatched_not_an_aggregate;
#[path = "../../ui/process_managers/dispatched_unknown_type.pass.rs"]
mod process_managers_dispatched_unknown_type;
#[path = "../../ui/process_managers/envelope_exists.pass.rs"]
mod process_managers_envelope_exists;
#[path = "../../ui/process_managers/event_sent.pass.rs"]
mod process_managers_event_sent;
#[path = "../../ui/process_managers/event_subscribed.pass.rs"]
mod process_managers_event_subscribed;
#[path = "../../ui/process_managers/failure_policy_missing.pass.rs"]
mod process_managers_failure_policy_missing;
#[path = "../../ui/process_managers/failure_policy_undeclared.pass.rs"]
mod process_managers_failure_policy_undeclared;
#[path = "../../ui/process_managers/field_skipped.pass.rs"]
mod process_managers_field_skipped;
#[path = "../../ui/process_managers/handler_is_asynchronous.pass.rs"]
mod process_managers_handler_is_asynchronous;
#[path = "../../ui/process_managers/handler_missing.pass.rs"]
mod process_managers_handler_missing;
#[path = "../../ui/process_managers/handler_not_subscribed.pass.rs"]
mod process_managers_handler_not_subscribed;
#[path = "../../ui/process_managers/handler_of_a_projection.pass.rs"]
mod process_managers_handler_of_a_projection;
#[path = "../../ui/process_managers/handler_of_wrong_event.pass.rs"]
mod process_managers_handler_of_wrong_event;
#[path = "../../ui/process_managers/handler_returns.pass.rs"]
mod process_managers_handler_returns;
#[path = "../../ui/process_managers/handler_twice.pass.rs"]
mod process_managers_handler_twice;
#[path = "../../ui/process_managers/handler_with_another_context.pass.rs"]
mod process_managers_handler_with_another_context;
#[path = "../../ui/process_managers/id_not_displayed.pass.rs"]
mod process_managers_id_not_displayed;
#[path = "../../ui/process_managers/key_not_readable.pass.rs"]
mod process_managers_key_not_readable;
#[path = "../../ui/process_managers/migration_missing.pass.rs"]
mod process_managers_migration_missing;
#[path = "../../ui/process_managers/migration_not_needed.pass.rs"]
mod process_managers_migration_not_needed;
#[path = "../../ui/process_managers/no_handler.pass.rs"]
mod process_managers_no_handler;
#[path = "../../ui/process_managers/not_a_command.pass.rs"]
mod process_managers_not_a_command;
#[path = "../../ui/process_managers/subscribed_not_an_aggregate.pass.rs"]
mod process_managers_subscribed_not_an_aggregate;
#[path = "../../ui/process_managers/subscribed_unknown_type.pass.rs"]
mod process_managers_subscribed_unknown_type;
#[path = "../../ui/process_managers/target_undeclared.pass.rs"]
mod process_managers_target_undeclared;
#[path = "../../ui/process_managers/target_undeclared_by_none.pass.rs"]
mod process_managers_target_undeclared_by_none;
#[path = "../../ui/projections/attribute_missing.pass.rs"]
mod projections_attribute_missing;
#[path = "../../ui/projections/command_sent.pass.rs"]
mod projections_command_sent;
#[path = "../../ui/projections/event_subscribed.pass.rs"]
mod projections_event_subscribed;
#[path = "../../ui/projections/field_skipped.pass.rs"]
mod projections_field_skipped;
#[path = "../../ui/projections/handler_missing.pass.rs"]
mod projections_handler_missing;
#[path = "../../ui/projections/handler_not_subscribed.pass.rs"]
mod projections_handler_not_subscribed;
#[path = "../../ui/projections/handler_of_a_process_manager.pass.rs"]
mod projections_handler_of_a_process_manager;
#[path = "../../ui/projections/index_above_the_type.pass.rs"]
mod projections_index_above_the_type;
#[path = "../../ui/projections/index_constant_exists.pass.rs"]
mod projections_index_constant_exists;
#[path = "../../ui/projections/index_in_a_sink.pass.rs"]
mod projections_index_in_a_sink;
#[path = "../../ui/projections/index_in_an_enum.pass.rs"]
mod projections_index_in_an_enum;
#[path = "../../ui/projections/index_twice.pass.rs"]
mod projections_index_twice;
#[path = "../../ui/projections/index_unnamed.pass.rs"]
mod projections_index_unnamed;
#[path = "../../ui/projections/index_with_arguments.pass.rs"]
mod projections_index_with_arguments;
#[path = "../../ui/projections/index_without_key.pass.rs"]
mod projections_index_without_key;
#[path = "../../ui/projections/index_without_order.pass.rs"]
mod projections_index_without_order;
#[path = "../../ui/projections/indexes_collide.pass.rs"]
mod projections_indexes_collide;
#[path = "../../ui/projections/key_and_sink.pass.rs"]
mod projections_key_and_sink;
#[path = "../../ui/projections/key_without_order.pass.rs"]
mod projections_key_without_order;
#[path = "../../ui/projections/locate_missing.pass.rs"]
mod projections_locate_missing;
#[path = "../../ui/projections/locate_not_subscribed.pass.rs"]
mod projections_locate_not_subscribed;
#[path = "../../ui/projections/locate_without_key.pass.rs"]
mod projections_locate_without_key;
#[path = "../../ui/projections/no_handler.pass.rs"]
mod projections_no_handler;
#[path = "../../ui/projections/on_failure_in_memory.pass.rs"]
mod projections_on_failure_in_memory;
#[path = "../../ui/projections/prepare_missing.pass.rs"]
mod projections_prepare_missing;
#[path = "../../ui/projections/project_in_a_sink.pass.rs"]
mod projections_project_in_a_sink;
#[path = "../../ui/projections/project_into_memory.pass.rs"]
mod projections_project_into_memory;
#[path = "../../ui/projections/project_into_missing.pass.rs"]
mod projections_project_into_missing;
#[path = "../../ui/projections/project_into_not_subscribed.pass.rs"]
mod projections_project_into_not_subscribed;
#[path = "../../ui/projections/project_into_rows.pass.rs"]
mod projections_project_into_rows;
#[path = "../../ui/projections/row_field_skipped.pass.rs"]
mod projections_row_field_skipped;
#[path = "../../ui/projections/row_handler_missing.pass.rs"]
mod projections_row_handler_missing;
#[path = "../../ui/projections/sends_commands.pass.rs"]
mod projections_sends_commands;
#[path = "../../ui/projections/sink_and_key.pass.rs"]
mod projections_sink_and_key;
#[path = "../../ui/projections/sink_not_a_sink.pass.rs"]
mod projections_sink_not_a_sink;
#[path = "../../ui/projections/subscribed_not_an_aggregate.pass.rs"]
mod projections_subscribed_not_an_aggregate;
#[path = "../../ui/projections/unknown_events_misspelt.pass.rs"]
mod projections_unknown_events_misspelt;
#[path = "../../ui/projections/version_in_memory.pass.rs"]
mod projections_version_in_memory;
#[path = "../../ui/schedules/aggregate_above.pass.rs"]
mod schedules_aggregate_above;
#[path = "../../ui/schedules/aggregate_below.pass.rs"]
mod schedules_aggregate_below;
#[path = "../../ui/schedules/attribute_missing.pass.rs"]
mod schedules_attribute_missing;
#[path = "../../ui/schedules/cron_missing.pass.rs"]
mod schedules_cron_missing;
#[path = "../../ui/schedules/cron_not_a_string.pass.rs"]
mod schedules_cron_not_a_string;
#[path = "../../ui/schedules/day_out_of_range.pass.rs"]
mod schedules_day_out_of_range;
#[path = "../../ui/schedules/derived.pass.rs"]
mod schedules_derived;
#[path = "../../ui/schedules/fields.pass.rs"]
mod schedules_fields;
#[path = "../../ui/schedules/function.pass.rs"]
mod schedules_function;
#[path = "../../ui/schedules/generic.pass.rs"]
mod schedules_generic;
#[path = "../../ui/schedules/guessed.pass.rs"]
mod schedules_guessed;
#[path = "../../ui/schedules/handler_of_wrong_event.pass.rs"]
mod schedules_handler_of_wrong_event;
#[path = "../../ui/schedules/hour_out_of_range.pass.rs"]
mod schedules_hour_out_of_range;
#[path = "../../ui/schedules/list_with_a_gap.pass.rs"]
mod schedules_list_with_a_gap;
#[path = "../../ui/schedules/minute_out_of_range.pass.rs"]
mod schedules_minute_out_of_range;
#[path = "../../ui/schedules/missed_in_other_words.pass.rs"]
mod schedules_missed_in_other_words;
#[path = "../../ui/schedules/missed_not_a_value.pass.rs"]
mod schedules_missed_not_a_value;
#[path = "../../ui/schedules/month_out_of_range.pass.rs"]
mod schedules_month_out_of_range;
#[path = "../../ui/schedules/never.pass.rs"]
mod schedules_never;
#[path = "../../ui/schedules/range_that_descends.pass.rs"]
mod schedules_range_that_descends;
#[path = "../../ui/schedules/seconds.pass.rs"]
mod schedules_seconds;
#[path = "../../ui/schedules/step_of_one_value.pass.rs"]
mod schedules_step_of_one_value;
#[path = "../../ui/schedules/step_too_large.pass.rs"]
mod schedules_step_too_large;
#[path = "../../ui/schedules/time_zone_unknown.pass.rs"]
mod schedules_time_zone_unknown;
#[path = "../../ui/schedules/twice.pass.rs"]
mod schedules_twice;
#[path = "../../ui/schedules/unknown_name.pass.rs"]
mod schedules_unknown_name;
#[path = "../../ui/schedules/weekday_in_full.pass.rs"]
mod schedules_weekday_in_full;
#[path = "../../ui/stores/aggregate_as_process_manager.pass.rs"]
mod stores_aggregate_as_process_manager;
#[path = "../../ui/stores/command_of_another_aggregate.pass.rs"]
mod stores_command_of_another_aggregate;
#[path = "../../ui/stores/command_sent_without_id.pass.rs"]
mod stores_command_sent_without_id;
#[path = "../../ui/stores/event_sent.pass.rs"]
mod stores_event_sent;
#[path = "../../ui/stores/not_an_aggregate.pass.rs"]
mod stores_not_an_aggregate;
#[path = "../../ui/stores/process_manager_as_projection.pass.rs"]
mod stores_process_manager_as_projection;
