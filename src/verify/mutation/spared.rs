//! Mutants that survive, each with the reason why it is equivalent.
//!
//! They are named by their statement and by what was changed: in each place where that can be changed, unless a place
//! is named.

use super::StatementMutant;

/// Why nothing notices a mutant, if that is known.
pub(super) fn reason(mutant: &StatementMutant) -> Option<&'static str> {
    let statement = format!("{:?}", mutant.statement);
    let change = mutant.what.rsplit_once(" (").filter(|_| mutant.what.ends_with(')'));
    let anywhere = change.map_or(mutant.what.as_str(), |(change, _)| change);
    let is = |(statements, changes, _): &&SparedEntry| {
        (statements.is_empty() || statements.contains(&statement.as_str()))
            && (changes.contains(&mutant.what.as_str()) || changes.contains(&anywhere))
    };
    EQUIVALENT.iter().find(is).map(|(.., reason)| *reason)
}

type SparedEntry = (&'static [&'static str], &'static [&'static str], &'static str);

/// Those that make no difference: statements (none: any), changes, and the reason.
const EQUIVALENT: &[SparedEntry] = &[
    (&[], &["one = 1 => (one = 1 OR 1)"], "the store has one row"),
    (
        &["Begin"],
        &["IMMEDIATE => DEFERRED"],
        "one connection waits for no other; a control of the schedules shows what it does to several",
    ),
    (
        &["IdRemember", "SubscriptionInsert"],
        &["INSERT OR IGNORE INTO", "INSERT OR REPLACE INTO"],
        "what is there already is looked up first, in the same transaction",
    ),
    (
        &["CursorInsert"],
        &["INSERT OR IGNORE INTO", "INSERT OR REPLACE INTO"],
        "what ON CONFLICT says comes first",
    ),
    (
        &["TombstoneInsert"],
        &["INSERT OR IGNORE INTO", "INSERT OR REPLACE INTO"],
        "a kept number says no more than itself, so the same one twice is the same",
    ),
    (
        &["IdsForgetEvents"],
        &["kind = 'event' => (kind = 'event' OR 1)"],
        "the ids of commands are forgotten by the statement before, up to the same time",
    ),
    (
        &["EventNumber"],
        &["AND => OR", "typeof(log_head) = 'integer' => (typeof(log_head) = 'integer' OR 1)"],
        "the end of the log is looked at first, and a head that is no integer is found by that",
    ),
    (&["CommandsDue"], &[":max => :max + 1"], "the claim counts what it takes"),
    (
        &["CommandsUnreadable", "EventsUnreadable"],
        &[">= => >", "seq >= 0 => (seq >= 0 OR 1)", "0 => 1"],
        "numbers begin at 1",
    ),
    (
        &[
            "CommandsDue",
            "CommandsUnreadable",
            "EventsUnreadable",
            "EventsOfName",
            "RecordsPage",
            "RecordsPageOfPlace",
            "RecordsPageNamed",
            "CommandNextDue",
            "SubscriptionsFront",
            "OverviewQueue",
            "OverviewGroups",
        ],
        &[
            ", seq => ",
            "ORDER BY seq => ",
            "ORDER BY record => ",
            "ORDER BY due_at => ",
            "ORDER BY log.seq => ",
            "ORDER BY name => ",
            ", name => ",
        ],
        "the index or key that it goes by has this order; the plans of statements are pinned",
    ),
    (
        &["SubscriptionsFront"],
        &["name => name DESC"],
        "events are handed out by their numbers, whatever the order of names",
    ),
    (
        &["ListQueue", "ListLog", "ListTombstones", "ListEntries", "ListRecords"],
        &["seq => seq DESC", "ORDER BY seq => ", "record => record DESC", "ORDER BY record => "],
        "what is read goes into maps, which have an order of their own",
    ),
    (&["EntryNext", "CommandNextDue", "SubscriptionsFront"], &["1 => 2"], "the first row alone is read"),
    (
        &["IntegrityCheck"],
        &["100 => 101", "100 => 99"],
        "how many lines are told of a malformed file is no promise",
    ),
    (
        &["ListSchema"],
        &["type, => ", "name => name DESC", ", name => "],
        "the order in which parts of a schema are told is no promise",
    ),
    (
        &["SubscriptionsUncount", "EntriesUncount"],
        &["group_name = :group => (group_name = :group OR 1)"],
        "a token is that of one group",
    ),
    (
        &[
            "CommandAck",
            "CommandNack",
            "CommandRelease",
            "CommandExtend",
            "CommandInspect",
            "ListQueue",
            "OverviewQueue",
        ],
        &["octet_length => length (1 of 2)"],
        "a name with more bytes than characters cannot be read either way",
    ),
    (
        &["CommandAck", "CommandNack", "CommandRelease", "CommandExtend"],
        &[
            "token < 1 => (token < 1 AND 0)",
            "typeof(token) = 'integer' => (typeof(token) = 'integer' OR 1)",
            "typeof(token) = 'null' => (typeof(token) = 'null' AND 0)",
            "corrupt <> 0 => (corrupt <> 0 OR 1)",
            "corrupt <> 0 => (corrupt <> 0 AND 0)",
        ],
        "a row under a token that was minted has a token, greater than zero, and was attempted",
    ),
    (
        &["CommandAck"],
        &[
            "0 => 1 (2 of 5)",
            "0 => 1 (4 of 5)",
            "'null' => 'integer' (1 of 3)",
            "'null' => 'integer' (2 of 3)",
            "OR => AND (9 of 16)",
            "OR => AND (14 of 16)",
            "OR => AND (15 of 16)",
            "<> => = (7 of 7)",
        ],
        "a row under a token that was minted has a token, greater than zero, and was attempted",
    ),
    (
        &["CommandNack"],
        &[
            "0 => 1 (3 of 5)",
            "0 => 1 (5 of 5)",
            "'null' => 'integer' (1 of 3)",
            "OR => AND (8 of 16)",
            "OR => AND (9 of 16)",
            "<> => = (7 of 7)",
        ],
        "a row under a token that was minted has a token, greater than zero, and was attempted",
    ),
    (
        &["CommandRelease"],
        &[
            "0 => 1 (3 of 5)",
            "0 => 1 (5 of 5)",
            "'null' => 'integer' (1 of 3)",
            "OR => AND (9 of 16)",
            "<> => = (7 of 7)",
        ],
        "a row under a token that was minted has a token, greater than zero, and was attempted",
    ),
    (
        &["CommandExtend"],
        &[
            "0 => 1 (2 of 4)",
            "0 => 1 (4 of 4)",
            "'null' => 'integer' (1 of 3)",
            "OR => AND (9 of 16)",
            "<> => = (7 of 7)",
        ],
        "a row under a token that was minted has a token, greater than zero, and was attempted",
    ),
    (
        &["CommandAck"],
        &[
            "typeof(corrupt) <> 'integer' => (typeof(corrupt) <> 'integer' AND 0)",
            "typeof(token) = 'null' => (typeof(token) = 'null' OR 1)",
            "= => <> (4 of 5)",
            "AND => OR (4 of 5)",
            "1 => 2 (5 of 5)",
        ],
        "an ack asks for corrupt = 0 besides",
    ),
    (
        &["CommandNack"],
        &["4294967295 => 4294967296 (1 of 2)", "4294967295 => 4294967294 (1 of 2)"],
        "it must have had fewer attempts than it may have, which keeps it below the bound",
    ),
    (
        &["CommandNack"],
        &["1 => 2 (3 of 5)", "1 => 0 (2 of 5)", "1 => 0 (3 of 5)"],
        "it must have had fewer attempts than it may have, and one at least",
    ),
    (
        &["CommandAck"],
        &["1 => 0 (2 of 5)", "1 => 0 (5 of 5)"],
        "a token that was minted is greater than zero, and an ack asks for corrupt = 0 besides",
    ),
    (
        &["CommandRelease"],
        &["1 => 0 (3 of 6)"],
        "a token that was minted is greater than zero, and an ack asks for corrupt = 0 besides",
    ),
    (
        &["CommandExtend"],
        &["1 => 0 (2 of 5)"],
        "a token that was minted is greater than zero, and an ack asks for corrupt = 0 besides",
    ),
    (
        &["EventAside", "EntryAside"],
        &[
            "typeof(name) <> 'text' => (typeof(name) <> 'text' AND 0)",
            "OR => AND",
            "octet_length => length",
            "length => octet_length",
            "255 => 256",
            "255 => 254",
            "length(name) <> octet_length(name) => (length(name) <> octet_length(name) AND 0)",
            "'*[^-a-zA-Z0-9._:/]*' => 'other'",
            "1 => 2 (2 of 2)",
            "1 => 0 (2 of 2)",
        ],
        "of an event the name itself says whether it can be read, wherever its record is read",
    ),
    (
        &["RecordRepair"],
        &[
            "NULL => iif(1, raw_due_at, NULL)",
            "NULL => iif(1, raw_attempts, NULL)",
            "NULL => iif(1, raw_token, NULL)",
            "NULL => iif(1, raw_attempts_max, NULL)",
            "NULL => iif(1, raw_corrupt, NULL)",
            "NULL => iif(1, raw_reason, NULL)",
        ],
        "what is kept of a command's bookkeeping is read only while the record says that it cannot be read",
    ),
    (&["TombstoneRead"], &["seq => nullif(seq, seq)"], "that there is a row is all that is asked"),
    (&["OverviewGroups"], &["LEFT JOIN => JOIN"], "a group has a cursor as long as it has a name"),
    (
        &["OverviewGroups"],
        &["corrupt_seq => nullif(corrupt_seq, corrupt_seq)"],
        "an overview does not tell it",
    ),
    (
        &["EntryNext"],
        &["> => >=", "seq > :past => (seq > :past OR 1)"],
        "what is due at or before the first event is handed out instead of it",
    ),
    (
        &["EntryNext"],
        &[", record => "],
        "the index that it goes by has this order; the plans of statements are pinned",
    ),
    (&["EntryNextDue"], &[">= => >", "0 => 1 (1 of 2)"], "a due time of 0 is 0 either way"),
    (
        &["IdsForgetEvents"],
        &["records.epoch = :epoch => (records.epoch = :epoch OR 1)"],
        "the numbers of a log go on in a new epoch, so that no two events in a file have the same",
    ),
    (
        &["EntryRead"],
        &["group_name = :group => (group_name = :group OR 1)"],
        "a record's number is unique, and a group asks for its own",
    ),
];
