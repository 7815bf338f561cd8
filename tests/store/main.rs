//! The store keeps the contract: what it answers, what it holds and how it is opened, copied and migrated, with one
//! connection or with several.

#[path = "../common/role.rs"]
mod role;
#[path = "../common/walk.rs"]
mod walk;

mod a_copy_is_one_state_of_its_store;
mod a_file_that_is_refused_is_left_as_it_was;
mod a_migration_happens_whole_or_not_at_all;
mod connections_side_by_side_are_in_some_order;
mod every_change_takes_the_next_number;
mod query_plans;
mod store_agrees_with_the_model;
mod the_checkers_of_histories_refuse_what_cannot_be;
mod the_listing_hides_no_record;
mod the_lockstep_notices;
mod the_overview_agrees_with_the_state;
mod tokens_move_on_after_a_boot;
mod what_cannot_succeed_fails_alone;
mod what_each_connection_is_set_to;
