//! The frames of the join protocol: u16 length, big-endian, then a kind byte and what belongs to that kind.

use thiserror::Error;

use crate::limits;

const HELLO: u8 = 0;
const READY: u8 = 1;
const REFUSED: u8 = 2;
const TALK: u8 = 3;

/// Bytes of the length prefix.
pub(super) const PREFIX: usize = 2;

/// A frame of the join protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Who the sender is and what it speaks: opaque here, at most [`limits::JOIN_HELLO`] bytes.
    Hello(Vec<u8>),
    /// The sender has admitted the receiver and is listening.
    Ready,
    /// The sender does not want the receiver, for this reason, at most [`limits::JOIN_REASON`] bytes.
    Refused(String),
    /// What the sender's application says to the receiver's before the decision: opaque here, 1 to
    /// [`limits::JOIN_HELLO`] bytes.
    Talk(Vec<u8>),
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// No kind byte.
    #[error("an empty frame")]
    Empty,
    /// Longer than [`limits::JOIN_FRAME`].
    #[error("a frame of {size} bytes, of at most {limit}", limit = limits::JOIN_FRAME)]
    TooLarge {
        /// The length that the prefix states.
        size: usize,
    },
    /// A kind that this version does not know.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// READY says nothing more.
    #[error("{0} bytes after READY")]
    Trailing(usize),
    /// A reason longer than [`limits::JOIN_REASON`].
    #[error("a reason of {size} bytes, of at most {limit}", limit = limits::JOIN_REASON)]
    ReasonTooLong {
        /// The reason's length.
        size: usize,
    },
    /// A reason that is not UTF-8.
    #[error("a reason that is not UTF-8")]
    ReasonNotText,
    /// A TALK without anything in it.
    #[error("a TALK that says nothing")]
    EmptyTalk,
    /// The stream ended within a frame.
    #[error("a frame that ends before its length")]
    Truncated,
}

impl FrameError {
    /// The error's name, for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "frame_empty",
            Self::TooLarge { .. } => "frame_too_large",
            Self::UnknownKind(_) => "frame_unknown_kind",
            Self::Trailing(_) => "frame_trailing",
            Self::ReasonTooLong { .. } => "frame_reason_too_long",
            Self::ReasonNotText => "frame_reason_not_text",
            Self::EmptyTalk => "frame_empty_talk",
            Self::Truncated => "frame_truncated",
        }
    }
}

/// Reads a frame from its bytes without the length prefix. Every frame has one encoding: what parses encodes to the
/// same bytes.
///
/// # Errors
/// [`FrameError`]: the first thing that is wrong.
pub fn parse_frame(bytes: &[u8]) -> Result<Frame, FrameError> {
    let (&kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
    if bytes.len() > limits::JOIN_FRAME {
        return Err(FrameError::TooLarge { size: bytes.len() });
    }
    match kind {
        HELLO => Ok(Frame::Hello(rest.to_vec())),
        READY if rest.is_empty() => Ok(Frame::Ready),
        READY => Err(FrameError::Trailing(rest.len())),
        REFUSED if rest.len() > limits::JOIN_REASON => Err(FrameError::ReasonTooLong { size: rest.len() }),
        REFUSED => match str::from_utf8(rest) {
            Ok(reason) => Ok(Frame::Refused(reason.to_owned())),
            Err(_) => Err(FrameError::ReasonNotText),
        },
        TALK if rest.is_empty() => Err(FrameError::EmptyTalk),
        TALK => Ok(Frame::Talk(rest.to_vec())),
        kind => Err(FrameError::UnknownKind(kind)),
    }
}

/// The length that a prefix states, if a frame may have it.
pub(super) fn parse_prefix(prefix: [u8; PREFIX]) -> Result<usize, FrameError> {
    match usize::from(u16::from_be_bytes(prefix)) {
        0 => Err(FrameError::Empty),
        size if size > limits::JOIN_FRAME => Err(FrameError::TooLarge { size }),
        size => Ok(size),
    }
}

impl Frame {
    /// The frame's bytes with their length prefix.
    ///
    /// # Errors
    /// [`FrameError`], if what it says is longer than a frame may carry, or a TALK is empty.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, rest) = match self {
            Self::Hello(hello) => (HELLO, hello.as_slice()),
            Self::Ready => (READY, [].as_slice()),
            Self::Refused(reason) if reason.len() > limits::JOIN_REASON => {
                return Err(FrameError::ReasonTooLong { size: reason.len() });
            }
            Self::Refused(reason) => (REFUSED, reason.as_bytes()),
            Self::Talk(data) if data.is_empty() => return Err(FrameError::EmptyTalk),
            Self::Talk(data) => (TALK, data.as_slice()),
        };
        let size = 1 + rest.len();
        let prefix =
            u16::try_from(size).ok().filter(|_| size <= limits::JOIN_FRAME).ok_or(FrameError::TooLarge { size })?;
        let mut bytes = Vec::with_capacity(PREFIX + size);
        bytes.extend_from_slice(&prefix.to_be_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(rest);
        Ok(bytes)
    }

    /// A refusal with as much of the reason as a frame carries.
    pub fn refused(reason: &str) -> Self {
        let mut end = reason.len().min(limits::JOIN_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self::Refused(reason[..end].to_owned())
    }

    /// The frame's name as the protocol spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "HELLO",
            Self::Ready => "READY",
            Self::Refused(_) => "REFUSED",
            Self::Talk(_) => "TALK",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_parses_to_the_same_frame() {
        for frame in [
            Frame::Hello(vec![]),
            Frame::Hello(vec![7; limits::JOIN_HELLO]),
            Frame::Ready,
            Frame::Refused(String::new()),
            Frame::refused("another network"),
            Frame::Talk(vec![7]),
            Frame::Talk(vec![7; limits::JOIN_HELLO]),
        ] {
            let bytes = frame.encode().unwrap();
            let size = parse_prefix([bytes[0], bytes[1]]).unwrap();
            assert_eq!(size, bytes.len() - PREFIX);
            assert_eq!(parse_frame(&bytes[PREFIX..]), Ok(frame));
        }
    }

    #[test]
    fn what_parses_encodes_to_the_same_bytes() {
        for kind in 0..=255 {
            for rest in [&b""[..], b"x", b"\xff", &[b'a'; 256], &[b'a'; 257]] {
                let bytes = [&[kind], rest].concat();
                if let Ok(frame) = parse_frame(&bytes) {
                    assert_eq!(frame.encode().unwrap()[PREFIX..], bytes);
                }
            }
        }
    }

    #[test]
    fn each_malformed_frame_is_refused_for_what_is_wrong_with_it() {
        assert_eq!(parse_frame(b""), Err(FrameError::Empty));
        assert_eq!(parse_frame(&[4]), Err(FrameError::UnknownKind(4)));
        assert_eq!(parse_frame(&[TALK]), Err(FrameError::EmptyTalk));
        assert_eq!(parse_frame(&[TALK; 4097]), Err(FrameError::TooLarge { size: 4097 }));
        assert_eq!(parse_frame(&[READY, 0]), Err(FrameError::Trailing(1)));
        assert_eq!(parse_frame(&[REFUSED, 0xff]), Err(FrameError::ReasonNotText));
        assert_eq!(parse_frame(&[REFUSED; 258]), Err(FrameError::ReasonTooLong { size: 257 }));
        assert_eq!(parse_frame(&[HELLO; 4097]), Err(FrameError::TooLarge { size: 4097 }));
        assert_eq!(parse_prefix([0x10, 0x01]), Err(FrameError::TooLarge { size: 4097 }));
        assert_eq!(parse_prefix([0x10, 0x00]), Ok(4096));
        assert_eq!(parse_prefix([0, 0]), Err(FrameError::Empty));
        assert!(Frame::Hello(vec![0; limits::JOIN_FRAME]).encode().is_err());
        assert!(Frame::Hello(vec![0; 70_000]).encode().is_err());
        assert!(Frame::Talk(vec![0; limits::JOIN_FRAME]).encode().is_err());
        assert!(Frame::Talk(vec![]).encode().is_err());
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let Frame::Refused(reason) = Frame::refused(&"ü".repeat(200)) else { unreachable!() };
        assert_eq!(reason, "ü".repeat(128));
        let Frame::Refused(reason) = Frame::refused(&format!("x{}", "ü".repeat(200))) else { unreachable!() };
        assert_eq!(reason.len(), 255);
    }
}
