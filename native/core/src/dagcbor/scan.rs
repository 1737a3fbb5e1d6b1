//! The walk over a document's bytes that holds them to every rule before anything is built.

use super::{DecodeError, DecodeReason as Reason, Limits, cid_from_bytes, key_order};
use std::cmp::Ordering;

mod major {
    pub const UNSIGNED: u8 = 0;
    pub const NEGATIVE: u8 = 1;
    pub const BYTES: u8 = 2;
    pub const TEXT: u8 = 3;
    pub const LIST: u8 = 4;
    pub const MAP: u8 = 5;
    pub const TAG: u8 = 6;
}

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const FLOATS: std::ops::RangeInclusive<u8> = 0xf9..=0xfb;
const LINK_TAG: u64 = 42;

pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    if bytes.len() > limits.size_bytes {
        return Err(DecodeError { reason: Reason::TooLarge, offset: limits.size_bytes });
    }
    let mut scanner = Scanner { bytes, at: 0, items: 0, limits };
    scanner.item(0)?;
    if scanner.at < bytes.len() {
        return Err(scanner.broken(Reason::Trailing, scanner.at));
    }
    Ok(())
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    limits: &'a Limits,
}

impl<'a> Scanner<'a> {
    #[cold]
    fn broken(&self, reason: Reason, offset: usize) -> DecodeError {
        DecodeError { reason, offset }
    }

    /// One data item that stands within `depth` containers.
    fn item(&mut self, depth: usize) -> Result<(), DecodeError> {
        let start = self.at;
        let first = self.count_item()?;
        match first >> 5 {
            major::UNSIGNED => self.argument(first).map(drop),
            major::NEGATIVE => {
                if self.argument(first)? > i64::MAX as u64 {
                    return Err(self.broken(Reason::IntegerRange, start));
                }
                Ok(())
            }
            major::BYTES => self.payload(first).map(drop),
            major::TEXT => self.text(first).map(drop),
            major::LIST => {
                let entries = self.enter(first, depth, 1)?;
                (0..entries).try_for_each(|_| self.item(depth + 1))
            }
            major::MAP => self.map(first, depth),
            major::TAG => self.link(first),
            _ => self.simple(first),
        }
    }

    /// Takes the first byte of an item and counts it against the total.
    #[inline]
    fn count_item(&mut self) -> Result<u8, DecodeError> {
        let Some(&first) = self.bytes.get(self.at) else {
            return Err(self.broken(Reason::Truncated, self.at));
        };
        self.items += 1;
        if self.items > self.limits.items {
            return Err(self.broken(Reason::Items, self.at));
        }
        self.at += 1;
        Ok(first)
    }

    /// The argument of a head: the value of an integer, the length of anything else.
    #[inline]
    fn argument(&mut self, first: u8) -> Result<u64, DecodeError> {
        let start = self.at - 1;
        let low = first & 0x1f;
        if low < 24 {
            return Ok(u64::from(low));
        }
        if low > 27 {
            return Err(self.broken(Reason::Indefinite, start));
        }
        let width = 1usize << (low - 24);
        let Some(field) = self.bytes[self.at..].get(..width) else {
            return Err(self.broken(Reason::Truncated, self.bytes.len()));
        };
        let value = field.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        self.at += width;
        // The smallest value that needs this width: 24, 2^8, 2^16, 2^32.
        let smallest = if width == 1 { 24 } else { 1u64 << (width * 4) };
        if value < smallest {
            return Err(self.broken(Reason::NotMinimal, start));
        }
        Ok(value)
    }

    /// The bytes that follow the head of a byte string or text.
    #[inline]
    fn payload(&mut self, first: u8) -> Result<&'a [u8], DecodeError> {
        let length = self.argument(first)?;
        let left = &self.bytes[self.at..];
        let Some(payload) = usize::try_from(length).ok().and_then(|length| left.get(..length)) else {
            return Err(self.broken(Reason::Truncated, self.bytes.len()));
        };
        self.at += payload.len();
        Ok(payload)
    }

    #[inline]
    fn text(&mut self, first: u8) -> Result<&'a str, DecodeError> {
        let payload = self.payload(first)?;
        std::str::from_utf8(payload)
            .map_err(|error| self.broken(Reason::Utf8, self.at - payload.len() + error.valid_up_to()))
    }

    /// The head of a list or map: how many entries follow, each of at least `least_bytes`.
    fn enter(&mut self, first: u8, depth: usize, least_bytes: u64) -> Result<u64, DecodeError> {
        let start = self.at - 1;
        if depth >= self.limits.depth {
            return Err(self.broken(Reason::Depth, start));
        }
        let entries = self.argument(first)?;
        if entries > self.limits.entries as u64 {
            return Err(self.broken(Reason::Entries, start));
        }
        if entries * least_bytes > (self.bytes.len() - self.at) as u64 {
            return Err(self.broken(Reason::Truncated, self.bytes.len()));
        }
        Ok(entries)
    }

    fn map(&mut self, first: u8, depth: usize) -> Result<(), DecodeError> {
        let entries = self.enter(first, depth, 2)?;
        let mut previous = None;
        for _ in 0..entries {
            let start = self.at;
            let key = self.key()?;
            match previous.map(|previous| key_order(previous, key)) {
                None | Some(Ordering::Less) => {}
                Some(Ordering::Equal) => return Err(self.broken(Reason::KeyDuplicate, start)),
                Some(Ordering::Greater) => return Err(self.broken(Reason::KeyOrder, start)),
            }
            previous = Some(key);
            self.item(depth + 1)?;
        }
        Ok(())
    }

    fn key(&mut self) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let first = self.count_item()?;
        if first >> 5 != major::TEXT {
            return Err(self.broken(Reason::KeyType, start));
        }
        let key = self.text(first)?;
        if key.len() > self.limits.key_bytes {
            return Err(self.broken(Reason::KeyLength, start));
        }
        Ok(key)
    }

    fn link(&mut self, first: u8) -> Result<(), DecodeError> {
        let start = self.at - 1;
        if self.argument(first)? != LINK_TAG {
            return Err(self.broken(Reason::Tag, start));
        }
        let Some(&inner) = self.bytes.get(self.at) else {
            return Err(self.broken(Reason::Truncated, self.at));
        };
        self.at += 1;
        if inner >> 5 != major::BYTES {
            return Err(self.broken(Reason::Link, start));
        }
        match self.payload(inner)? {
            [0, cid @ ..] if cid_from_bytes(cid).is_some() => Ok(()),
            _ => Err(self.broken(Reason::Link, start)),
        }
    }

    fn simple(&self, first: u8) -> Result<(), DecodeError> {
        let reason = match first {
            FALSE | TRUE | NULL => return Ok(()),
            _ if FLOATS.contains(&first) => Reason::Float,
            0xff => Reason::Indefinite,
            _ => Reason::Simple,
        };
        Err(self.broken(reason, self.at - 1))
    }
}
