//! The documents are true: each generated part says what is found now.

#[path = "../../model/tests/shared/docs.rs"]
mod docs;

mod every_small_mutant_of_the_sql_is_noticed;
mod the_files_of_the_library_import_in_no_circle;
mod the_incidents_are_as_generated;
mod what_no_test_notices_in_the_code_is_known;
