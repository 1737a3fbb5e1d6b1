//! Switches for the defences, so that a test can show that it fails when its defence is off.
//!
//! Without the cargo feature `switches`, [`on`] is a constant `true` and the compiler removes the question: no wheel
//! contains a way to turn a defence off. With the feature, the switches are process-wide; tests that flip one must
//! not run beside tests that rely on it.

#[cfg(feature = "switches")]
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a switch was not flipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// The core was built without the feature `switches`.
    #[error("defences cannot be switched: this build has no switches; build with `--features switches` to test them")]
    NotBuilt,
    /// No defence has this name.
    #[error("there is no defence named {0:?}; `switches()` lists them")]
    Unknown(String),
}

macro_rules! defences {
    ( $( $(#[$doc:meta])* $variant:ident = $name:literal ),+ $(,)? ) => {
        /// A defence that tests can switch off by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Defence { $( $(#[$doc])* $variant ),+ }

        impl Defence {
            /// Every defence, in the order of declaration.
            pub const ALL: &'static [Defence] = &[ $( Defence::$variant ),+ ];

            /// The name by which tests know it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Defence::$variant => $name ),+ }
            }
        }
    };
}

defences! {
    /// A stream frame's length is judged on its prefix.
    FrameSize = "frame_size",
    /// An envelope must re-encode to the bytes it came in.
    EnvelopeCanonical = "envelope_canonical",
    /// An envelope's signature must verify.
    EnvelopeSignature = "envelope_signature",
    /// An envelope must be of the kind that was asked for.
    EnvelopeKind = "envelope_kind",
    /// A DAG-CBOR document has exactly one encoding.
    DagcborCanonical = "dagcbor_canonical",
    /// DAG-CBOR containers nest only so deep.
    DagcborDepth = "dagcbor_depth",
    /// The join exchange ends within its deadline.
    JoinDeadline = "join_deadline",
    /// A stranger may say only so much before it is granted more.
    JoinTalk = "join_talk",
    /// Only so many connections may be joining at once.
    JoinStrangers = "join_strangers",
    /// Only so many streams per peer and protocol.
    StreamCap = "stream_cap",
    /// A reader that is not drained stops reading.
    StreamCredit = "stream_credit",
    /// A gossip body is judged by its size.
    GossipSize = "gossip_size",
    /// The queue of received gossip is bounded.
    GossipInboundBound = "gossip_inbound_bound",
    /// Peers are scored.
    Scoring = "scoring",
    /// A frame must be complete within its deadline.
    FrameDeadline = "frame_deadline",
    /// A peer that was not admitted is shown nothing.
    Gate = "gate",
    /// Our relay asks who may reserve and connect.
    RelayAccess = "relay_access",
    /// What mDNS holds is bounded.
    MdnsBound = "mdns_bound",
    /// Gossip is forwarded only after validation.
    GossipValidation = "gossip_validation",
}

#[cfg(feature = "switches")]
static OFF: AtomicU64 = AtomicU64::new(0);

/// Whether a defence is on. Always, in a build without the feature `switches`.
#[cfg(not(feature = "switches"))]
#[inline(always)]
#[must_use]
pub const fn on(_defence: Defence) -> bool {
    true
}

/// Whether a defence is on.
#[cfg(feature = "switches")]
#[inline]
#[must_use]
pub fn on(defence: Defence) -> bool {
    OFF.load(Ordering::Relaxed) & (1 << defence as u8) == 0
}

/// Turns a defence off for the whole process.
///
/// # Errors
/// [`SwitchError::NotBuilt`] without the feature `switches`, [`SwitchError::Unknown`] for a name that is none.
pub fn switch_off(name: &str) -> Result<(), SwitchError> {
    flip(name, true)
}

/// Turns a defence on again. Errors as [`switch_off`].
///
/// # Errors
/// As [`switch_off`].
pub fn switch_on(name: &str) -> Result<(), SwitchError> {
    flip(name, false)
}

/// The names that [`switch_off`] knows: every defence, or none in a build without the feature `switches`.
#[must_use]
pub fn names() -> Vec<&'static str> {
    if cfg!(feature = "switches") { Defence::ALL.iter().map(|defence| defence.name()).collect() } else { Vec::new() }
}

#[cfg(feature = "switches")]
fn flip(name: &str, off: bool) -> Result<(), SwitchError> {
    let defence = Defence::ALL.iter().find(|defence| defence.name() == name);
    let bit = 1 << *defence.ok_or_else(|| SwitchError::Unknown(name.to_owned()))? as u8;
    if off {
        OFF.fetch_or(bit, Ordering::Relaxed);
    } else {
        OFF.fetch_and(!bit, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(not(feature = "switches"))]
fn flip(_name: &str, _off: bool) -> Result<(), SwitchError> {
    Err(SwitchError::NotBuilt)
}

#[cfg(all(test, feature = "switches"))]
mod tests {
    use super::*;

    #[test]
    fn a_defence_is_on_until_it_is_switched_off_and_on_again_after() {
        // Nothing in the unit tests relies on this one, so flipping it disturbs no other test.
        assert!(on(Defence::Scoring));
        switch_off("scoring").unwrap();
        assert!(!on(Defence::Scoring));
        assert!(on(Defence::FrameSize));
        switch_on("scoring").unwrap();
        assert!(on(Defence::Scoring));
    }

    #[test]
    fn an_unknown_name_is_told() {
        assert_eq!(switch_off("moat"), Err(SwitchError::Unknown("moat".into())));
        assert!(names().contains(&"envelope_canonical"));
    }
}
