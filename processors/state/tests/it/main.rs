//! One conformance suite for every store, and the reader's rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]

mod build;
mod conformance;
mod cql;
mod embedded;
mod lifecycle;
mod merge;
mod reader;
mod stores;

/// Runs each claim of the suite against each store.
macro_rules! conformance {
    ($($claim:ident)*) => {
        mod memory_conforms {
            $(#[test] fn $claim() { crate::stores::run(crate::conformance::$claim(crate::stores::memory())); })*
        }
        mod embedded_conforms {
            $(#[test] fn $claim() { crate::stores::run(async { crate::conformance::$claim(crate::stores::embedded().await).await }); })*
        }
        mod cql_conforms {
            $(#[test] fn $claim() { crate::stores::run(async { crate::conformance::$claim(crate::stores::cql().await).await }); })*
        }
    };
}

conformance! {
    equal_times_are_settled_by_deletion_then_by_bytes
    a_late_put_does_not_pass_a_tombstone
    a_cancelled_apply_is_healed_by_its_repetition
    ranges_are_in_order_bounded_and_paged
    one_read_returns_a_whole_subject
    many_rows_come_in_the_order_of_their_keys
    subjects_are_listed_once_under_a_cursor
    agenda_reads_are_in_order_across_minutes
    an_ended_minute_stays_ended
    the_watermark_with_the_highest_time_stays
    expiry_is_left_to_the_caller
    a_stream_is_opened_with_one_layout_only
    a_frame_of_megabytes_is_applied
    frames_of_many_shards_do_not_meet
    a_view_never_tears_and_never_goes_back
    the_store_answers_a_ping
}
