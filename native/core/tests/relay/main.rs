//! Circuits through a member's relay: who is served, for how long, and what becomes of them when a direct way opens.

mod circuits;
mod lies;
mod meeting;
mod moving;
mod passes;
mod racing;
mod reach;

#[path = "../owner/mod.rs"]
#[expect(dead_code, reason = "this binary needs only a part of it")]
mod owner;

#[path = "../streams/switch.rs"]
mod switch;
