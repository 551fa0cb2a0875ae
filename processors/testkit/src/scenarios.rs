//! The chaos suite: every scenario, its claim, and the tests that prove it. Read by the command `chaos`.

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its number, `T1` and so on; `show` is the long one with everything at once.
    pub name: &'static str,
    /// What is done, and what must hold then.
    pub claim: &'static str,
    /// Tests that prove it.
    pub proofs: &'static [Proof],
    /// What of it is not tested; empty when all is.
    pub missing: &'static str,
}

/// One test.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    /// Folder of its crate below the root.
    pub folder: &'static str,
    /// `module::name` in `tests/it` of the crate.
    pub test: &'static str,
    /// Variables that make a long run of it.
    pub long: &'static [(&'static str, &'static str)],
    /// Without these variables it does nothing.
    pub only_long: bool,
}

impl Proof {
    /// The file the test stands in, below the root, and its function's name.
    pub fn place(&self) -> (String, &'static str) {
        let (modules, name) = self.test.rsplit_once("::").unwrap_or(("main", self.test));
        (format!("{}/tests/it/{}.rs", self.folder, modules.replace("::", "/")), name)
    }
}

const fn test(folder: &'static str, test: &'static str) -> Proof {
    Proof { folder, test, long: &[], only_long: false }
}

const fn longer(folder: &'static str, test: &'static str, long: &'static [(&'static str, &'static str)]) -> Proof {
    Proof { folder, test, long, only_long: false }
}

const fn only_longer(folder: &'static str, test: &'static str, long: &'static [(&'static str, &'static str)]) -> Proof {
    Proof { folder, test, long, only_long: true }
}

const HOST: &str = "processors/host";
const RUNTIME: &str = "processors/runtime";
const STATE: &str = "processors/state";
const FOREBAY: &str = "deploy/all-in-one";
const ROUNDS: &[(&str, &str)] = &[("FOREBAY_CHAOS_ROUNDS", "3")];
const NODES: &[(&str, &str)] = &[("FOREBAY_CHAOS_NODES", "1")];
const EFFECTS: &[(&str, &str)] = &[("FOREBAY_SHOW_EFFECTS", "400")];
const TIMERS: &[(&str, &str)] = &[("FOREBAY_SHOW_TIMERS", "100000")];
const BURST: &[(&str, &str)] = &[("FOREBAY_SHOW_BURST", "100000")];
const SAGA: &[(&str, &str)] = &[("FOREBAY_SAGA_KILLS", "10")];
const STOPPED: &str =
    "points::a_process_stopped_before_positions_commit_or_handing_over_regresses_no_row_and_sends_no_unfenced_position";
const POINTS: &[(&str, &str)] = &[("FOREBAY_POINTS", "all")];

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "T1",
        claim: "SIGKILL of any process, again and again, costs no event and doubles none",
        proofs: &[
            longer(HOST, "chaos::kills_of_any_of_three_processes_cost_no_event_and_double_none", ROUNDS),
            test(FOREBAY, "kill::flights_survive_kills_of_the_whole_process_on_the_embedded_store"),
            test(FOREBAY, "kill::flights_survive_kills_of_the_processor_on_the_cql_store"),
            test(FOREBAY, "students::one_email_one_student_under_1000_parallel_creates_and_a_kill"),
        ],
        missing: "",
    },
    Scenario {
        name: "T2",
        claim: "a worker that ends, sleeps or fails at any step of the protocol costs nothing",
        proofs: &[
            longer(RUNTIME, "points::a_worker_that_dies_at_any_point_costs_nothing", POINTS),
            longer(RUNTIME, "points::a_step_that_fails_at_any_point_costs_nothing", POINTS),
            only_longer(
                RUNTIME,
                "points::a_worker_that_sleeps_at_any_point_for_longer_than_its_session_commits_nothing_late",
                POINTS,
            ),
        ],
        missing: "",
    },
    Scenario {
        name: "T3",
        claim: "a process stopped for longer than session and transaction commits nothing when it wakes",
        proofs: &[
            longer(HOST, "chaos::a_process_that_was_stopped_for_longer_than_its_session_commits_nothing_when_it_wakes", ROUNDS),
            test(RUNTIME, STOPPED),
        ],
        missing: "",
    },
    Scenario {
        name: "T4",
        claim: "positions are never sent without a generation and a member",
        proofs: &[test(RUNTIME, STOPPED)],
        missing: "",
    },
    Scenario {
        name: "T5",
        claim: "of two workers in one slot one ends with the reason",
        proofs: &[test(RUNTIME, "chaos::of_two_workers_in_one_slot_one_ends_with_the_reason_and_nothing_is_lost")],
        missing: "",
    },
    Scenario {
        name: "T6",
        claim: "the end of a transaction that is late, lost or doubled ends no other one",
        proofs: &[
            test(RUNTIME, "chaos::an_end_of_a_transaction_that_arrives_twice_ends_no_other_one"),
            test(RUNTIME, "chaos::a_producer_is_recycled_after_an_end_that_took_too_long"),
            test(RUNTIME, "chaos::a_producer_is_recycled_after_an_end_whose_connection_broke"),
            test(RUNTIME, "chaos::other_broken_requests_of_a_transaction_cost_no_event"),
        ],
        missing: "",
    },
    Scenario {
        name: "T7",
        claim: "a taker-over waits for markers of the log that are late",
        proofs: &[
            longer(HOST, "markers::who_takes_over_waits_for_markers_of_the_log_that_are_late", ROUNDS),
            only_longer(HOST, "markers::who_takes_over_waits_for_markers_that_only_one_of_three_nodes_has", NODES),
        ],
        missing: "",
    },
    Scenario {
        name: "T8",
        claim: "every broker of three is killed and rolled, with every coordinator and leader on it, and nothing is lost",
        proofs: &[only_longer(
            HOST,
            "nodes::every_node_of_three_is_killed_and_rolled_under_load_and_no_event_is_lost_or_doubled",
            NODES,
        )],
        missing: "",
    },
    Scenario {
        name: "T9",
        claim: "work goes on by itself after all brokers were gone",
        proofs: &[
            test(RUNTIME, "chaos::brokers_that_are_gone_for_longer_than_session_and_transaction_cost_no_event"),
            only_longer(HOST, "nodes::work_goes_on_by_itself_when_all_three_nodes_were_gone_for_a_minute", NODES),
        ],
        missing: "",
    },
    Scenario {
        name: "T10",
        claim: "a store that is gone, slow or stopped bounds the backlog and has everything in the end",
        proofs: &[test(RUNTIME, "chaos::a_store_that_is_gone_stops_no_commit_and_has_everything_when_it_is_back")],
        missing: "",
    },
    Scenario {
        name: "T11",
        claim: "writes that the store acknowledges late, or takes without an answer, leave it equal to the log",
        proofs: &[test(
            RUNTIME,
            "unsure_store::writes_that_are_acknowledged_late_or_applied_without_an_answer_leave_the_store_equal_to_the_log",
        )],
        missing: "",
    },
    Scenario {
        name: "T12",
        claim: "processes that join and leave all the time keep the others working",
        proofs: &[longer(HOST, "chaos::processes_that_join_and_leave_all_the_time_keep_the_others_working", ROUNDS)],
        missing: "",
    },
    Scenario {
        name: "T13",
        claim: "an owner that decides for too long loses its shards and commits nothing",
        proofs: &[test(RUNTIME, "chaos::an_owner_that_thinks_for_too_long_loses_its_shards_and_commits_nothing")],
        missing: "",
    },
    Scenario {
        name: "T14",
        claim: "readers see committed results only while every third transaction is aborted",
        proofs: &[test(RUNTIME, "points::readers_see_committed_results_only_while_every_third_transaction_is_aborted")],
        missing: "",
    },
    Scenario {
        name: "T15",
        claim: "an event that comes twice has one effect, however it came twice",
        proofs: &[
            test(RUNTIME, "once::every_event_has_one_result_over_restarts_of_the_worker"),
            test(RUNTIME, "once::a_repeated_event_has_one_result"),
            test(
                RUNTIME,
                "duplicates::an_event_that_comes_again_at_once_after_a_timeout_a_restart_or_a_long_outage_has_one_effect",
            ),
            test(RUNTIME, "redrive::a_letter_redriven_twice_after_the_fix_takes_effect_once"),
        ],
        missing: "",
    },
    Scenario {
        name: "T16",
        claim: "a record that cannot be processed is one dead letter and harms no neighbour",
        proofs: &[
            test(RUNTIME, "poison::each_bad_record_of_a_native_producer_is_one_dead_letter_with_its_bytes"),
            test(RUNTIME, "crash::whatever_is_wrong_with_an_input_it_is_one_dead_letter_and_its_neighbours_count_once"),
        ],
        missing: "",
    },
    Scenario {
        name: "T17",
        claim: "retries keep the order of strict events and their due times",
        proofs: &[
            test(RUNTIME, "agenda::what_is_due_is_carried_out_once_by_whoever_owns_the_shard_then"),
            longer(RUNTIME, "shows::effects::effects_of_a_failing_target_are_delivered_and_recorded_once_in_order", EFFECTS),
        ],
        missing: "",
    },
    Scenario {
        name: "T18",
        claim: "timers fire once, never early, whoever owns the shard",
        proofs: &[
            test(RUNTIME, "agenda::what_is_due_is_carried_out_once_by_whoever_owns_the_shard_then"),
            longer(RUNTIME, "shows::timers::timers_end_once_and_never_early_whatever_is_killed", TIMERS),
            longer(
                RUNTIME,
                "shows::timers::timers_that_are_due_at_one_instant_fire_once_each_and_the_index_keeps_its_bound",
                BURST,
            ),
        ],
        missing: "",
    },
    Scenario {
        name: "T19",
        claim: "an effect has one recorded outcome, wherever it was interrupted",
        proofs: &[
            test(RUNTIME, "agenda::an_effect_is_attempted_until_it_has_an_outcome_and_the_outcome_is_an_input"),
            longer(RUNTIME, "shows::effects::effects_of_a_failing_target_are_delivered_and_recorded_once_in_order", EFFECTS),
        ],
        missing: "",
    },
    Scenario {
        name: "T20",
        claim: "offsets of the group that were deleted or moved change nothing",
        proofs: &[
            test(RUNTIME, "offsets::offsets_of_the_group_set_to_zero_change_nothing"),
            test(RUNTIME, "offsets::offsets_of_the_group_moved_on_lose_nothing"),
            test(RUNTIME, "offsets::deleted_offsets_of_the_group_change_nothing"),
        ],
        missing: "",
    },
    Scenario {
        name: "T21",
        claim: "a log that was truncated, made anew or emptied halts its shard with the right diagnosis",
        proofs: &[
            test(RUNTIME, "halted::events_deleted_before_they_were_processed_halt_their_shard_only"),
            test(RUNTIME, "halted::a_log_emptied_by_retention_goes_on_by_itself_when_the_store_has_all_of_it"),
            test(RUNTIME, "halted::frames_missing_from_log_and_store_halt_the_shard_until_an_operator_accepts_it"),
            test(RUNTIME, "halted::a_log_that_was_made_anew_halts_the_shards_that_had_one"),
        ],
        missing: "",
    },
    Scenario {
        name: "T22",
        claim: "what was deleted or has expired does not come back, whatever zombies and compaction do",
        proofs: &[
            test(STATE, "conformance::any_order_and_repetition_of_writes_gives_the_same_cells_in_cql"),
            test(
                RUNTIME,
                "points::deleted::what_was_deleted_stays_deleted_when_its_tombstones_are_gone_and_a_stopped_process_wakes",
            ),
            only_longer(RUNTIME, "points::deleted::without_rule_z_a_row_rises_and_the_audit_says_so", POINTS),
        ],
        missing: "",
    },
    Scenario {
        name: "T23",
        claim: "clocks that differ or jump do not break the order of the log",
        proofs: &[
            test(RUNTIME, "clocks::clocks_that_differ_and_jump_keep_the_order_of_the_log_while_shards_change_hands"),
            test(RUNTIME, "clocks::a_worker_whose_clock_is_an_hour_off_stops_with_the_reason_and_leaves_nothing_behind"),
        ],
        missing: "clocks of brokers and of store nodes",
    },
    Scenario {
        name: "T24",
        claim: "a rolling upgrade loses nothing, with a newly followed stream too",
        proofs: &[
            test(RUNTIME, "links::streams_that_talk_to_each_other_count_exactly_while_their_workers_come_and_go"),
            test(RUNTIME, "upgrade::old_workers_make_room_for_new_ones_with_one_more_followed_stream_and_nothing_is_lost"),
            longer(RUNTIME, "saga::every_order_ends_one_way_whatever_is_killed_and_stock_and_payments_agree", SAGA),
        ],
        missing: "",
    },
    Scenario {
        name: "show",
        claim: "departures in great numbers through kills, pauses and restarts of broker and store give the counts of the file",
        proofs: &[only_longer(
            HOST,
            "show::millions_of_departures_through_kills_pauses_and_bounces_give_the_counts_of_the_file",
            &[("FOREBAY_SHOW_EVENTS", "50000")],
        )],
        missing: "",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_test_of_the_suite_exists_and_every_scenario_has_one_or_says_why_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for Scenario { name, proofs, missing, .. } in ALL {
            assert!(!proofs.is_empty() || !missing.is_empty(), "{name} has no test and does not say what is missing");
            for proof in *proofs {
                let (file, function) = proof.place();
                let text = std::fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
                assert!(text.contains(&format!("fn {function}(")), "{name}: {file} has no test {function}");
                assert!(!proof.only_long || !proof.long.is_empty(), "{name}: {function} never runs");
            }
        }
        let names: BTreeSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
        let expected = (1..=24).map(|number| format!("T{number}"));
        assert!(expected.into_iter().all(|name| names.contains(&*name)), "T1 to T24 are named");
        assert_eq!(names.len(), ALL.len(), "each once");
    }
}
