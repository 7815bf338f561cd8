//! Whatever happens to the file (power cuts, disks that fail, bytes that change, damage, files made on purpose), an error
//! or a finding says so, what can still be read is kept, and nothing is made up.

mod alone;
#[path = "../common/role.rs"]
mod role;
#[path = "../common/walk.rs"]
mod walk;

mod a_changed_byte_is_noticed_or_does_no_harm;
mod a_check_changes_nothing_and_finds_what_is_wrong;
mod a_failing_disk_is_told_as_it_is;
mod a_hostile_file_does_no_harm;
mod a_power_cut_leaves_what_was_acknowledged;
mod a_repair_does_what_operations_would_have_done;
mod damage_outside_of_messages_fails_closed;
mod what_is_repaired_is_told;
