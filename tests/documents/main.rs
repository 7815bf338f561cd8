//! The documents are true: each generated part says what is found now.

#[path = "../../model/tests/shared/docs.rs"]
mod docs;

mod each_mutant_of_the_code_is_a_patch_that_applies;
mod every_small_mutant_of_the_sql_is_noticed;
mod the_crates_and_their_files_depend_in_one_direction;
mod the_incidents_are_as_generated;
mod what_no_test_notices_in_the_code_is_known;
