//! The one place of SQL text: every statement with its purpose and the guarantees that it carries.
//!
//! The schema stands beside it in `.sql` files. A statement is named by a [`StatementId`] and looked up in [`Statements`], so
//! that a test can replace a statement by a mutant and show that the checkers notice it.
//!
//! Invariant: every statement of an operation is here; values are bound by name.
//! Does not depend on: the use of the statements.

mod registry;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

pub use registry::StatementId;

/// How a statement may read its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Its cost depends on what it asks for alone: no scan, no sorting.
    Hot,
    /// It may read whole tables: snapshots, and what an owner does once in a while.
    Listing,
}

/// The text of every statement.
#[derive(Clone, Debug)]
pub struct Statements(Arc<[Cow<'static, str>]>);

impl Statements {
    /// The statements as they are meant to be.
    pub fn standard() -> Self {
        static STANDARD: LazyLock<Statements> = LazyLock::new(|| {
            Statements(StatementId::ALL.iter().map(|id| Cow::Borrowed(id.text())).collect())
        });
        STANDARD.clone()
    }

    /// The text of a statement.
    pub fn get(&self, id: StatementId) -> &str {
        &self.0[id as usize]
    }

    /// The same statements with another text for one of them.
    #[must_use]
    pub fn replaced(&self, id: StatementId, text: impl Into<String>) -> Self {
        let mut texts: Vec<_> = self.0.to_vec();
        texts[id as usize] = Cow::Owned(text.into());
        Self(texts.into())
    }
}

impl Default for Statements {
    fn default() -> Self {
        Self::standard()
    }
}

/// Makes the enum of all statements, with their texts and what is known of them.
macro_rules! statements {
    ($($(#[doc = $purpose:literal])+ $id:ident, $path:ident, [$($guarantee:literal),*]: $text:expr;)+) => {
        /// The name of a statement.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum StatementId { $($(#[doc = $purpose])+ $id,)+ }

        impl StatementId {
            /// Every statement.
            pub const ALL: &[Self] = &[$(Self::$id,)+];

            /// What the statement does.
            pub const fn purpose(self) -> &'static str {
                match self { $(Self::$id => concat!($($purpose),+).trim_ascii(),)+ }
            }

            /// The guarantees of the contract (`G`, `L`) that would break with this statement.
            pub const fn guarantees(self) -> &'static [&'static str] {
                match self { $(Self::$id => &[$($guarantee),*],)+ }
            }

            /// How it may read its tables.
            pub const fn path(self) -> super::Path {
                match self { $(Self::$id => super::Path::$path,)+ }
            }

            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$id => $text,)+ }
            }
        }
    };
}
use statements;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_statement_leaves_the_others_and_the_standard_alone() {
        let standard = Statements::standard();
        let mutant = standard.replaced(StatementId::CommandAck, "SELECT 1");
        assert_eq!(mutant.get(StatementId::CommandAck), "SELECT 1");
        let others = StatementId::ALL.iter().filter(|id| **id != StatementId::CommandAck);
        for id in others {
            assert_eq!(mutant.get(*id), standard.get(*id));
        }
        assert_ne!(standard.get(StatementId::CommandAck), "SELECT 1");
    }

    #[test]
    fn every_statement_says_what_it_is_for() {
        for id in StatementId::ALL {
            assert!(id.purpose().len() > 10, "{id:?}");
            assert!(id.guarantees().iter().all(|name| name.starts_with(['G', 'L'])), "{id:?}");
        }
    }
}
