//! Real processes: the program `fencepost`, and processes on one file that are killed.
//!
//! Every test that starts the program is here, and nothing here needs more than the crates that the program is made of.

#[cfg(unix)]
mod kill;
mod program;
#[cfg(unix)]
#[expect(dead_code, reason = "a process that is killed is not played to its end")]
#[path = "../common/role.rs"]
mod role;

#[cfg(unix)]
mod a_kill_leaves_what_was_acknowledged;
#[cfg(unix)]
mod a_killed_process_loses_nothing;
#[cfg(unix)]
mod real_clients_do_only_what_the_contract_allows;
mod the_command_line_does_what_it_says;
mod the_command_line_records_and_audits;
mod the_command_line_refuses_in_one_sentence;
#[cfg(unix)]
mod the_command_line_runs_shell_commands;
mod the_program_says_what_is_wrong;
mod what_cannot_be_read_is_kept_and_holds_nobody_up;
mod what_fuzzing_found_stays_fixed;
