//! Serde adapters for the vocabulary of the model in reports: numbers as numbers, names as strings.
//!
//! The library needs them because the model implements serde only with a feature.
//!
//! Invariant: a value is validated when it is read back.
//! Does not depend on: the reports.

/// A number of the bus, as a number.
pub(crate) mod number {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: Copy + Into<u64>, S: Serializer>(
        number: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64((*number).into())
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: TryFrom<u64, Error: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        T::try_from(u64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A number of the bus or none, as a number or null.
pub(crate) mod maybe_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<T, S>(number: &Option<T>, to: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Into<u64>,
        S: Serializer,
    {
        number.map(Into::into).serialize(to)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: TryFrom<u64, Error: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        Option::<u64>::deserialize(from)?.map(T::try_from).transpose().map_err(D::Error::custom)
    }
}

/// A name or a group, as a string.
pub(crate) mod text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: std::fmt::Display, S: Serializer>(text: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(text)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        Cow::<str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
