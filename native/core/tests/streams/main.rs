//! Framed streams over real transports: what travels, what bounds it, and what an attacker gets.

mod attacks;
mod credit;
mod ends;
mod node;
mod raw;
mod switch;
mod travel;
