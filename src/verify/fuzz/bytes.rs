//! Bytes as a source of choices, and choices as bytes.
//!
//! Invariant: reading never fails; past the end everything is zero. What a [`ByteWriter`] wrote, [`ByteSource`] reads.
//! Does not depend on: what the choices are for.

use fencepost_model::vocabulary::RawValue;

/// Bytes that are taken from the front.
#[derive(Clone, Copy, Debug)]
pub struct ByteSource<'a>(pub &'a [u8]);

impl<'a> ByteSource<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.some(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// A byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Two bytes as a number.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes as a number.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes as a number.
    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    /// At most so many bytes.
    pub fn some(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    /// Bytes with their number before them.
    pub fn piece(&mut self) -> &'a [u8] {
        let count = usize::from(self.u16());
        self.some(count)
    }

    /// One of several, by a byte.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.u8()) % of.len()]
    }

    /// A value of any storage class.
    pub fn value(&mut self) -> RawValue {
        match self.u8() % 6 {
            0 => RawValue::Null,
            1 => RawValue::Integer(self.i64()),
            2 => RawValue::Integer(self.one_of(&INTEGERS)),
            // A number that is none is stored as NULL.
            3 => match f64::from_bits(self.i64().cast_unsigned()) {
                real if real.is_nan() => RawValue::Null,
                real => RawValue::Real(real.to_bits()),
            },
            4 => RawValue::Text(self.piece().to_vec()),
            _ => RawValue::Blob(self.piece().to_vec()),
        }
    }
}

/// Integers that matter to what is stored.
const INTEGERS: [i64; 12] =
    [0, 1, 2, 3, -1, 1 << 32, (1 << 32) - 1, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 48, 10];

/// Writes what [`ByteSource`] reads.
#[derive(Clone, Debug, Default)]
pub struct ByteWriter(pub Vec<u8>);

impl ByteWriter {
    /// A byte.
    #[must_use]
    pub fn u8(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// Two bytes.
    #[must_use]
    pub fn u16(mut self, number: u16) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// Four bytes.
    #[must_use]
    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// Bytes with their number before them; no more than fit a piece.
    #[must_use]
    pub fn piece(mut self, bytes: &[u8]) -> Self {
        let count = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.0.extend(count.to_le_bytes());
        self.0.extend(&bytes[..usize::from(count)]);
        self
    }

    /// A value.
    #[must_use]
    pub fn value(mut self, value: &RawValue) -> Self {
        match value {
            RawValue::Null => self.u8(0),
            RawValue::Integer(number) => {
                self.0.push(1);
                self.0.extend(number.to_le_bytes());
                self
            }
            RawValue::Real(bits) => {
                self.0.push(3);
                self.0.extend(bits.to_le_bytes());
                self
            }
            RawValue::Text(bytes) => self.u8(4).piece(bytes),
            RawValue::Blob(bytes) => self.u8(5).piece(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_then_there_are_zeros() {
        let values = [
            RawValue::Null,
            RawValue::Integer(-7),
            RawValue::Real(1.5_f64.to_bits()),
            RawValue::Text(vec![0xff, b'a']),
            RawValue::Blob(vec![]),
        ];
        let written =
            values.iter().fold(ByteWriter::default(), ByteWriter::value).u8(9).u16(515).u32(7).piece(b"xy");
        let mut bytes = ByteSource(&written.0);
        assert_eq!(values.clone().map(|_| bytes.value()), values);
        assert_eq!((bytes.u8(), bytes.u16(), bytes.u32(), bytes.piece()), (9, 515, 7, &b"xy"[..]));
        assert!(bytes.is_empty());
        assert_eq!((bytes.u8(), bytes.u16(), bytes.piece()), (0, 0, &b""[..]));
    }

    #[test]
    fn a_count_that_lies_takes_what_is_there() {
        let mut bytes = ByteSource(&[0xff, 0xff, 1, 2]);
        assert_eq!(bytes.piece(), [1, 2]);
    }
}
