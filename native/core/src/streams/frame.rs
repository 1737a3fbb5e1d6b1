//! The framing: a big-endian `u32` length, then that many bytes. No I/O here; fuzzed and tested as plain values.

use thiserror::Error;

/// Bytes of a frame's length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Memory a prefix alone may claim. Beyond it a body's buffer only doubles, as its bytes arrive.
const FIRST_RESERVE_BYTES: usize = 64 << 10;

/// Why a sequence of bytes is not a sequence of frames.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The prefix announces more than is allowed; known before any byte of the body.
    #[error("a frame of {size_bytes} bytes was announced, at most {limit_bytes} are allowed")]
    TooLarge { size_bytes: usize, limit_bytes: usize },
    /// A frame without content says nothing and would cost its reader for nothing.
    #[error("an empty frame was announced, a frame has at least one byte")]
    Empty,
}

/// Cuts bytes, in whatever pieces they come, into frames.
///
/// Holds at most one unfinished frame, and of that no more than twice what has arrived or 64 KiB.
#[derive(Debug)]
pub struct FrameReader {
    limit_bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Prefix { bytes: [u8; PREFIX_BYTES], filled: usize },
    Body { body: Vec<u8>, missing: usize },
    Failed(FrameError),
}

const START: State = State::Prefix { bytes: [0; PREFIX_BYTES], filled: 0 };

impl FrameReader {
    /// A reader of frames of at most `limit_bytes` each, prefix not counted.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, state: START }
    }

    /// Takes all of `input` and appends every frame that is now complete to `frames`, in order.
    ///
    /// On an error, `frames` has what was complete before it, and every later call fails alike: there is
    /// no way to find the next frame.
    pub fn push(&mut self, mut input: &[u8], frames: &mut Vec<Vec<u8>>) -> Result<(), FrameError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::Prefix { bytes, filled } => {
                    let taken = input.len().min(PREFIX_BYTES - *filled);
                    bytes[*filled..*filled + taken].copy_from_slice(&input[..taken]);
                    *filled += taken;
                    input = &input[taken..];
                    if *filled < PREFIX_BYTES {
                        return Ok(());
                    }
                    let prefix = *bytes;
                    self.begin_body(prefix)?;
                }
                State::Body { body, missing } => {
                    let taken = input.len().min(*missing);
                    fill(body, &input[..taken], *missing);
                    *missing -= taken;
                    input = &input[taken..];
                    if *missing > 0 {
                        return Ok(());
                    }
                    frames.push(std::mem::take(body));
                    self.state = START;
                }
            }
        }
    }

    /// Whether some but not all bytes of a frame have come.
    pub fn is_mid_frame(&self) -> bool {
        !matches!(self.state, State::Prefix { filled: 0, .. })
    }

    /// Bytes of memory held for the unfinished frame.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Body { body, .. } => body.capacity(),
            _ => 0,
        }
    }

    fn begin_body(&mut self, prefix: [u8; PREFIX_BYTES]) -> Result<(), FrameError> {
        let size_bytes = u32::from_be_bytes(prefix) as usize;
        let error = if size_bytes == 0 {
            FrameError::Empty
        } else if size_bytes > self.limit_bytes {
            FrameError::TooLarge { size_bytes, limit_bytes: self.limit_bytes }
        } else {
            self.state = State::Body { body: Vec::new(), missing: size_bytes };
            return Ok(());
        };
        self.state = State::Failed(error);
        Err(error)
    }
}

fn fill(body: &mut Vec<u8>, arrived: &[u8], missing: usize) {
    if body.capacity() - body.len() < arrived.len() {
        let wanted = arrived.len().max(body.len()).max(FIRST_RESERVE_BYTES).min(missing);
        body.reserve_exact(wanted);
    }
    body.extend_from_slice(arrived);
}

/// Appends `frame` with its prefix to `out`. The caller has checked its size.
pub fn append_frame(out: &mut Vec<u8>, frame: &[u8]) {
    let size = u32::try_from(frame.len()).expect("the caller keeps frames under 4 GiB");
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(frames: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            append_frame(&mut out, frame);
        }
        out
    }

    fn read_in(pieces: &[&[u8]], limit_bytes: usize) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
        let mut reader = FrameReader::new(limit_bytes);
        let mut frames = Vec::new();
        let result = pieces.iter().try_for_each(|piece| reader.push(piece, &mut frames));
        (frames, result)
    }

    #[test]
    fn every_split_in_three_gives_the_same_frames() {
        let wanted: [&[u8]; 4] = [b"a", b"seventeen bytes..", &[0; 9], b"\0\0\0\x01"];
        let bytes = framed(&wanted);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let (frames, result) = read_in(&pieces, 64);
                assert_eq!(result, Ok(()));
                assert_eq!(frames, wanted, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_that_come_one_by_one_give_the_same_frames() {
        let wanted: [&[u8]; 3] = [b"one", b"two", &[7; 300]];
        let bytes = framed(&wanted);
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_in(&pieces, 300).0, wanted);
    }

    #[test]
    fn a_prefix_of_4_gib_is_refused_at_once_and_claims_no_memory() {
        let mut reader = FrameReader::new(1 << 20);
        let mut frames = Vec::new();
        let refused = FrameError::TooLarge { size_bytes: u32::MAX as usize, limit_bytes: 1 << 20 };
        assert_eq!(reader.push(&[0xff; 4], &mut frames), Err(refused));
        assert_eq!(reader.held_bytes(), 0);
        assert_eq!(reader.push(&framed(&[b"late"]), &mut frames), Err(refused), "nothing after it is read");
        assert!(frames.is_empty());
    }

    #[test]
    fn the_largest_frame_passes_and_one_byte_more_does_not() {
        let largest = vec![1; 1000];
        assert_eq!(read_in(&[&framed(&[&largest])], 1000), (vec![largest.clone()], Ok(())));
        let (frames, result) = read_in(&[&framed(&[&largest])], 999);
        assert!(frames.is_empty());
        assert!(matches!(result, Err(FrameError::TooLarge { size_bytes: 1000, limit_bytes: 999 })));
    }

    #[test]
    fn an_empty_frame_is_refused_and_what_came_before_it_is_kept() {
        let bytes = [framed(&[b"good"]), vec![0; 4], framed(&[b"after"])].concat();
        let (frames, result) = read_in(&[&bytes], 64);
        assert_eq!(result, Err(FrameError::Empty));
        assert_eq!(frames, [b"good"]);
    }

    #[test]
    fn a_large_prefix_claims_memory_only_as_its_bytes_arrive() {
        let mut reader = FrameReader::new(8 << 20);
        let mut frames = Vec::new();
        reader.push(&(8u32 << 20).to_be_bytes(), &mut frames).unwrap();
        assert_eq!(reader.held_bytes(), 0);
        let mut arrived = 0;
        for _ in 0..1000 {
            reader.push(&[0; 1500], &mut frames).unwrap();
            arrived += 1500;
            assert!(reader.held_bytes() <= FIRST_RESERVE_BYTES.max(2 * arrived));
        }
    }

    #[test]
    fn a_reader_knows_whether_it_is_amid_a_frame() {
        let mut reader = FrameReader::new(64);
        let mut frames = Vec::new();
        for (byte, amid) in framed(&[b"xy"]).into_iter().zip([true, true, true, true, true, false]) {
            reader.push(&[byte], &mut frames).unwrap();
            assert_eq!(reader.is_mid_frame(), amid);
        }
    }
}
