//! Small changes in the text of a statement: one word, sign or part of it, as an author might get it wrong.
//!
//! Invariant: the same text gives the same changes, in the same order; each keeps all parameters, so that the statement
//! can still be bound.
//! Does not depend on: whether a change is SQL, and what the statement is for.

use std::ops::Range;

/// A change: its kind, its place, and the text that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextChange {
    /// The kind of change.
    pub(super) kind: &'static str,
    /// What was changed into what, in a few characters.
    pub(super) what: String,
    /// The whole text.
    pub(super) text: String,
}

/// A word, sign, number or quoted text of a statement.
#[derive(Clone, Debug)]
struct TextToken {
    at: Range<usize>,
    /// How many brackets are open around it.
    depth: usize,
}

struct StatementText<'a> {
    text: &'a str,
    tokens: Vec<TextToken>,
}

/// All single changes of a text.
pub(super) fn changes(text: &str) -> Vec<TextChange> {
    let statement = StatementText { text, tokens: tokens(text) };
    let mut found = Vec::new();
    for index in 0..statement.tokens.len() {
        statement.signs(index, &mut found);
        statement.conditions(index, &mut found);
        statement.words(index, &mut found);
        statement.numbers_and_texts(index, &mut found);
        statement.functions(index, &mut found);
    }
    statement.assignments(&mut found);
    statement.items(&mut found);
    statement.orders(&mut found);
    statement.whole(&mut found);
    found
}

fn tokens(text: &str) -> Vec<TextToken> {
    let (bytes, mut tokens, mut at, mut depth) = (text.as_bytes(), Vec::new(), 0, 0);
    let in_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'?');
    while at < bytes.len() {
        let begin = at;
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' => at = text[at + 1..].find('\'').map_or(bytes.len(), |end| at + end + 2),
            byte if in_word(byte) => at += text[at..].bytes().take_while(|byte| in_word(*byte)).count(),
            b'<' | b'>' if matches!(bytes.get(at + 1), Some(b'=' | b'>')) => at += 2,
            _ => at += 1,
        }
        depth -= usize::from(bytes[begin] == b')' && depth > 0);
        tokens.push(TextToken { at: begin..at, depth });
        depth += usize::from(bytes[begin] == b'(');
    }
    tokens
}

impl StatementText<'_> {
    /// The text of a token; nothing beyond the ends.
    fn word(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &self.text[token.at.clone()])
    }

    fn before(&self, index: usize) -> &str {
        index.checked_sub(1).map_or("", |index| self.word(index))
    }

    /// The text with these tokens replaced.
    fn replaced(&self, tokens: Range<usize>, with: &str) -> String {
        let (from, to) = (self.tokens[tokens.start].at.start, self.tokens[tokens.end - 1].at.end);
        format!("{}{with}{}", &self.text[..from], &self.text[to..])
    }

    fn change(&self, found: &mut Vec<TextChange>, kind: &'static str, tokens: Range<usize>, with: &str) {
        let from = &self.text[self.tokens[tokens.start].at.start..self.tokens[tokens.end - 1].at.end];
        let what = format!("{from} => {with}");
        found.push(TextChange { kind, what, text: self.replaced(tokens, with) });
    }

    /// The tokens from a bracket that opens to the one that closes it.
    fn closing(&self, open: usize) -> usize {
        let depth = self.tokens[open].depth;
        let closes = |index: &usize| self.word(*index) == ")" && self.tokens[*index].depth == depth;
        (open + 1..self.tokens.len()).find(closes).unwrap_or(self.tokens.len() - 1)
    }

    /// Where the operand begins that ends with this token.
    fn operand_before(&self, last: usize) -> usize {
        let mut first = last;
        if self.word(last) == ")" {
            let depth = self.tokens[last].depth;
            let opens = |index: &usize| self.word(*index) == "(" && self.tokens[*index].depth == depth;
            first = (0..last).rev().find(opens).unwrap_or(last);
            if is_name(self.before(first)) {
                first -= 1;
            }
        }
        if self.before(first) == "." { first - 2 } else { first }
    }

    /// Behind which token the operand ends that begins with this one.
    fn operand_after(&self, first: usize) -> usize {
        let mut end = match self.word(first) {
            "(" => self.closing(first) + 1,
            _ if self.word(first + 1) == "(" => self.closing(first + 1) + 1,
            _ if self.word(first + 1) == "." => first + 3,
            _ => first + 1,
        };
        if matches!(self.word(end), "+" | "-") {
            end = self.operand_after(end + 1);
        }
        end.min(self.tokens.len())
    }

    /// Whether the sign is one that assigns: then what it stands between is no condition.
    fn assigns(&self, index: usize) -> bool {
        let depth = self.tokens[index].depth;
        let clause = (0..index)
            .rev()
            .filter(|at| self.tokens[*at].depth == depth)
            .map(|at| self.word(at))
            .find(|word| matches!(*word, "SET" | "WHERE" | "SELECT" | "ON"));
        clause == Some("SET") && matches!(self.before(index - 1), "SET" | ",")
    }

    fn signs(&self, index: usize, found: &mut Vec<TextChange>) {
        let others: &[&str] = match self.word(index) {
            "<=" => &["<", ">"],
            "<" => &["<=", ">"],
            ">" => &[">=", "<"],
            ">=" => &[">", "<"],
            "=" if !self.assigns(index) => &["<>"],
            "<>" => &["="],
            "+" => &["-"],
            "-" => &["+"],
            _ => &[],
        };
        for other in others {
            self.change(found, "another sign", index..index + 1, other);
        }
    }

    /// A condition that is always or never met.
    fn conditions(&self, index: usize, found: &mut Vec<TextChange>) {
        let is_sign = matches!(self.word(index), "<=" | "<" | ">" | ">=" | "<>" | "=");
        if !is_sign || index == 0 || self.assigns(index) {
            return;
        }
        let of = self.operand_before(index - 1)..self.operand_after(index + 1);
        let condition = &self.text[self.tokens[of.start].at.start..self.tokens[of.end - 1].at.end];
        for always in ["OR 1", "AND 0"] {
            self.change(found, "a condition left out", of.clone(), &format!("({condition} {always})"));
        }
    }

    fn words(&self, index: usize, found: &mut Vec<TextChange>) {
        let between = (index.saturating_sub(2)..index).any(|at| self.word(at) == "BETWEEN");
        let (length, with) = match (self.word(index), self.word(index + 1)) {
            ("AND", _) if !between => (1, "OR"),
            ("OR", next) if next != "IGNORE" && next != "REPLACE" => (1, "AND"),
            ("IS", "NOT") => (2, "IS"),
            ("IS", _) => (1, "IS NOT"),
            ("NOT", "EXISTS") => (2, "EXISTS"),
            ("NOT", "IN") => (2, "IN"),
            ("NOT", "BETWEEN") => (2, "BETWEEN"),
            ("EXISTS", _) if self.before(index) != "NOT" => (1, "NOT EXISTS"),
            ("IN", _) if self.before(index) != "NOT" => (1, "NOT IN"),
            ("BETWEEN", _) if self.before(index) != "NOT" => (1, "NOT BETWEEN"),
            ("LEFT", "JOIN") => (2, "JOIN"),
            ("IMMEDIATE", _) => (1, "DEFERRED"),
            ("DEFERRED", _) => (1, "IMMEDIATE"),
            ("COMMIT", _) => (1, "ROLLBACK"),
            ("ROLLBACK", "TO") => (2, "RELEASE"),
            ("ROLLBACK", _) => (1, "COMMIT"),
            ("RELEASE", _) => (1, "ROLLBACK TO"),
            _ => return,
        };
        self.change(found, "another word", index..index + length, with);
    }

    fn numbers_and_texts(&self, index: usize, found: &mut Vec<TextChange>) {
        let word = self.word(index);
        // An EXISTS does not look at what is selected.
        if self.before(index) == "SELECT" && index > 2 && self.word(index - 3) == "EXISTS" {
            return;
        }
        if let Ok(number) = word.parse::<u64>() {
            self.change(found, "another number", index..index + 1, &(number + 1).to_string());
            if number > 0 {
                self.change(found, "another number", index..index + 1, &(number - 1).to_string());
            }
        }
        let other = match word {
            "'command'" => "'event'",
            "'event'" => "'command'",
            "'dead'" => "'parked'",
            "'parked'" => "'dead'",
            "'integer'" => "'text'",
            "'text'" => "'blob'",
            "'null'" => "'integer'",
            word if word.starts_with('\'') => "'other'",
            _ => return,
        };
        self.change(found, "another text", index..index + 1, other);
    }

    fn functions(&self, index: usize, found: &mut Vec<TextChange>) {
        if self.word(index + 1) != "(" {
            return;
        }
        let other = match self.word(index) {
            "min" => "max",
            "max" => "min",
            "octet_length" => "length",
            "length" => "octet_length",
            "sum" => "count",
            "coalesce" => {
                let close = self.closing(index + 1);
                let items = self.list(index + 2..close);
                let [one, other] = &items[..] else { return };
                let text = |of: &Range<usize>| {
                    &self.text[self.tokens[of.start].at.start..self.tokens[of.end - 1].at.end]
                };
                let with = format!("coalesce({}, {})", text(other), text(one));
                return self.change(found, "another function", index..close + 1, &with);
            }
            _ => return,
        };
        self.change(found, "another function", index..index + 1, other);
    }

    /// The items of a list, which end at commas of its own depth.
    fn list(&self, of: Range<usize>) -> Vec<Range<usize>> {
        let Some(depth) = self.tokens.get(of.start).map(|token| token.depth) else { return Vec::new() };
        let (mut items, mut begin) = (Vec::new(), of.start);
        for index in of.clone() {
            if self.word(index) == "," && self.tokens[index].depth == depth {
                items.push(begin..index);
                begin = index + 1;
            }
        }
        items.push(begin..of.end);
        items.retain(|item| !item.is_empty());
        items
    }

    /// From behind a word to the first of these words at the same depth.
    fn clause(&self, word: usize, ends: &[&str]) -> Range<usize> {
        let depth = self.tokens[word].depth;
        let ends = |index: &usize| {
            let deep = self.tokens[*index].depth;
            deep < depth || (deep == depth && ends.contains(&self.word(*index)))
        };
        word + 1..(word + 1..self.tokens.len()).find(ends).unwrap_or(self.tokens.len())
    }

    /// A column that is not written.
    fn assignments(&self, found: &mut Vec<TextChange>) {
        for set in (0..self.tokens.len()).filter(|index| self.word(*index) == "SET") {
            for item in self.list(self.clause(set, &["WHERE"])) {
                let (column, value) = (self.word(item.start), item.start + 2..item.end);
                if value.is_empty() {
                    continue;
                }
                let text = &self.text[self.tokens[value.start].at.start..self.tokens[value.end - 1].at.end];
                let with = format!("iif(1, {column}, {text})");
                self.change(found, "a column not written", value, &with);
            }
        }
    }

    /// A value that is not read or not inserted.
    fn items(&self, found: &mut Vec<TextChange>) {
        for index in 0..self.tokens.len() {
            let lists = match self.word(index) {
                "SELECT" => self.list(self.clause(index, &["FROM"])),
                "VALUES" => self.list(index + 2..self.closing(index + 1)),
                _ => continue,
            };
            for item in lists.into_iter().filter(|item| item.len() > 1 || self.word(item.start) != "*") {
                let text = &self.text[self.tokens[item.start].at.start..self.tokens[item.end - 1].at.end];
                // The subquery of an EXISTS has nothing that is read.
                if self.word(index.wrapping_sub(2)) == "EXISTS" || text.parse::<u64>().is_ok() {
                    continue;
                }
                self.change(found, "a value lost", item, &format!("nullif({text}, {text})"));
            }
        }
    }

    fn orders(&self, found: &mut Vec<TextChange>) {
        for index in 0..self.tokens.len() {
            match (self.word(index), self.word(index + 1)) {
                ("ORDER", "BY") => {
                    let keys = self.clause(index + 1, &["LIMIT"]);
                    let list = self.list(keys.clone());
                    for (place, key) in list.iter().enumerate() {
                        let text =
                            &self.text[self.tokens[key.start].at.start..self.tokens[key.end - 1].at.end];
                        self.change(found, "another order", key.clone(), &format!("{text} DESC"));
                        if list.len() > 1 {
                            let from = if place == 0 { key.start } else { key.start - 1 };
                            let to = if place == 0 { key.end + 1 } else { key.end };
                            self.change(found, "another order", from..to, "");
                        }
                    }
                    if list.len() == 1 {
                        self.change(found, "another order", index..keys.end, "");
                    }
                }
                ("LIMIT", limit) if limit.starts_with(':') => {
                    let with = format!("{limit} + 1");
                    self.change(found, "another number", index + 1..index + 2, &with);
                }
                _ => {}
            }
        }
    }

    /// A statement that does nothing, or more than it should.
    fn whole(&self, found: &mut Vec<TextChange>) {
        let text = self.text;
        let mut whole = |kind, what: &str, text: String| {
            found.push(TextChange { kind, what: what.to_owned(), text });
        };
        let has = |word: &str| (0..self.tokens.len()).any(|index| self.word(index) == word);
        if text.starts_with("INSERT INTO") {
            for or in ["OR IGNORE", "OR REPLACE"] {
                let insert = format!("INSERT {or} INTO");
                whole("another conflict", &insert, text.replacen("INSERT INTO", &insert, 1));
            }
            if let Some(values) = (0..self.tokens.len()).find(|index| self.word(*index) == "VALUES") {
                let close = self.closing(values + 1);
                let list = &text[self.tokens[values + 2].at.start..self.tokens[close - 1].at.end];
                let with = format!("SELECT {list} WHERE 0");
                whole(
                    "nothing done",
                    "VALUES (..) => SELECT .. WHERE 0",
                    self.replaced(values..close + 1, &with),
                );
            } else if !has("WHERE") {
                whole("nothing done", "WHERE 0", format!("{text} WHERE 0"));
            }
        }
        if (text.starts_with("UPDATE") || text.starts_with("DELETE")) && !has("WHERE") {
            whole("nothing done", "WHERE 0", format!("{text} WHERE 0"));
        }
    }
}

/// Whether a word may be the name of a function.
fn is_name(word: &str) -> bool {
    let keyword = word.bytes().all(|byte| byte.is_ascii_uppercase());
    !keyword && word.starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Vec<String> {
        changes(text).into_iter().map(|change| change.text).collect()
    }

    #[test]
    fn each_part_of_an_update_slips() {
        let changes = made("UPDATE t SET a = a + 1, b = :b WHERE c = :c AND typeof(d) <> 'text'");
        for expected in [
            "UPDATE t SET a = a - 1, b = :b WHERE c = :c AND typeof(d) <> 'text'",
            "UPDATE t SET a = a + 2, b = :b WHERE c = :c AND typeof(d) <> 'text'",
            "UPDATE t SET a = iif(1, a, a + 1), b = :b WHERE c = :c AND typeof(d) <> 'text'",
            "UPDATE t SET a = a + 1, b = iif(1, b, :b) WHERE c = :c AND typeof(d) <> 'text'",
            "UPDATE t SET a = a + 1, b = :b WHERE (c = :c OR 1) AND typeof(d) <> 'text'",
            "UPDATE t SET a = a + 1, b = :b WHERE c = :c AND (typeof(d) <> 'text' AND 0)",
            "UPDATE t SET a = a + 1, b = :b WHERE c <> :c AND typeof(d) <> 'text'",
            "UPDATE t SET a = a + 1, b = :b WHERE c = :c OR typeof(d) <> 'text'",
        ] {
            assert!(changes.contains(&expected.to_owned()), "{expected}\n{changes:#?}");
        }
    }

    #[test]
    fn each_part_of_a_select_slips() {
        let changes = made("SELECT a, min(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY a, b LIMIT :max");
        for expected in [
            "SELECT nullif(a, a), min(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY a, b LIMIT :max",
            "SELECT a, max(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY a, b LIMIT :max",
            "SELECT a, min(b) FROM t WHERE c NOT BETWEEN 1 AND 2 ORDER BY a, b LIMIT :max",
            "SELECT a, min(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY a DESC, b LIMIT :max",
            "SELECT a, min(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY  b LIMIT :max",
            "SELECT a, min(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY a LIMIT :max",
            "SELECT a, min(b) FROM t WHERE c BETWEEN 1 AND 2 ORDER BY a, b LIMIT :max + 1",
        ] {
            assert!(changes.contains(&expected.to_owned()), "{expected}\n{changes:#?}");
        }
        assert!(!changes.iter().any(|text| text.contains("1 OR 2")), "{changes:#?}");
    }

    #[test]
    fn inserts_and_transactions_slip() {
        let insert = made("INSERT INTO t (a, b) VALUES (:a, 0)");
        for expected in [
            "INSERT OR REPLACE INTO t (a, b) VALUES (:a, 0)",
            "INSERT INTO t (a, b) SELECT :a, 0 WHERE 0",
            "INSERT INTO t (a, b) VALUES (nullif(:a, :a), 0)",
            "INSERT INTO t (a, b) VALUES (:a, 1)",
        ] {
            assert!(insert.contains(&expected.to_owned()), "{expected}\n{insert:#?}");
        }
        assert_eq!(made("BEGIN IMMEDIATE"), ["BEGIN DEFERRED"]);
        assert_eq!(made("ROLLBACK TO x"), ["RELEASE x"]);
        assert_eq!(made("DELETE FROM t"), ["DELETE FROM t WHERE 0"]);
    }
}
